import math
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.few_view.prior import FRONT, Options, configs, farthest, gain, measured
from benchmarks.posed_objects import PosedObject
from runtime.nerf.scenes import Split


def make_object() -> PosedObject:
    poses = torch.eye(4).repeat(16, 1, 1)
    return PosedObject("a/robot", np.zeros((16, 8, 8, 4), np.uint8), poses, "a robot")


def test_the_fits_differ_by_the_prior_alone() -> None:
    options = Options(objects=Path("objects"), distillation=0.25, steps=7)
    without, with_prior = configs(options, make_object(), Path("robot.npz")).values()
    assert (without.prior, without.views, without.steps) == (None, 3, 7)
    assert (with_prior.prior, with_prior.prompt, with_prior.front) == ("objects", "a robot", FRONT)
    assert with_prior.distillation == 0.25
    assert (with_prior.views, with_prior.steps, with_prior.seed) == (3, 7, 0)


def test_views_are_shown_that_are_farthest_from_what_was_fitted() -> None:
    angles = torch.tensor([0.0, 0.5, 3.0, 1.5])
    centres = 4 * torch.stack([angles.cos(), angles.sin(), torch.zeros(4)], 1)
    assert farthest(centres, [0], [1, 2, 3]) == [2, 3, 1]
    assert farthest(centres, [0, 2], [1, 3]) == [3, 1]


def test_gains_are_by_object() -> None:
    rows = [{"psnr_without": base, "psnr_with": base + more} for base, more in ((10.0, 1.0), (30.0, 3.0))]
    mean, error = gain(rows, "psnr")
    assert mean == pytest.approx(2.0)
    assert error == pytest.approx(1.0)
    assert gain(rows[:1], "psnr") == (1.0, 0.0)


def test_both_fits_are_measured_on_the_other_views(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from benchmarks.few_view import prior
    from benchmarks.few_view.objects import TO_Z_UP, archive_of

    poses = np.eye(4, dtype=np.float32)[None].repeat(4, 0)
    for view, angle in enumerate((0.0, 1.0, 2.0, 3.0)):
        poses[view, :3, 0] = (math.cos(angle), 0, -math.sin(angle))
        poses[view, :3, 2] = (math.sin(angle), 0, math.cos(angle))
        poses[view, :3, 3] = 4 * poses[view, :3, 2]
    rgba = np.zeros((4, 16, 16, 4), np.uint8)
    rgba[:, 5:11, 5:11] = (200, 30, 30, 255)
    capture = tmp_path / "box.npz"
    capture.write_bytes(archive_of(rgba, TO_Z_UP @ poses))
    options = Options(objects=tmp_path, views=2, steps=6)
    bare = configs(options, make_object(), capture)["without"]
    monkeypatch.setattr(prior, "configs", lambda *of: {"without": bare, "with": bare})
    row, cells = measured(options, make_object(), capture)
    assert row["psnr_with"] == row["psnr_without"] > 0
    assert len(cells) == 2 + 3 * 2
    assert torch.equal(cells[3], cells[4])
    assert Split.of(bare).held_out != Split.of(bare).train
