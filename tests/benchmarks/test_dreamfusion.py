"""The benchmark of DreamFusion's steps: what its clock counts, and one run of each preset."""

import sys

import pytest

from benchmarks.dreamfusion.measure import MEASURED, main, table_of
from benchmarks.step.clock import Clock, Reading


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
