import math
from pathlib import Path

import torch

from runtime.field.cameras import Rays
from runtime.field.fields.conditioned import BOX, ConditionedField, fill_planes, read_grid, spread_colours
from runtime.field.fields.grid import DenseGrid
from runtime.field.fields.lookup import DISTANCE, FOCAL
from runtime.pixelnerf.config import Config
from runtime.pixelnerf.stages import picture_poses


class Ball:
    """Stands for the engine of a field: a ball of radius a half, solid and red."""

    calls = 0

    def __call__(self, features: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor]:
        self.calls += len(points)
        solid = (points[:, 0].norm(dim=1) < 0.5).float()
        colour = torch.tensor([1.0, 0, 0]).expand(len(points), 3)
        return (torch.cat([200 * solid[:, None], colour], dim=1),)


def field(mask: torch.Tensor | None = None) -> ConditionedField:
    mask = torch.ones(1, 8, 8, dtype=torch.bool) if mask is None else mask
    poses = picture_poses(Config(picture=Path(__file__), elevation=30.0), DISTANCE)
    return ConditionedField(Ball(), torch.rand(1, 8, 8, 5), mask, poses, lens=(FOCAL, DISTANCE))  # pyright: ignore


def test_the_camera_stands_in_front_and_above() -> None:
    (pose,) = picture_poses(Config(picture=Path(__file__), elevation=30.0), 4.0)
    assert torch.allclose(pose[:3, 3], torch.tensor([0, -4 * math.cos(math.pi / 6), 2.0]), atol=1e-5)


def test_further_cameras_stand_to_the_right_of_the_first() -> None:
    here = Path(__file__)
    poses = picture_poses(Config(picture=here, elevation=0.0, second=here, second_at=90.0, third=here), 4.0)
    expected = [[0, -4, 0], [4, 0, 0], [-2 * math.sqrt(3), 2, 0]]
    assert torch.allclose(poses[:, :3, 3], torch.tensor(expected), atol=1e-5)


def test_a_field_becomes_a_grid_that_rays_see() -> None:
    grid = DenseGrid.empty(65, torch.tensor(BOX))
    for first in range(0, 65, 8):
        fill_planes(grid, field(), first, min(first + 8, 65))
    grid.update_occupancy()
    origins = torch.tensor([[0.0, -3, 0], [0.0, -3, 0.7], [0.3, 3.0, 0.1]])
    directions = torch.tensor([[0.0, 1, 0], [0, 1, 0], [0, -1, 0]])
    shown = grid.render(Rays(origins, directions))
    assert torch.allclose(shown.alpha, torch.tensor([1.0, 0, 1]), atol=1e-2)
    assert shown.colour[0, 0] > 0.98
    assert shown.colour[0, 1:].max() < 0.02  # no grey of empty nodes at the surface
    assert abs(float(shown.depth[0].detach()) - 2.5) < 2 / 64


def test_nothing_is_outside_the_ball_and_the_silhouette() -> None:
    points = torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    half = torch.zeros(1, 8, 8, dtype=torch.bool)
    half[:, :, 4:] = True  # what lies to the right of the camera's axis, which is +x
    values = field(half)(points)
    assert (values[points[:, 0] < 0] == 0).all()
    assert (values[points.norm(dim=1) > 1] == 0).all()
    solid = (points.norm(dim=1) < 0.49) & (points[:, 0] > 0.01)
    assert (values[solid, 0] == 200).all()
    nothing = field(torch.zeros(1, 8, 8, dtype=torch.bool))
    assert (nothing(points) == 0).all()


class Faces:
    """Stands for the engine: density is the first feature of the first picture, red that of the second."""

    def __call__(self, features: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor]:
        assert features.is_contiguous() and points.shape == (*features.shape[:2], 3)
        zero = torch.zeros(len(features))
        return (torch.stack([features[:, 0, 0], features[:, 1, 0], zero, zero], dim=1),)


def test_each_picture_gives_its_own_features_and_all_silhouettes_count() -> None:
    here = Path(__file__)
    poses = picture_poses(Config(picture=here, elevation=0.0, second=here, second_at=90.0), DISTANCE)
    # The first picture's feature is where a point falls from left to right, which is +x; the second's, from the
    # right, +y.
    ramp = ((torch.arange(64) + 0.5) / 64).expand(1, 64, 64)[..., None].repeat(2, 1, 1, 1)
    masks = torch.ones(2, 64, 64, dtype=torch.bool)
    masks[1, :, :32] = False
    seen = ConditionedField(Faces(), ramp, masks, poses, lens=(FOCAL, DISTANCE))
    points = torch.rand(400, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    values = seen(points)
    hidden = points[:, 1] < 0
    assert (values[hidden] == 0).all()
    x, y = points[~hidden, 0], points[~hidden, 1]
    assert torch.allclose(values[~hidden, 0], 0.5 + FOCAL * x / (DISTANCE + y), atol=1e-4)
    assert torch.allclose(values[~hidden, 1], 0.5 + FOCAL * y / (DISTANCE - x), atol=1e-4)


def test_each_picture_may_have_a_lens_of_its_own() -> None:
    here = Path(__file__)
    poses = picture_poses(Config(picture=here, elevation=0.0, second=here, second_at=90.0), DISTANCE)
    ramp = ((torch.arange(64) + 0.5) / 64).expand(1, 64, 64)[..., None].repeat(2, 1, 1, 1)
    lens = (torch.tensor([[0.9], [1.5]]), torch.tensor([[3.0], [5.0]]))
    seen = ConditionedField(Faces(), ramp, torch.ones(2, 64, 64, dtype=torch.bool), poses, lens=lens)
    points = torch.rand(400, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    values, (x, y, _) = seen(points), points.T
    assert torch.allclose(values[:, 0], 0.5 + 0.9 * x / (3 + y), atol=1e-4)
    assert torch.allclose(values[:, 1], 0.5 + 1.5 * y / (5 - x), atol=1e-4)


def test_a_field_is_read_into_a_grid_plane_by_plane() -> None:
    grid, whole = read_grid(field(), 33), DenseGrid.empty(33, torch.tensor(BOX))
    fill_planes(whole, field(), 0, 33)
    assert torch.equal(grid.values, whole.values)
    # Only cells near the ball hold something.
    assert 0 < grid.occupied.float().mean() < 0.5


def test_colours_go_on_beyond_the_surface() -> None:
    colours = torch.zeros(1, 7, 7, 3)
    colours[0, 3, 3] = torch.tensor([0.2, 0.4, 0.6])
    is_there = torch.zeros(1, 7, 7, dtype=torch.bool)
    is_there[0, 3, 3] = True
    spread = spread_colours(colours, is_there, times=2)
    assert torch.allclose(spread[0, 1:6, 1:6], torch.tensor([0.2, 0.4, 0.6]).expand(5, 5, 3))
    assert spread[0, 0].abs().max() == 0
