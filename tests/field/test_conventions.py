import numpy as np
import pytest
import torch
from torch import Tensor

from runtime.field.cameras import Cameras
from runtime.field.conventions import CONVENTIONS, Convention, decompose_projections, from_opengl, to_opengl
from runtime.field.poses import draw_sphere
from tests.tolerance import CAMERA_PIXELS, FLOAT32_ROUNDING

INTRINSICS = torch.tensor([[80.0, 70.0, 33.0, 21.0]]).repeat(6, 1)


def poses() -> Tensor:
    return draw_sphere(6, torch.Generator().manual_seed(5), elevation=(-1.0, 1.4))


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_there_and_back(convention: Convention) -> None:
    there = from_opengl(poses(), convention, INTRINSICS)
    assert (to_opengl(there, convention) - poses()).abs().max() < 10 * FLOAT32_ROUNDING


IN_FRONT = torch.tensor([[0.5, -0.25, -2.0]])
"""Half a unit right, a quarter down, 2 in front of a camera at the origin that looks down -z."""


@pytest.mark.parametrize(
    ("convention", "local"),
    [("opengl", [0.5, -0.25, -2.0]), ("opencv", [0.5, 0.25, 2.0]), ("llff", [0.25, 0.5, -2.0])],
)
def test_a_point_has_the_coordinates_of_the_convention_in_its_camera(convention: Convention, local: list) -> None:
    matrix = from_opengl(torch.eye(4)[None], convention)[0]
    assert torch.allclose(torch.linalg.inv(matrix)[:3, :3] @ IN_FRONT[0], torch.tensor(local))


def test_colmap_maps_the_world_to_the_camera() -> None:
    pose = poses()
    matrix = from_opengl(pose, "colmap")
    inside = matrix @ torch.cat([pose[:, :3, 3], torch.ones(6, 1)], dim=1)[:, :, None]
    assert inside[:, :3, 0].abs().max() < 10 * FLOAT32_ROUNDING  # the camera's centre is its origin
    origin = (matrix @ torch.tensor([0.0, 0, 0, 1]))[:, :3]
    assert torch.allclose(origin[:, 2], pose[:, :3, 3].norm(dim=1), atol=FLOAT32_ROUNDING)  # forwards is +z


def test_a_dtu_matrix_maps_points_to_pixels_times_depth() -> None:
    cameras = Cameras(poses(), INTRINSICS, torch.tensor([[40, 60]]).repeat(6, 1))
    points = torch.rand(9, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    pixels, depth = cameras.project(points)
    mapped = from_opengl(poses(), "dtu", INTRINSICS) @ torch.cat([points, torch.ones(9, 1)], dim=1).T
    assert (mapped[:, :2] / mapped[:, 2:3] - pixels.transpose(1, 2)).abs().max() < CAMERA_PIXELS
    assert torch.allclose(mapped[:, 2], depth, atol=FLOAT32_ROUNDING)


@pytest.mark.parametrize("scale", [1.0, -0.003])
def test_a_projection_of_any_scale_and_sign_gives_its_camera(scale: float) -> None:
    matrices = scale * from_opengl(poses(), "dtu", INTRINSICS)
    back, intrinsics = decompose_projections(matrices)
    assert torch.allclose(intrinsics, INTRINSICS, rtol=1e-4)
    assert (back - poses()).abs().max() < 1e-4
    assert np.allclose(torch.linalg.det(back[:, :3, :3]).numpy(), 1, atol=1e-5)


def test_dtu_needs_the_intrinsics() -> None:
    with pytest.raises(ValueError, match="intrinsics"):
        from_opengl(poses(), "dtu")
