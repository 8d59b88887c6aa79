import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from runtime.errors import UserError
from runtime.field.cameras import Cameras
from runtime.field.captures.capture import Capture
from runtime.field.captures.normalize import Frame, normalize
from runtime.field.captures.pictures import PictureArray
from runtime.field.poses import draw_sphere, look_at

TURN = torch.linalg.qr(torch.tensor([[1.0, 2, 0], [0, 1, -1], [2, 0, 1]]))[0]
TURN = TURN * torch.sign(torch.linalg.det(TURN))


def capture(poses: torch.Tensor, **keys) -> Capture:
    count = len(poses)
    cameras = Cameras(
        poses, torch.tensor([50.0, 50, 20, 15]).repeat(count, 1), torch.tensor([[30, 40]]).repeat(count, 1)
    )
    pictures = PictureArray(np.zeros((count, 30, 40, 4), np.uint8), False)
    return Capture(format="test", cameras=cameras, names=tuple(map(str, range(count))), pictures=pictures, **keys)


def ring(count: int = 12, elevation: float = 0.3) -> torch.Tensor:
    azimuth = 2 * math.pi * torch.arange(count) / count
    flat = 4 * math.cos(elevation)
    centres = torch.stack(
        [flat * azimuth.cos(), flat * azimuth.sin(), torch.full((count,), 4 * math.sin(elevation))], 1
    )
    return look_at(centres, torch.zeros(3))


def moved(poses: torch.Tensor, turn: torch.Tensor, shift: torch.Tensor, scale: float) -> torch.Tensor:
    out = poses.clone()
    out[:, :3, :3] = turn @ poses[:, :3, :3]
    out[:, :3, 3] = scale * poses[:, :3, 3] @ turn.T + shift
    return out


def test_an_object_comes_to_the_middle_upright_and_just_fits() -> None:
    shifted = moved(ring(), TURN, torch.tensor([10.0, -4, 3]), 2.5)
    done = normalize(capture(shifted))
    assert done.notes == ()
    # The ball that a picture sees whole becomes the unit ball: its tangent cone touches the shorter side.
    distance = done.cameras.centres.norm(dim=1)
    half_angle = math.atan(15 / 50)
    assert torch.allclose(distance * math.sin(half_angle), torch.ones(12), atol=1e-4)
    assert torch.allclose(done.cameras.centres[:, 2] / distance, torch.full((12,), math.sin(0.3)), atol=1e-4)
    # `to_world` leads back.
    world = done.cameras.centres @ done.to_world[:3, :3].T + done.to_world[:3, 3]
    assert torch.allclose(world, shifted[:, :3, 3], atol=1e-4)
    turn = done.cameras.poses[:, :3, :3]
    assert (turn.transpose(1, 2) @ turn - torch.eye(3)).abs().max() < 1e-5


def test_pca_finds_the_plane_of_a_ring() -> None:
    # Seen from above and below in turns, so that the mean upward direction alone would do as well; tilted pictures.
    shifted = moved(ring(elevation=0.0), TURN, torch.zeros(3), 1.0)
    done = normalize(capture(shifted), Frame(orient="pca"))
    assert done.cameras.centres[:, 2].abs().max() < 1e-4


def test_what_is_upright_and_centred_stays_so() -> None:
    poses = draw_sphere(20, torch.Generator().manual_seed(0), radius=(4.0, 4.0))
    done = normalize(capture(poses, upright=True, centred=True, half=2.0))
    assert torch.allclose(done.cameras.centres, poses[:, :3, 3] / 2)
    assert torch.equal(done.to_world, torch.diag(torch.tensor([2.0, 2, 2, 1])))


def test_options_are_taken() -> None:
    poses = moved(ring(), torch.eye(3), torch.tensor([0.0, 0, 5]), 1.0)
    by_poses = normalize(capture(poses), Frame(orient="none", centre="poses", half=4.0))
    assert torch.allclose(by_poses.cameras.centres.mean(0), torch.zeros(3), atol=1e-6)
    assert by_poses.to_world[2, 3] == pytest.approx(5 + 4 * math.sin(0.3))
    fixed = normalize(capture(poses), Frame(orient="none", centre="none", half=2.0))
    assert torch.allclose(fixed.cameras.centres, poses[:, :3, 3] / 2)


def test_points_decide_the_box_but_strays_do_not() -> None:
    points = torch.rand(1000, 3, generator=torch.Generator().manual_seed(0)) * 2 + 3
    points[:5] = 1e4
    done = normalize(
        capture(moved(ring(), torch.eye(3), torch.full((3,), 4.0), 1.0), points=points), Frame(orient="none")
    )
    assert torch.allclose(done.to_world[:3, 3], torch.full((3,), 4.0), atol=0.05)
    assert done.to_world[0, 0] == pytest.approx(1, abs=0.05)


def test_cameras_that_face_one_way_use_their_bounds() -> None:
    poses = torch.eye(4).repeat(5, 1, 1)
    poses[:, 0, 3] = torch.linspace(-0.5, 0.5, 5)
    done = normalize(capture(poses, bounds=torch.tensor([[2.0, 10.0]]).repeat(5, 1)))
    # Depths 2 to 10 around -6 lie along the box: half its side is 4, more than what the picture sees at the far end.
    assert float(done.to_world[:3, 0].norm()) == pytest.approx(4)
    assert done.to_world[2, 3] == pytest.approx(-6, abs=1e-5)
    assert done.bounds is not None
    assert done.bounds[0].tolist() == [0.5, 2.5]


def test_depths_shrink_with_the_scene(tmp_path) -> None:
    np.save(tmp_path / "depth.npy", np.full((30, 40), 4.0))
    poses = ring(3)
    done = normalize(capture(poses, depths=(tmp_path / "depth.npy",) * 3), Frame(half=2.0))
    assert torch.allclose(done.depth([0]), torch.full((1, 30, 40), 2.0))


def test_cameras_inside_the_box_and_single_views_are_noted() -> None:
    inside = normalize(capture(ring()), Frame(half=10.0))
    assert "12 of 12 cameras stand inside" in inside.notes[0]
    assert any("one view" in note for note in normalize(capture(ring(1)), Frame(centre="none")).notes)


def test_a_box_without_size_is_refused() -> None:
    poses = ring(1).repeat(4, 1, 1)
    poses[:, :3, 3] = 0
    with pytest.raises(UserError, match="half the side"):
        normalize(replace(capture(poses), half=0.0))
