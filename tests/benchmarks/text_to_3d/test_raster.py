"""A mesh through a camera: what it covers, where it faces, what is nearer."""

import math

import numpy as np
import pytest
import torch

from benchmarks.text_to_3d.raster import ALBEDO, LAMP, grey_picture, surface_seen
from benchmarks.text_to_3d.views import DISTANCE, Frame
from runtime.field.meshes import Mesh, extract_surface


def ball(radius: float, *, nodes: int = 49, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Mesh:
    """Return a ball's surface, within a 500th of its radius."""
    axis = torch.linspace(-1, 1, nodes)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1) - torch.tensor(centre)
    return extract_surface(radius - points.norm(dim=-1), level=0.0, low=torch.full((3,), -1.0), side=2.0)


def test_a_ball_covers_a_disc_and_faces_outwards() -> None:
    frame = Frame(torch.zeros(3), 1.0)
    cameras = frame.cameras(128)
    covered, normals = surface_seen(ball(0.5), cameras, 0, 128)
    # The cone that touches the ball, in pixels.
    radius = float(cameras.intrinsics[0, 0]) * math.tan(math.asin(0.5 / DISTANCE))
    assert covered.sum() == pytest.approx(math.pi * radius**2, rel=0.02)
    rays = cameras.all_rays(0)
    middle = 64 * 128 + 64
    towards = -rays.directions[middle].numpy()
    assert normals[64, 64] @ towards > 0.99
    assert np.linalg.norm(normals[covered], axis=1) == pytest.approx(1.0)


def test_of_two_balls_the_nearer_one_is_seen() -> None:
    cameras = Frame(torch.zeros(3), 1.0).cameras(64)
    direction = torch.nn.functional.normalize(cameras.centres[0], dim=0)
    near, far = (
        ball(0.2, centre=tuple((0.6 * direction).tolist())),
        ball(0.35, centre=tuple((-0.4 * direction).tolist())),
    )
    both = Mesh(
        np.concatenate([far.vertices, near.vertices]), np.concatenate([far.faces, near.faces + len(far.vertices)])
    )
    alone, seen = surface_seen(near, cameras, 0, 64), surface_seen(both, cameras, 0, 64)
    np.testing.assert_allclose(seen[1][alone[0]], alone[1][alone[0]])
    assert seen[0].sum() > alone[0].sum()


def test_light_is_that_of_the_set_of_objects() -> None:
    cameras = Frame(torch.zeros(3), 1.0).cameras(64)
    picture = grey_picture(ball(0.6), cameras, 0)
    assert picture.shape == (3, 64, 64) and bool((picture[:, 0, 0] == 1).all())
    normal = cameras.poses[0, :3, 2]  # in the middle a ball faces the camera
    linear = ALBEDO * (0.68 * (0.92 + 0.08 * float(normal[2])) + 0.40 * float(LAMP[2]))
    assert float(picture[0, 32, 32]) == pytest.approx(1.055 * linear ** (1 / 2.4) - 0.055, abs=0.02)
    # The lamp stands up and left.
    assert picture[0, 20, 20] > picture[0, 44, 44]
    assert bool((grey_picture(None, cameras, 0) == 1).all())
