import math

import torch

from runtime.field.cameras import Cameras
from runtime.field.fields.lookup import DISTANCE, FOCAL
from runtime.field.poses import draw_sphere
from train.pixelnerf.network import Architecture, PixelNeRF
from train.pixelnerf.render import Samples, active_samples, masks_of, ray_samples, render, to_camera


def test_samples_fill_the_ball_along_rays_of_the_camera() -> None:
    poses = draw_sphere(3, torch.Generator().manual_seed(0), radius=(DISTANCE, DISTANCE))
    at = torch.tensor([[0.5, 0.5], [0.6, 0.45], [0.999, 0.001]])
    points, steps, hits = ray_samples(poses, at, 10, None)
    assert hits.tolist() == [True, True, False]
    assert steps[0] == 0.2  # through the middle: a chord of 2 in ten parts
    assert torch.allclose(points[0, 0].norm(), torch.tensor(0.9))
    camera = Cameras(poses, torch.tensor([FOCAL, FOCAL, 0.5, 0.5]).repeat(3, 1), torch.ones(3, 2, dtype=torch.int64))
    rays = camera.rays(1, at[1:2])
    along = points[1] - rays.origins
    assert torch.allclose(torch.nn.functional.normalize(along), rays.directions.expand(10, 3), atol=1e-5)
    assert (points[1].norm(dim=1) < 1).all()
    assert math.isclose(float((points[1, 1] - points[1, 0]).norm()), float(steps[1]), rel_tol=1e-4)


def test_only_what_all_silhouettes_show_is_active() -> None:
    pictures = torch.zeros(1, 2, 4, 16, 16)
    pictures[0, 0, 3, :, 8:] = 1  # the right half, which is +x of the first camera
    pictures[0, 1, 3] = 1
    poses = torch.eye(4).repeat(1, 2, 1, 1)
    poses[0, :, 2, 3] = DISTANCE
    points = torch.tensor([[[0.5, 0, 0], [-0.5, 0, 0], [0.5, 0.2, -0.3]]])
    zero = torch.zeros(1, dtype=torch.int64)
    active = active_samples(masks_of(pictures), poses, zero, points, torch.tensor([True]))
    assert active.tolist() == [[True, False, True]]
    assert not active_samples(masks_of(pictures), poses, zero, points, torch.tensor([False])).any()


def test_points_in_a_cameras_axes() -> None:
    pose = draw_sphere(1, torch.Generator().manual_seed(0))
    local = to_camera(pose, pose[:, :3, 3])
    assert torch.allclose(local, torch.tensor([[0, 0, float(pose[0, :3, 3].norm())]]), atol=1e-5)


def test_inactive_samples_are_empty_space() -> None:
    torch.manual_seed(0)
    network = PixelNeRF(Architecture(side=32, width=16))
    poses = draw_sphere(1, torch.Generator().manual_seed(1), radius=(DISTANCE, DISTANCE))
    points, steps, _ = ray_samples(poses.expand(2, 4, 4), torch.tensor([[0.5, 0.5], [0.4, 0.5]]), 8, None)
    active = torch.zeros(2, 8, dtype=torch.bool)
    active[0, 3] = True
    features = network.encoder(torch.rand(1, 4, 32, 32))[None]
    zero = torch.zeros(2, dtype=torch.int64)
    seen = render(network.field, features, poses[None], zero, Samples(points, steps, active))
    assert torch.equal(seen[1], torch.zeros(4))
    # One sample alone: its opacity, and its colour times that.
    from runtime.field.fields.lookup import features_at, places

    local = to_camera(poses, points[0, 3:4])
    values = network.field(features_at(features[0], zero[:1], places(local))[None], local[None])[0]
    alpha = 1 - torch.exp(-values[0] * steps[0])
    assert torch.allclose(seen[0], torch.cat([alpha * values[1:], alpha[None]]), atol=1e-6)
