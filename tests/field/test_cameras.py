import math

import pytest
import torch

from runtime.field.cameras import Cameras, Rays, box_span, distort, pixel_centres, undistort
from runtime.field.poses import draw_sphere
from tests.tolerance import CAMERA_PIXELS, FLOAT32_ROUNDING

LENS = torch.tensor([0.12, -0.05, 0.02, -0.004, 0.003, -0.002])


def some(count: int = 5, *, lens: bool = False) -> Cameras:
    """Return random cameras of different sizes and calibrations around the origin."""
    generator = torch.Generator().manual_seed(3)
    poses = draw_sphere(count, generator)
    sizes = torch.randint(40, 90, (count, 2), generator=generator)
    jitter = torch.rand(count, 4, generator=generator)
    intrinsics = torch.cat([60 + 30 * jitter[:, :2], sizes.flip(1) / 2 + jitter[:, 2:]], dim=1)
    return Cameras(poses, intrinsics, sizes, LENS.repeat(count, 1) if lens else None)


def level() -> Cameras:
    """Return a camera at (0, 0, 4) that looks along -z at 100 x 200 pixels, the focal length as wide as the picture."""
    pose = torch.eye(4)
    pose[2, 3] = 4
    return Cameras(pose[None], torch.tensor([[200.0, 200.0, 100.0, 50.0]]), torch.tensor([[100, 200]]))


def test_a_point_falls_on_the_pixel_of_the_pinhole_formula() -> None:
    pixels, depth = level().project(torch.tensor([[0.0, 0, 0], [1.0, 0, 0], [0, 0.5, 2.0], [0.0, 0, 5.0]]))
    assert torch.equal(pixels[0, :3], torch.tensor([[100.0, 50], [150, 50], [100, 0]]))  # +x right, +y up
    assert torch.equal(depth[0], torch.tensor([4.0, 4, 2, -1]))


def test_the_ray_of_the_principal_point_looks_down_the_axis_and_pixels_are_taken_at_their_centres() -> None:
    camera = level()
    rays = camera.rays(0, torch.tensor([[100.0, 50.0], [0.5, 0.5]]))
    assert torch.equal(rays.directions[0], torch.tensor([0.0, 0, -1]))
    corner = torch.tensor([(0.5 - 100) / 200, -(0.5 - 50) / 200, -1.0])
    assert torch.allclose(rays.directions[1], corner / corner.norm())
    everything = camera.all_rays(0)
    assert everything.origins.shape == (20000, 3)
    assert torch.equal(everything.directions[0], rays.directions[1])
    # Row by row: the second ray is one pixel to the right.
    assert everything.directions[1, 0] > everything.directions[0, 0]


@pytest.mark.parametrize("lens", [False, True])
def test_points_on_rays_fall_on_the_pixels_of_the_rays(lens: bool) -> None:
    cameras = some(lens=lens)
    generator = torch.Generator().manual_seed(1)
    views = torch.randint(5, (200,), generator=generator)
    pixels = torch.rand(200, 2, generator=generator) * cameras.sizes[views].flip(1)
    rays = cameras.rays_of(views, pixels)
    assert torch.allclose(rays.directions.norm(dim=1), torch.ones(200))
    assert torch.equal(rays.origins, cameras.centres[views])
    points = rays.origins + 3.3 * rays.directions
    back, depth = cameras.project(points)
    mine = torch.arange(200)
    assert depth[views, mine].min() > 0
    assert (back[views, mine] - pixels).abs().max() < CAMERA_PIXELS


def test_rays_of_many_pictures_are_those_of_each() -> None:
    cameras, pixels = some(lens=True), torch.rand(40, 2) * 30
    for view in range(5):
        together = cameras.rays_of(torch.full((40,), view), pixels)
        assert torch.equal(together.directions, cameras.rays(view, pixels).directions)
        assert torch.equal(together.directions, cameras[view].rays(0, pixels).directions)


def test_a_lens_without_terms_is_no_lens_and_one_term_is_its_closed_form() -> None:
    at = torch.tensor([[0.3, -0.4]])
    assert torch.equal(distort(at, torch.zeros(1, 6)), at)
    k1 = torch.tensor([[0.2, 0, 0, 0, 0, 0]])
    assert torch.allclose(distort(at, k1), at * (1 + 0.2 * 0.25))
    p1 = torch.tensor([[0, 0, 0, 0, 0.1, 0]])
    assert torch.allclose(distort(at, p1), at + 0.1 * torch.tensor([[2 * 0.3 * -0.4, 0.25 + 2 * 0.16]]))


def test_undistorting_inverts_distorting() -> None:
    at = torch.rand(500, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    lens = LENS.repeat(500, 1)
    assert (undistort(distort(at, lens), lens) - at).abs().max() < FLOAT32_ROUNDING


def test_a_lens_that_turns_back_gives_finite_rays() -> None:
    lens = torch.tensor([[-0.9, 0, 0, 0, 0, 0]])
    assert undistort(torch.tensor([[0.9, 0.1]]), lens).isfinite().all()


def test_a_scaled_picture_shows_the_same_rays_at_its_corners() -> None:
    cameras = some()
    half = cameras.scaled(0.5)
    assert torch.equal(half.sizes, (cameras.sizes.double() / 2).round().long())
    for view in range(5):
        height, width = cameras.sizes[view].tolist()
        small_height, small_width = half.sizes[view].tolist()
        corners = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.25, 0.7]])
        large = cameras.rays(view, corners * torch.tensor([width, height])).directions
        small = half.rays(view, corners * torch.tensor([small_width, small_height])).directions
        assert torch.allclose(large, small, atol=FLOAT32_ROUNDING)
    assert torch.equal(cameras.scaled(1e-9).sizes, torch.ones(5, 2, dtype=torch.int64))


def test_cameras_are_chosen_by_index() -> None:
    cameras = some(lens=True)
    chosen = cameras.select([3, 0])
    assert torch.equal(chosen.poses, cameras.poses[[3, 0]])
    assert torch.equal(cameras[-1].sizes, cameras.sizes[4:])
    assert len(list(cameras)) == 5
    with pytest.raises(IndexError):
        cameras[5]


def test_pixel_centres_go_row_by_row() -> None:
    assert pixel_centres(2, 3).tolist() == [[0.5, 0.5], [1.5, 0.5], [2.5, 0.5], [0.5, 1.5], [1.5, 1.5], [2.5, 1.5]]


def test_a_turned_camera_sees_what_it_looks_at_in_the_middle() -> None:
    poses = draw_sphere(8, torch.Generator().manual_seed(2), elevation=(-math.pi / 2, math.pi / 2))
    cameras = Cameras(poses, torch.tensor([50.0, 50, 16, 12]).repeat(8, 1), torch.tensor([[24, 32]]).repeat(8, 1))
    pixels, depth = cameras.project(torch.zeros(1, 3))
    assert (pixels[:, 0] - torch.tensor([16.0, 12])).abs().max() < CAMERA_PIXELS
    assert torch.allclose(depth[:, 0], poses[:, :3, 3].norm(dim=1))


def test_rays_and_the_box() -> None:
    origins = torch.tensor([[-3.0, 0, 0], [0, 0, 0], [-3, 2, 0], [3, 0, 0]])
    enter, leave = box_span(Rays(origins, torch.tensor([[1.0, 0, 0]] * 4)))
    assert torch.equal(enter[:2], torch.tensor([2.0, 0]))
    assert torch.equal(leave[:2], torch.tensor([4.0, 1]))
    assert (leave[2:] < enter[2:]).all()
