import math

import pytest
import torch

from runtime.field.poses import (
    DREAMFUSION,
    THREESTUDIO,
    Axis,
    CameraDistribution,
    angles_of,
    draw_between,
    draw_sphere,
    interpolate,
    look_at,
    on_sphere,
    orbit,
    path_through,
    spiral,
    up_vector,
)
from tests.tolerance import FLOAT32_ROUNDING


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def are_poses(poses: torch.Tensor) -> bool:
    """Return whether these are rotations and translations."""
    turn = poses[:, :3, :3]
    square = (turn.transpose(1, 2) @ turn - torch.eye(3)).abs().max() < FLOAT32_ROUNDING
    right_handed = (torch.linalg.det(turn) - 1).abs().max() < FLOAT32_ROUNDING
    return bool(
        square and right_handed and torch.equal(poses[:, 3], torch.tensor([0.0, 0, 0, 1]).expand(len(poses), 4))
    )


def elevations(poses: torch.Tensor) -> torch.Tensor:
    return (poses[:, 2, 3] / poses[:, :3, 3].norm(dim=1)).asin()


@pytest.mark.parametrize(
    ("up", "zero", "quarter"),
    [("z", [1.0, 0, 0], [0.0, 1, 0]), ("y", [0.0, 0, 1], [1.0, 0, 0]), ("x", [0.0, 1, 0], [0.0, 0, 1])],
)
def test_azimuths_of_each_axis(up: Axis, zero: list, quarter: list) -> None:
    poses = on_sphere(torch.tensor([0.0, math.pi / 2]), torch.zeros(2), torch.ones(2), up)
    assert are_poses(poses)
    assert torch.allclose(poses[:, :3, 3], torch.tensor([zero, quarter]), atol=FLOAT32_ROUNDING)
    assert torch.allclose(poses[:, :3, 1], up_vector(up).expand(2, 3), atol=FLOAT32_ROUNDING)  # the picture's top is up


def test_a_camera_of_the_objects_data_set_has_the_pose_that_its_formula_gives() -> None:
    azimuth, elevation = 0.7, 0.4
    pose = on_sphere(torch.tensor([azimuth]), torch.tensor([elevation]), torch.tensor([4.0]), "y")[0]
    flat = math.cos(elevation)
    centre = [4 * flat * math.sin(azimuth), 4 * math.sin(elevation), 4 * flat * math.cos(azimuth)]
    assert torch.allclose(pose[:3, 3], torch.tensor(centre))


def test_straight_down_is_a_pose_too() -> None:
    poses = on_sphere(torch.tensor([0.0, 2.0]), torch.tensor([math.pi / 2, -math.pi / 2]), torch.ones(2))
    assert are_poses(poses)
    exact = look_at(torch.tensor([[0.0, 0, 3]]), torch.zeros(3))[0]
    near = look_at(torch.tensor([[1e-4, 0, 3.0]]), torch.zeros(3))[0]
    assert torch.allclose(exact, near, atol=1e-3)


def test_look_at_looks_at_its_target() -> None:
    centres, target = torch.randn(20, 3), torch.tensor([0.3, -0.2, 0.1])
    poses = look_at(centres, target, "y")
    assert are_poses(poses)
    towards = target - centres
    assert torch.allclose(-poses[:, :3, 2], towards / towards.norm(dim=1, keepdim=True), atol=FLOAT32_ROUNDING)


def test_uniform_by_area_has_uniform_heights_and_by_angle_uniform_elevations() -> None:
    by_area = draw_sphere(20000, generator(), law="area")
    by_angle = draw_sphere(20000, generator(), law="angle")
    assert are_poses(by_area)
    # A share of the hemisphere's area is its share of height (Archimedes): below 30 degrees lies half.
    assert abs((elevations(by_area) < math.pi / 6).float().mean() - 1 / 2) < 0.012
    assert abs((elevations(by_angle) < math.pi / 6).float().mean() - 1 / 3) < 0.012
    for poses in (by_area, by_angle):
        radius = poses[:, :3, 3].norm(dim=1)
        assert abs(radius.mean() - 4) < 0.01
        assert 3.4999 < radius.min() < 3.51
        assert 4.49 < radius.max() < 4.5001
        azimuth = torch.atan2(poses[:, 1, 3], poses[:, 0, 3])
        assert abs((azimuth > 0).float().mean() - 0.5) < 0.012
        assert elevations(poses).min() > -1e-3


def test_a_range_of_elevations_is_kept_to() -> None:
    poses = draw_sphere(1000, generator(), elevation=(-0.2, 0.3), radius=(2.0, 2.0))
    assert -0.2001 < elevations(poses).min() < elevations(poses).max() < 0.3001


def test_a_range_of_azimuths_is_kept_to() -> None:
    poses = draw_sphere(500, generator(), azimuth=(0.2, 0.5))
    azimuths = torch.atan2(poses[:, 1, 3], poses[:, 0, 3])
    assert 0.1999 < azimuths.min() < 0.21
    assert 0.49 < azimuths.max() < 0.5001


def test_draws_are_those_of_the_seed() -> None:
    assert torch.equal(draw_sphere(9, generator(4)), draw_sphere(9, generator(4)))
    assert not torch.equal(draw_sphere(9, generator(4)), draw_sphere(9, generator(5)))


def test_an_orbit_goes_once_around() -> None:
    poses = orbit(8, radius=3.0, elevation=0.5)
    azimuth = torch.atan2(poses[:, 1, 3], poses[:, 0, 3])
    steps = (azimuth.roll(-1) - azimuth) % (2 * math.pi)
    assert torch.allclose(steps, torch.full((8,), math.pi / 4), atol=1e-5)
    assert torch.allclose(elevations(poses), torch.full((8,), 0.5))


def test_a_spiral_rises_at_one_distance() -> None:
    poses = spiral(50, radius=2.0, elevation=(-0.5, 1.0))
    assert are_poses(poses)
    assert (elevations(poses).diff() > 0).all()
    assert torch.allclose(poses[:, :3, 3].norm(dim=1), torch.full((50,), 2.0))


def test_interpolation_is_half_the_turn_half_way() -> None:
    start, end = torch.eye(4), torch.eye(4)
    end[:3, :3] = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # a quarter turn about z
    end[:3, 3] = torch.tensor([2.0, 0, 4])
    half = interpolate(start, end, 0.5)
    root = math.sqrt(0.5)
    assert torch.allclose(half[:3, :3], torch.tensor([[root, -root, 0], [root, root, 0], [0, 0, 1]]))
    assert torch.allclose(half[:3, 3], torch.tensor([1.0, 0, 2]))
    assert torch.allclose(interpolate(start, end, 0.0), start)
    assert torch.allclose(interpolate(start, end, 1.0), end, atol=FLOAT32_ROUNDING)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_draws_between_poses_lie_in_their_hull(count: int) -> None:
    given = draw_sphere(count, generator(1))
    between = draw_between(given, 50, generator(2))
    assert are_poses(between)
    low, high = given[:, :3, 3].min(0).values, given[:, :3, 3].max(0).values
    assert (between[:, :3, 3] >= low - 1e-5).all()
    assert (between[:, :3, 3] <= high + 1e-5).all()
    assert torch.equal(between, draw_between(given, 50, generator(2)))


def test_a_path_begins_and_ends_at_its_poses() -> None:
    given = draw_sphere(4, generator(1))
    path = path_through(given, 31)
    assert are_poses(path)
    for row, pose in zip((0, 10, 20, 30), given, strict=True):
        assert torch.allclose(path[row], pose, atol=FLOAT32_ROUNDING)
    closed = path_through(given, 8, closed=True)
    assert torch.allclose(closed[::2], given, atol=FLOAT32_ROUNDING)
    assert torch.equal(path_through(given[:1], 3), given[:1].expand(3, 4, 4))


@pytest.mark.parametrize("up", ["x", "y", "z"])
def test_angles_of_places_are_those_that_they_were_placed_by(up: Axis) -> None:
    azimuth = torch.tensor([0.0, 0.5, -2.0, 3.0])
    elevation = torch.tensor([0.3, -0.4, 1.2, 0.0])
    centres = on_sphere(azimuth, elevation, torch.tensor([1.0, 2.0, 3.0, 4.0]), up)[:, :3, 3]
    found = angles_of(centres, up)
    assert torch.allclose(found[0], azimuth, atol=FLOAT32_ROUNDING * 10)
    assert torch.allclose(found[1], elevation, atol=FLOAT32_ROUNDING * 10)


def test_a_tilted_camera_looks_where_an_upright_one_does() -> None:
    centres = torch.tensor([[3.0, 1.0, 0.5]])
    upright = look_at(centres, torch.zeros(3))
    tilted = look_at(centres, torch.zeros(3), tilt=torch.tensor([[0.0, 0.5, 0.0]]))
    assert are_poses(tilted)
    assert torch.allclose(upright[:, :3, 2:], tilted[:, :3, 2:], atol=FLOAT32_ROUNDING)
    # Its picture's top leans to the side to which the tilt points.
    assert tilted[0, 1, 1] > upright[0, 1, 1] + 0.1
    assert torch.equal(look_at(centres, torch.zeros(3), tilt=torch.zeros(1, 3)), upright)


def test_half_of_the_papers_elevations_are_uniform_in_angle() -> None:
    still = CameraDistribution(elevation=(0.0, math.pi / 2), law="either", distance=(1.0, 1.0), focal=(1.0, 1.0))
    _, elevation = angles_of(still.draw(20_000, 8, generator()).centres)
    # A third of the angles are below 30 degrees, and half of the hemisphere's area.
    share = (elevation < math.pi / 6).float().mean().item()
    assert share == pytest.approx((1 / 3 + 1 / 2) / 2, abs=0.015)


def test_the_papers_cameras_have_its_ranges() -> None:
    cameras = DREAMFUSION.draw(20_000, 64, generator())
    assert are_poses(cameras.poses[:500])
    focal = cameras.intrinsics[:, 0] / 64
    assert focal.min() >= 0.7 and focal.max() <= 1.35
    assert focal.mean().item() == pytest.approx(1.025, abs=0.01)
    distance = cameras.centres.norm(dim=1)
    reach = 0.1 * 3**0.5
    assert 1 - reach <= distance.min() and distance.max() <= 1.5 + reach
    azimuth, elevation = angles_of(cameras.centres)
    assert azimuth.cos().mean().abs() < 0.02 and azimuth.sin().mean().abs() < 0.02
    assert elevation.min() > -math.pi / 18 - 0.2
    # Where the middle of the picture's ray is nearest to the origin: two coordinates of the target, and the shift.
    off = torch.linalg.cross(cameras.forwards, cameras.centres).norm(dim=1)
    assert off.square().mean().sqrt().item() == pytest.approx(math.sqrt(2) * 0.2, rel=0.05)


def test_scaled_cameras_see_a_scaled_object_alike() -> None:
    one, two = (law.draw(50, 32, generator()) for law in (DREAMFUSION, DREAMFUSION.scaled(2.0)))
    points = torch.tensor([[0.1, 0.2, -0.1]])
    assert torch.allclose(one.project(points)[0], two.project(2 * points)[0], atol=1e-2)


def test_threestudios_fields_of_view_are_40_to_70_degrees() -> None:
    focal = THREESTUDIO.draw(5000, 100, generator()).intrinsics[:, 0]
    angle = 2 * torch.atan(50 / focal) * 180 / math.pi
    assert angle.min().item() == pytest.approx(40, abs=0.1) and angle.max().item() == pytest.approx(70, abs=0.1)
