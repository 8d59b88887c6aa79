import math

import numpy as np
import pytest
import torch

from runtime.errors import UserError
from runtime.field.meshes.shape import describe
from runtime.field.meshes.surface import extract_surface
from tests.field.meshes.solids import LOW, SIDE, nodes, sphere, surface, torus
from tests.tolerance import MESH_RELATIVE


def test_a_sphere() -> None:
    mesh = surface(sphere(60))
    report = describe(mesh)
    assert (report.watertight, report.pieces, report.genus) == (True, 1, 0)
    assert report.volume == pytest.approx(4 / 3 * math.pi * 0.7**3, rel=MESH_RELATIVE)
    assert report.area == pytest.approx(4 * math.pi * 0.7**2, rel=MESH_RELATIVE)
    # Chords of half a cell's diagonal, 0.03, stray 0.03^2 / 2 / 0.7 from the surface.
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 0.7).max() < 1e-3


def test_a_torus() -> None:
    report = describe(surface(torus(70)))
    assert (report.watertight, report.pieces, report.genus) == (True, 1, 1)
    assert report.volume == pytest.approx(2 * math.pi**2 * 0.6 * 0.25**2, rel=MESH_RELATIVE)
    assert report.area == pytest.approx(4 * math.pi**2 * 0.6 * 0.25, rel=MESH_RELATIVE)


def test_places_are_the_boxs() -> None:
    low = torch.tensor([10.0, -5, 2])
    mesh = extract_surface(sphere(), level=0.0, low=low, side=8.0)
    assert np.allclose((mesh.vertices.min(0) + mesh.vertices.max(0)) / 2, [14, -1, 6], atol=0.01)
    assert np.allclose(np.ptp(mesh.vertices, axis=0), 8 * 0.7, atol=0.02)


def test_a_level_moves_the_surface() -> None:
    report = describe(surface(sphere(60), level=0.2))
    assert report.volume == pytest.approx(4 / 3 * math.pi * 0.5**3, rel=MESH_RELATIVE)


def test_what_reaches_the_border_is_closed_there() -> None:
    slab = 0.5 - nodes(21)[..., 2].abs()
    report = describe(surface(slab))
    assert (report.watertight, report.genus) == (True, 0)
    # The closing layer lies within one cell outside.
    assert 4 <= report.volume < 4 * (1 + 0.1) ** 2


def test_axes_are_x_y_z() -> None:
    mesh = surface(sphere(radius=0.3, centre=(0.5, -0.4, 0.1)))
    assert np.allclose(mesh.vertices.mean(0), [0.5, -0.4, 0.1], atol=0.02)


@pytest.mark.parametrize("value", [-1.0, 1.0])
def test_an_empty_and_a_full_grid_are_refused_in_words(value: float) -> None:
    with pytest.raises(UserError, match="level 0"):
        extract_surface(torch.full((8, 8, 8), value), level=0.0, low=LOW, side=SIDE)
