import math

import pytest
import torch

from runtime.field.cameras import Cameras
from runtime.field.captures.checks import check_poses, convergence, find_flips, find_tilt, focus_point
from runtime.field.conventions import from_opengl
from runtime.field.poses import draw_sphere, look_at, orbit


def around(poses: torch.Tensor) -> Cameras:
    count = len(poses)
    return Cameras(poses, torch.tensor([50.0, 50, 16, 16]).repeat(count, 1), torch.tensor([[32, 32]]).repeat(count, 1))


def names(count: int) -> list[str]:
    return [f"view {i}" for i in range(count)]


def test_axes_meet_where_the_cameras_look() -> None:
    target = torch.tensor([1.0, -2.0, 0.5])
    poses = look_at(target + 4 * torch.nn.functional.normalize(torch.randn(20, 3)), target)
    assert torch.allclose(focus_point(around(poses)), target, atol=1e-4)


def test_parallel_cameras_do_not_converge() -> None:
    poses = torch.eye(4).repeat(5, 1, 1)
    poses[:, 0, 3] = torch.arange(5)
    assert convergence(around(poses)) == pytest.approx(0, abs=1e-6)
    assert focus_point(around(poses)).isfinite().all()
    assert convergence(around(orbit(12, elevation=0.0))) == pytest.approx(1, abs=1e-6)


def test_a_sound_capture_has_no_warnings() -> None:
    cameras = around(draw_sphere(20, torch.Generator().manual_seed(0)))
    assert find_flips(cameras, names(20)) == []
    assert find_tilt(cameras) == []


def test_opencv_poses_are_recognized() -> None:
    cameras = around(from_opengl(draw_sphere(20, torch.Generator().manual_seed(0)), "opencv"))
    assert "--convention opencv" in find_flips(cameras, names(20))[0]


def test_two_conventions_are_recognized() -> None:
    poses = draw_sphere(20, torch.Generator().manual_seed(0))
    poses[[4, 9, 11]] = from_opengl(poses[[4, 9, 11]], "opencv")
    found = find_flips(around(poses), names(20))
    assert "3 of 20" in found[0]
    assert "'view 4', 'view 9', 'view 11'" in found[0]


def test_pictures_on_their_side_and_upside_down_are_recognized() -> None:
    poses = draw_sphere(20, torch.Generator().manual_seed(0), elevation=(0.0, 0.8))
    assert "on their sides" in find_tilt(around(from_opengl(poses, "llff")))[0]
    half_turn = torch.diag(torch.tensor([-1.0, -1, 1, 1]))
    assert "upside down" in find_tilt(around(poses @ half_turn))[0]


def test_small_errors_of_rounding_are_mended() -> None:
    poses = draw_sphere(4, torch.Generator().manual_seed(0))
    rough = (poses * 1000).round() / 1000
    exact = check_poses(rough, names(4))
    turn = exact[:, :3, :3]
    assert (turn.transpose(1, 2) @ turn - torch.eye(3)).abs().max() < 1e-6
    assert torch.equal(exact[:, :3, 3], rough[:, :3, 3])
    assert math.isclose(float(torch.linalg.det(turn[0])), 1, abs_tol=1e-6)
