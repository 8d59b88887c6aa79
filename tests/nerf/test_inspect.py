from dataclasses import fields
from pathlib import Path

import pytest
import torch

from runtime.errors import UserError
from runtime.nerf.capture import CaptureOptions
from runtime.nerf.config import Config as Request
from runtime.nerf.scenes import Split
from runtime.nerf.tools.inspect import Config as Inspection
from runtime.nerf.tools.inspect import main

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


def test_a_fit_reads_a_capture_as_it_was_inspected() -> None:
    shared = {field.name for field in fields(CaptureOptions)}
    for config in (Inspection, Request):
        assert shared <= {field.name for field in fields(config)}
    turned = Split.of(Request(capture=CAPTURE, orient="pca", centre="poses", half=3.0))
    plain = Split.of(Request(capture=CAPTURE))
    centres, others = turned.capture.cameras.centres, plain.capture.cameras.centres
    # In the middle of its cameras, and in a box of another size.
    assert torch.allclose(centres.mean(0), torch.zeros(3), atol=1e-5)
    assert not torch.allclose(others.mean(0), torch.zeros(3), atol=1e-2)
    spread = [(c - c.mean(0)).norm(dim=1).mean().item() for c in (centres, others)]
    assert turned.capture.to_world[:3, :3].double().det().item() == pytest.approx(27.0, rel=1e-5)
    assert spread[0] * 3.0 == pytest.approx(
        spread[1] * plain.capture.to_world[:3, :3].det().item() ** (1 / 3), rel=1e-4
    )
