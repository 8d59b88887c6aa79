import math

import pytest
import torch

from runtime.field.meshes.shape import describe
from runtime.field.meshes.simplify import keep_pieces, simplify
from runtime.field.meshes.surface import extract_surface
from tests.field.meshes.solids import sphere, surface, torus


def test_floaters_go() -> None:
    values = torch.maximum(sphere(radius=0.4, centre=(-0.3, 0, 0)), sphere(radius=0.06, centre=(0.7, 0.7, 0.7)))
    mesh = surface(values)
    assert describe(mesh).pieces == 2
    alone = describe(keep_pieces(mesh, 0.05))
    assert (alone.pieces, alone.watertight) == (1, True)
    assert alone.volume == pytest.approx(4 / 3 * math.pi * 0.4**3, rel=0.01)
    assert describe(keep_pieces(mesh, 0.0)).pieces == 2
    assert describe(keep_pieces(mesh, 1.0)).pieces == 1


def test_fewer_faces_keep_the_shape() -> None:
    mesh = surface(torus())
    few = simplify(mesh, 1500)
    before, after = describe(mesh), describe(few)
    assert after.faces <= 1500 < before.faces
    assert (after.watertight, after.genus, after.pieces) == (True, 1, 1)
    assert after.volume == pytest.approx(before.volume, rel=0.02)
    assert simplify(mesh, 10**6) is mesh


def test_a_closed_surface_stays_closed() -> None:
    """Noise has handles and thin walls, which some orders of collapses tear."""
    draws = torch.Generator().manual_seed(0)
    noise = torch.nn.functional.avg_pool3d(torch.randn(1, 1, 34, 34, 34, generator=draws), 5, stride=1)[0, 0]
    rough = extract_surface(noise, level=0.02, low=torch.tensor([-1.0, -1, -1]), side=2.0)
    assert describe(rough).watertight
    for share in (2, 4, 8):
        simpler = simplify(rough, len(rough) // share)
        assert describe(simpler).watertight
