"""The benchmark of DreamFusion's steps: what its clock counts, and one run of each preset."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.dreamfusion import sheet
from benchmarks.dreamfusion.measure import MEASURED, main, table_of
from benchmarks.step.clock import Clock, Reading
from runtime.dreamfusion.config import preset_config
from runtime.pictures import read_png


def test_a_table_of_means_and_what_the_networks_leave() -> None:
    clock = Clock(MEASURED)
    parts = {**dict.fromkeys((*MEASURED, "other"), 1.0), "denoise": 4.0, "encode_backward": 2.0, "step": 17.0}
    for factor in (0.5, 1.5):
        clock.steps.append({part: Reading(2 * factor * s, factor * s) for part, s in parts.items()})
    lines = table_of(clock)
    assert "| encode, backward | 2000.0 | 4000.0 |" in lines
    assert "| step | 17000.0 | 34000.0 |" in lines
    # Networks: 4 + 1 + 2 of 17.
    assert "CPU 143 %" in lines[-1]


@pytest.mark.parametrize("preset", ["fast", "thesis"])
def test_a_tiny_run_prints_a_table(
    preset: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["dreamfusion", "--tiny", "--steps", "4", "--preset", preset]
    monkeypatch.setattr(sys, "argv", words)
    main()
    shown = capsys.readouterr().out
    assert f"preset {preset}, bundle tiny on cpu, 16 px, 4 steps" in shown
    assert "| denoise |" in shown and "Steps a second" in shown


def test_a_sheet_has_two_rows_a_prompt(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheet, "preset_config", lambda preset: replace(preset_config(preset), nodes=17, render=16))
    words = [
        "sheet",
        "--out",
        str(tmp_path / "sheet.png"),
        "--steps",
        "3",
        "--side",
        "16",
        "--bundle",
        str(tiny_folder),
    ]
    monkeypatch.setattr(sys, "argv", [*words, "--prompts", "a cat", "a dog"])
    sheet.main()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()[1:]]
    assert [line["prompt"] for line in lines] == ["a cat", "a dog"]
    assert {"cpu_s", "largest_piece", "volume_over_box", "depth_over_width", "watertight"} <= set(lines[0])
    picture = read_png(tmp_path / "sheet.png")
    columns, rows = picture.shape[2] // 16, picture.shape[1] // 16
    assert (columns, rows) == (8, 4)
    # The corner of a view shows the background alone: white, then black.
    assert picture[:, 1, 1].min() > 0.9 and picture[:, picture.shape[1] // 4 + 1, 1].max() < 0.1
