"""A mesh as a camera sees it: where it is, what is in front, how it is lit."""

import math

import numpy as np
import torch

from benchmarks.field.mesh_picture import AMBIENT, mesh_picture
from runtime.field.meshes import Mesh, TexturedMesh
from runtime.field.results import Orbit, Surface
from tests.field.test_results import BOX, ball


def textured(mesh: Mesh, colour: tuple[int, int, int]) -> TexturedMesh:
    texture = np.full((8, 8, 3), colour, dtype=np.uint8)
    places = np.full((len(mesh.vertices), 2), 0.5, dtype=np.float32)
    return TexturedMesh(mesh, places, texture, np.full((len(mesh.vertices), 3), 128, dtype=np.uint8))


def test_a_ball_covers_a_disc_and_is_brightest_in_its_middle() -> None:
    around = Orbit(frames=4, elevation=0.0, side=64)
    picture = mesh_picture(textured(Surface.of(ball(), BOX).mesh, (200, 100, 0)), around.cameras(), 1)
    covered = float((picture[2] < 0.5).float().mean())
    # A ball of radius 0.6 at distance 4 has the angular radius asin(0.6 / 4).
    radius = math.tan(math.asin(0.6 / 4)) / (2 * math.tan(around.angle / 2))
    assert math.isclose(covered, math.pi * radius**2, rel_tol=0.03)
    assert torch.allclose(picture[:, 32, 32], torch.tensor([200.0, 100, 0]) / 255, atol=0.03)
    assert torch.equal(picture[:, 0, 0], torch.ones(3))
    rim = picture[0, 32, picture[2, 32] < 0.02]
    assert AMBIENT * 200 / 255 < rim.min() < 0.7 * rim.max()


def test_the_nearer_of_two_faces_is_seen_and_no_back() -> None:
    cameras = Orbit(frames=1, elevation=0.0, side=32).cameras()
    corners = np.array([[0, -1, -1], [0, 3, -1], [0, -1, 3]], dtype=np.float32)
    both = np.concatenate([corners, corners + np.array([0.5, 0, 0], dtype=np.float32)])
    mesh = Mesh(both, np.array([[0, 1, 2], [3, 4, 5]]))
    places = np.array([[0.25, 0.5]] * 3 + [[0.75, 0.5]] * 3, dtype=np.float32)
    texture = np.zeros((2, 2, 3), dtype=np.uint8)
    texture[:, 0, 0], texture[:, 1, 2] = 255, 255
    picture = mesh_picture(TexturedMesh(mesh, places, texture, np.zeros((6, 3), dtype=np.uint8)), cameras, 0)
    # The camera stands on the x axis: the second face, blue, is nearer.
    assert torch.allclose(picture[:, 16, 16], torch.tensor([0.0, 0, 1]), atol=0.05)
    back = Mesh(both, np.array([[0, 2, 1], [3, 5, 4]]))
    behind = mesh_picture(TexturedMesh(back, places, texture, np.zeros((6, 3), dtype=np.uint8)), cameras, 0)
    assert torch.equal(behind, torch.ones_like(behind))
