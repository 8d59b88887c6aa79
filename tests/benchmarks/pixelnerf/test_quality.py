import sys
from pathlib import Path

import pytest

from benchmarks.pixelnerf.quality import main
from runtime.errors import UserError
from tests.pixelnerf.small import make_bundle, make_run
from tests.train.pixelnerf.set_of_objects import write_set


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks.pixelnerf", *words, "--objects", "1"])
    main()


def test_a_run_is_measured_with_and_without_fitting_and_its_bundle_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    write_set(tmp_path / "set")
    words = ["--data", str(tmp_path / "set"), "--cache", str(tmp_path)]
    run(monkeypatch, str(make_run(tmp_path / "run")), *words, "--tune", "1", "--inputs", "2")
    lines = capsys.readouterr().out.splitlines()
    names = [line.split(" | ")[0] for line in lines if line.startswith("|")][2:]
    assert names == [
        "| pixelNeRF",
        "| pixelNeRF, MSE",
        "| DietPixelNeRF, MSE and semantic",
        "| nearest trained",
        "| hull, mean colour",
    ]
    run(monkeypatch, str(make_bundle(tmp_path / "things")), *words, "--inputs", "2")
    rows = {line.split(" | ")[0]: line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")}
    before = {line.split(" | ")[0]: line for line in lines if line.startswith("| ")}
    assert rows["| nearest trained"] == before["| nearest trained"]
    ratio, other = (float(table["| pixelNeRF"].split(" | ")[1]) for table in (rows, before))
    assert ratio == pytest.approx(other, abs=0.1)  # int8 and float16 beside float32
    with pytest.raises(UserError, match="--tune: expected a run folder"):
        run(monkeypatch, str(tmp_path / "things"), *words, "--tune", "1")
