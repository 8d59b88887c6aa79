"""Frames, hulls, and the views in a PNG."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.text_to_3d.views import (
    AZIMUTHS,
    ELEVATIONS,
    RADII,
    SIDE,
    Frame,
    hull_share,
    pictures_of,
    read_views,
    shape_of,
    surface_of,
)
from runtime import dreamfusion
from runtime.field.fields.grid import DenseGrid
from runtime.field.meshes import Mesh
from runtime.field.sheets import contact_sheet
from runtime.pictures import write_png
from tests.benchmarks.text_to_3d.test_raster import ball


def test_the_farthest_vertex_touches_the_border_from_each_side() -> None:
    mesh = ball(0.5, centre=(0.3, -0.2, 0.1))
    frame = Frame.of(mesh)
    assert frame.radius == pytest.approx(0.5, rel=0.01)
    cameras = frame.cameras()
    assert len(cameras) == AZIMUTHS * len(ELEVATIONS)
    pixels, _ = cameras.project(torch.from_numpy(mesh.vertices).float())
    reach = (pixels - SIDE / 2).norm(dim=2).amax(1)
    torch.testing.assert_close(reach, torch.full_like(reach, SIDE / 2), atol=0.7, rtol=0)
    assert Frame.of(None).radius == RADII[1]


def test_the_first_view_is_from_the_front_and_the_third_from_the_side() -> None:
    centres = Frame(torch.zeros(3), 1.0).cameras().centres
    angles = torch.atan2(centres[:, 1], centres[:, 0])
    torch.testing.assert_close(angles[[0, 2]], torch.tensor([0.0, math.pi / 2]), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.asin(centres[[0, 8], 2] / 4), torch.tensor(ELEVATIONS))


def test_a_ball_fills_its_hull_and_a_hollow_one_does_not() -> None:
    whole, hollow = ball(0.6), ball(0.45)
    assert 0.9 < hull_share(whole) < 1.02
    shell = Mesh(
        np.concatenate([whole.vertices, hollow.vertices]),
        np.concatenate([whole.faces, hollow.faces[:, ::-1] + len(whole.vertices)]),
    )
    assert hull_share(shell) / hull_share(whole) == pytest.approx(1 - 0.75**3, abs=0.01)


def test_views_survive_their_picture(tmp_path: Path) -> None:
    axis = torch.linspace(-1, 1, 17)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    values = torch.full((17, 17, 17, 1, 4), 0.5)
    values[..., 0, 0] = 20 * (0.6 - points.norm(dim=-1))
    values[..., 0, 1:] = torch.tensor([1.0, 0.0, 0.0])
    grid = DenseGrid(values, torch.ones(4, 4, 4, dtype=torch.uint8), torch.tensor([-1.0, -1.0, -1.0, 2.0]))
    surface = surface_of(dreamfusion.Config(), grid)
    assert surface is not None
    pictures = pictures_of(grid, surface.mesh)
    assert pictures.shape == (2, 16, 3, SIDE, SIDE)
    red = pictures[0, :, :, 64, 64]
    assert bool((red[:, 0] > 0.9).all()) and bool((red[:, 1] < 0.2).all())
    write_png(tmp_path / "views.png", contact_sheet(list(pictures.flatten(0, 1)), 8, gap=0))
    torch.testing.assert_close(read_views(tmp_path / "views.png"), pictures, atol=0.5 / 255 + 1e-6, rtol=0)
    shape = shape_of(surface)
    assert shape["watertight"] and shape["hull_share"] > 0.85
    assert shape_of(None) == {}
    empty = DenseGrid(torch.zeros(17, 17, 17, 1, 4), torch.ones(4, 4, 4, dtype=torch.uint8), grid.box)
    assert surface_of(dreamfusion.Config(), empty) is None
