"""The visual hull: by brute force, in closed form, and as a fit holds it."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from runtime.command.method import draw
from runtime.errors import UserError
from runtime.field.cameras import Cameras
from runtime.field.fields.grid import DenseGrid, raw_of_opacity
from runtime.field.poses import on_sphere
from runtime.field.training_views import TrainingViews
from runtime.nerf import METHOD, Config
from runtime.nerf.hull import NOTHING, check_alpha, hold_empty, outside_hull
from runtime.nerf.scenes import Split, box

CAPTURE = Path(__file__).parents[2] / "benchmarks" / "capture"

SIDE = 40


def make_views(azimuths: list[float], radius: float = 0.5, *, focal: float = 60.0) -> TrainingViews:
    """Return pictures of a ball around the origin, from the horizon at distance 4."""
    count = len(azimuths)
    poses = on_sphere(torch.tensor(azimuths), torch.zeros(count), torch.full((count,), 4.0))
    intrinsics = torch.tensor([focal, focal, SIDE / 2, SIDE / 2]).repeat(count, 1)
    cameras = Cameras(poses, intrinsics, torch.full((count, 2), SIDE))
    pixels = torch.zeros(count, SIDE * SIDE, 4, dtype=torch.uint8)
    for view in range(count):
        rays = cameras.all_rays(view)
        away = torch.linalg.cross(rays.directions, rays.origins).norm(dim=1)
        pixels[view, away < radius] = 255
    return TrainingViews(cameras, pixels.flatten(0, 1), None, True)


def test_a_ball_is_in_its_hull_and_far_nodes_are_not() -> None:
    views = make_views([0.0, 1.0, 2.0, 3.0])
    outside = outside_hull(views, 17)
    axis = torch.linspace(-1, 1, 17)
    nodes = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1)
    assert not outside[nodes.norm(dim=-1) <= 0.5].any()
    # From the horizon a cone's outline at the origin is the ball's, and a pixel is 4 / 60 wide there; heights are
    # bounded by every picture, and more than two pixels above the ball there is nothing.
    assert outside[nodes[..., 2].abs() > 0.5 * 5 / 4 + 2 * 5 / 60].all()


def test_it_is_what_pixels_say_one_by_one() -> None:
    views = make_views([0.3, 2.1])
    outside = outside_hull(views, 9)
    axis = torch.linspace(-1, 1, 9).tolist()
    for i, x in enumerate(axis):
        for j, y in enumerate(axis):
            for k, z in enumerate(axis):
                shown = empty = False
                for view in range(2):
                    at, _ = views.cameras[view].project(torch.tensor([[x, y, z]]))
                    column, row = (math.floor(value) for value in at[0, 0].tolist())
                    if not (0 <= column < SIDE and 0 <= row < SIDE):
                        continue
                    shown = True
                    near = views.picture(view)[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2, 3]
                    empty |= not bool((near > 0).any())
                assert bool(outside[i, j, k]) == (empty or not shown)


def test_what_lies_beyond_a_border_is_ruled_out_by_no_picture_but_by_all() -> None:
    # One camera sees the ball alone, the other the whole box.
    near, wide = make_views([0.0], focal=160.0), make_views([1.5], focal=35.0)
    corner = (0, 16, 16)  # (-1, 1, 1)
    at, _ = near.cameras.project(torch.tensor([[-1.0, 1.0, 1.0]]))
    assert at.max() > SIDE or at.min() < 0
    assert outside_hull(near, 17)[corner]
    both = TrainingViews(
        Cameras(
            *(torch.cat([getattr(v.cameras, name) for v in (near, wide)]) for name in ("poses", "intrinsics", "sizes"))
        ),
        torch.cat([near.pixels, torch.full_like(wide.pixels, 255)]),
        None,
        True,
    )
    assert not outside_hull(both, 17)[corner]


def test_pixels_that_do_not_count_rule_nothing_out() -> None:
    views = make_views([0.0])
    nothing = replace(views, valid=torch.zeros(SIDE * SIDE, dtype=torch.bool))
    assert not outside_hull(nothing, 9)[4, 4].any()
    assert outside_hull(views, 9)[4, 4].any()


def test_nodes_are_emptied() -> None:
    scene = DenseGrid.empty(9, box(), density=5.0)
    outside = torch.zeros(9, 9, 9, dtype=torch.bool)
    outside[:4] = True
    before = scene.values.detach().clone()
    hold_empty(scene, outside)
    assert (scene.values[:4, ..., 0] == NOTHING).all()
    assert torch.equal(scene.values[4:], before[4:])
    assert torch.equal(scene.values[..., 1:], before[..., 1:])
    assert not scene.occupied[0].any()
    assert scene.occupied[-1].all()


def test_a_fit_shows_nothing_outside() -> None:
    config = Config(capture=CAPTURE, views=6, size=24, steps=60, rays=600, nodes=33, hull=True)
    split = Split.of(config)
    outside = outside_hull(TrainingViews.of(split.capture, split.train), 33)
    assert 0.2 < outside.float().mean() < 0.98
    held, free = draw(METHOD, config), draw(METHOD, replace(config, hull=False))
    assert isinstance(held, DenseGrid)
    assert isinstance(free, DenseGrid)
    assert (held.raw_density()[outside] == NOTHING).all()
    assert free.raw_density()[outside].max() > raw_of_opacity(0.01, 33)
    assert held.raw_density()[~outside].max() > raw_of_opacity(0.5, 33)


def test_without_alpha_there_is_no_hull() -> None:
    check_alpha(True, "--hull")
    with pytest.raises(UserError, match="--hull: expected pictures with alpha"):
        check_alpha(False, "--hull")
