"""Rays of a step: which pixels, through where, with which colour."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from runtime.errors import UserError
from runtime.field.cameras import Cameras
from runtime.field.captures import Capture
from runtime.field.captures.pictures import PictureArray
from runtime.field.training_views import VIEWS_A_STEP, TrainingViews
from runtime.field.volume import Rendering


def capture(count: int = 3, height: int = 6, width: int = 8, channels: int = 4) -> Capture:
    """Return pictures whose red is the column, green the row and blue the picture, each in 255ths."""
    values = np.zeros((count, height, width, channels), np.uint8)
    values[..., 0] = np.arange(width)
    values[..., 1] = np.arange(height)[:, None]
    values[..., 2] = np.arange(count)[:, None, None]
    if channels == 4:
        values[..., 3] = 255
    poses = torch.eye(4).repeat(count, 1, 1)
    poses[:, 2, 3] = 4.0
    poses[:, 0, 3] = torch.arange(count)
    cameras = Cameras(
        poses=poses,
        intrinsics=torch.tensor([[10.0, 10, width / 2, height / 2]]).repeat(count, 1),
        sizes=torch.tensor([[height, width]]).repeat(count, 1),
    )
    names = tuple(f"{index}.png" for index in range(count))
    return Capture(format="test", cameras=cameras, names=names, pictures=PictureArray(values, premultiplied=False))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("count", [10_000, 40, 12])
def test_rays_go_through_the_pixels_whose_colour_they_have(count: int) -> None:
    views = TrainingViews.of(capture(), [2, 0])
    batch = views.draw(count, generator(count))
    levels = (batch.colour * 255).round()
    # Before the camera at (i, 0, 4) the ray through (x, y) is (x - 4, 3 - y, -10) / 10.
    way = batch.rays.directions / -batch.rays.directions[:, 2:]
    x, y = way[:, 0] * 10 + 4, 3 - way[:, 1] * 10
    assert torch.equal(x.floor(), levels[:, 0])
    assert torch.equal(y.floor(), levels[:, 1])
    assert torch.equal(batch.rays.origins[:, 0], levels[:, 2])
    assert set(levels[:, 2].tolist()) == {0.0, 2.0}
    assert ((batch.jitter >= 0) & (batch.jitter < 1)).all()


def test_all_pixels_are_drawn_once_when_there_are_as_many_rays() -> None:
    views = TrainingViews.of(capture(), [0, 1, 2])
    batch = views.draw(3 * 48, generator())
    rows = {tuple(row) for row in (batch.colour * 255).round().int().tolist()}
    assert len(batch.alpha) == len(rows) == 144


def test_pairs_of_rays_lie_half_a_pixel_apart_in_the_pixel_whose_colour_they_have() -> None:
    views = TrainingViews.of(capture(), [2, 0])
    batch = views.draw(2 * 2 * 48, generator(), pairs=True)
    assert len(batch.alpha) == 96
    assert len(batch.jitter) == len(batch.rays.origins) == 192
    way = batch.rays.directions / -batch.rays.directions[:, 2:]
    at = torch.stack([way[:, 0] * 10 + 4, 3 - way[:, 1] * 10], 1).unflatten(0, (96, 2))
    levels = (batch.colour * 255).round()
    assert torch.equal(at.floor(), levels[:, None, :2].expand(-1, 2, -1))
    assert torch.allclose((at[:, 0] - at[:, 1]).abs(), torch.tensor(0.5), atol=1e-4)
    # What the two rays of a pixel show is averaged, pixel by pixel.
    values = torch.arange(192.0)
    shown = batch.pixels(Rendering(values[:, None].expand(-1, 3), values, values, values))
    assert torch.equal(shown.transmittance, values[::2] + 0.5)
    assert torch.equal(shown.colour[:, 1], values[::2] + 0.5)
    single = views.draw(100, generator())
    rendering = Rendering(torch.zeros(len(single.alpha), 3), *torch.zeros(3, len(single.alpha)))
    assert single.pixels(rendering) is rendering


def test_the_width_of_a_pixel_at_the_origin() -> None:
    # The camera at (0, 0, 4) with a focal length of 10 pixels.
    assert math.isclose(TrainingViews.of(capture(1), [0]).pixel_width, 0.4, rel_tol=1e-6)


def test_every_pixel_has_its_turn() -> None:
    views = TrainingViews.of(capture(1), [0])
    seen = set()
    for step in range(60):
        seen |= {tuple(row[:2]) for row in (views.draw(12, generator(step)).colour * 255).round().int().tolist()}
    assert len(seen) == 48


def test_few_pictures_a_step_and_all_in_the_end() -> None:
    views = TrainingViews.of(capture(40), list(range(40)))
    seen = set()
    for step in range(20):
        owners = set((views.draw(500, generator(step)).colour[:, 2] * 255).round().int().tolist())
        assert len(owners) == VIEWS_A_STEP
        seen |= owners
    assert seen == set(range(40))


def test_masked_pixels_are_left_out(tmp_path: Path) -> None:
    from PIL import Image

    mask = np.full((6, 8), 255, np.uint8)
    mask[:, :4] = 0
    Image.fromarray(mask).save(tmp_path / "mask.png")
    part = dataclasses.replace(capture(2), masks=(tmp_path / "mask.png", None))
    batch = TrainingViews.of(part, [0, 1]).draw(1000, generator())
    columns, owners = (batch.colour * 255).round()[:, [0, 2]].T
    assert columns[owners == 0].min() == 4
    assert columns[owners == 1].min() == 0


def test_transparent_pixels_are_premultiplied() -> None:
    values = np.full((1, 2, 2, 4), 200, np.uint8)
    values[..., 3] = 51
    part = dataclasses.replace(capture(1, 2, 2), pictures=PictureArray(values, premultiplied=False))
    views = TrainingViews.of(part, [0])
    assert views.has_alpha
    batch = views.draw(4, generator())
    assert torch.allclose(batch.alpha, torch.tensor(0.2))
    assert torch.allclose(batch.colour, torch.tensor(40 / 255))
    assert torch.allclose(batch.on(torch.ones(1, 3)), torch.tensor(40 / 255 + 0.8))
    assert views.picture(0).shape == (2, 2, 4)


def test_pictures_without_alpha_are_opaque() -> None:
    views = TrainingViews.of(capture(2, channels=3), [0, 1])
    assert not views.has_alpha
    assert views.draw(10, generator()).alpha.min() == 1


def test_more_pixels_than_the_budget_are_read_smaller() -> None:
    views = TrainingViews.of(capture(2, 60, 80), [0, 1], budget=4 * 2 * 15 * 20)
    height, width = views.cameras.sizes[0].tolist()
    assert 12 <= height <= 15
    assert 17 <= width <= 20
    assert len(views.pixels) == 2 * height * width


def test_a_lattice_that_misses_all_that_counts_gives_one_ray(tmp_path: Path) -> None:
    from PIL import Image

    mask = np.zeros((6, 8), np.uint8)
    mask[5, 7] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    Image.fromarray(mask * 0).save(tmp_path / "black.png")
    part = dataclasses.replace(capture(2), masks=(tmp_path / "black.png", tmp_path / "mask.png"))
    views = TrainingViews.of(part, [0, 1])
    for step in range(8):
        batch = views.draw(3, generator(step))
        assert (batch.colour * 255).round().int().tolist() == [[7, 5, 1]]
    with pytest.raises(UserError, match="masks that are black everywhere"):
        TrainingViews.of(part, [0])
