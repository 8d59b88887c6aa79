from pathlib import Path

import pytest

from runtime.errors import UserError
from runtime.nerf.inspect import main

CAPTURE = Path(__file__).parents[2] / "benchmarks/capture"


def test_a_captures_cameras_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(CAPTURE), "--rows", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "transforms.json: 24 pictures, with alpha"
    assert "meet the box" in lines[4]
    assert sum(line.startswith("images/") for line in lines) == 3
    assert not any(line.startswith("warning") for line in lines)


def test_the_wrong_convention_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    main([str(CAPTURE), "--convention", "opencv"])
    assert "warning: 24 of 24 cameras look away" in capsys.readouterr().out


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a capture"):
        main([str(tmp_path / "nothing")])
    with pytest.raises(UserError, match="--half"):
        main([str(CAPTURE), "--half", "0"])
