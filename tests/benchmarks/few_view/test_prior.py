import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.few_view.cleaning import Cleaner
from benchmarks.few_view.prior import FRONT, Options, configs, farthest, gains, mean_of, measured, summary
from benchmarks.posed_objects import PosedObject
from runtime.errors import UserError
from runtime.nerf.scenes import Split
from tests.benchmarks.few_view.test_cleaning import make_cleaner


def make_object() -> PosedObject:
    poses = torch.eye(4).repeat(16, 1, 1)
    return PosedObject("a/robot", np.zeros((16, 8, 8, 4), np.uint8), poses, "a robot")


ALL = ("without", "hull", "guess", "guess in hull", "distillation")


def test_the_fits_differ_by_their_priors_alone() -> None:
    options = Options(objects=Path("objects"), distillation=0.25, guess=0.4, steps=7, rows=ALL)
    fits = configs(options, make_object(), Path("robot.npz"))
    without = fits["without"]
    assert tuple(fits) == ALL
    assert (without.prior, without.hull, without.views, without.steps) == (None, False, 3, 7)
    assert fits["hull"] == replace(without, hull=True)
    assert fits["guess"] == replace(without, prior="pixelnerf", guess=0.4)
    assert fits["guess in hull"] == replace(fits["guess"], hull=True)
    distilled = fits["distillation"]
    assert (distilled.prior, distilled.prompt, distilled.front, distilled.distillation) == (
        "objects",
        "a robot",
        FRONT,
        0.25,
    )
    assert replace(distilled, prior=None, prompt="", front=None, distillation=without.distillation) == without


@pytest.mark.parametrize("rows", [(), ("without", "semantic")])
def test_rows_that_are_none_are_refused(rows: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="--rows: expected some of without, hull"):
        configs(Options(objects=Path("objects"), rows=rows), make_object(), Path("robot.npz"))


def test_views_are_shown_that_are_farthest_from_what_was_fitted() -> None:
    angles = torch.tensor([0.0, 0.5, 3.0, 1.5])
    centres = 4 * torch.stack([angles.cos(), angles.sin(), torch.zeros(4)], 1)
    assert farthest(centres, [0], [1, 2, 3]) == [2, 3, 1]
    assert farthest(centres, [0, 2], [1, 3]) == [3, 1]


def make_row(psnr: float, more: float) -> dict[str, dict[str, object]]:
    first = {"psnr": psnr, "ssim": 0.5, "cpu_s": 1.0}
    cleaned = {"from time 50": [-1.0, 0.5]}
    return {"without": {**first, "cleaned": cleaned}, "guess": {**first, "psnr": psnr + more, "cpu_s": 2.0}}


def test_gains_are_by_object() -> None:
    rows = [make_row(10.0, 3.0), make_row(30.0, 1.0), make_row(20.0, -1.0)]
    assert gains(rows, "guess", "without", "psnr") == pytest.approx([3.0, 1.0, -1.0])
    assert mean_of([1.0, 3.0]) == (2.0, pytest.approx(1.0))
    assert mean_of([1.0]) == (1.0, 0.0)
    lines = list(summary(rows, ("without", "guess")))
    assert lines[0].split(";")[0].endswith("1 CPU s")
    assert "from time 50: -0.25 dB, nearer to the truth in 3/6 views" in lines[1]
    assert "gain +1.00 +- 1.15 dB, SSIM +0.000 +- 0.000, 2/3 objects" in lines[2]


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
    asked = []

    def given(self: Cleaner, picture, truth, angles, caption: str) -> dict[str, float]:
        """Stand for `Cleaner.gains`: what it is given is what it returns."""
        asked.append((picture.shape, truth.shape, caption))
        return {"x": float(angles[0])}

    monkeypatch.setattr(Cleaner, "gains", given)
    bare = configs(options, make_object(), capture)["without"]
    monkeypatch.setattr(prior, "configs", lambda *of: {"without": bare, "with": bare})
    row, cells = measured(options, make_object(), capture, make_cleaner([]))
    assert row["with"]["psnr"] == row["without"]["psnr"] > 0
    assert asked == [((3, 16, 16), (3, 16, 16), "a robot")] * 4
    # Cameras of the set stand at azimuth 0 of +z, which is -y once z is up: the front.
    split = Split.of(bare)
    angles = [angle for angle in (0.0, 1.0, 2.0, 3.0) if split.held_out.count(int(angle))]
    assert sorted(value % (2 * math.pi) for value in row["with"]["cleaned"]["x"]) == pytest.approx(angles, abs=1e-4)
    assert len(cells) == 2 + 3 * 2
    assert torch.equal(cells[3], cells[4])
    assert Split.of(bare).held_out != Split.of(bare).train
