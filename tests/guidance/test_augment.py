import math

import pytest
import torch

from runtime.guidance import augment
from runtime.guidance.augment import (
    CORNERS,
    CROP_RATIO,
    CROP_SCALE,
    clip_views,
    homography,
    random_crop,
    random_part,
    random_perspective,
    random_resized_crop,
    random_view,
    resized_crops,
    warp,
)
from tests.tolerance import FLOAT32_ROUNDING

WHITE = torch.ones(1, 3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise_picture(size: int = 6, count: int = 1, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=generator(7), dtype=dtype)


def test_homography_takes_four_points_to_four_others() -> None:
    source = torch.tensor(CORNERS) * (1.0 - 0.4 * torch.rand(5, 4, 2, generator=generator()))
    maps = homography(source, torch.tensor(CORNERS).expand(5, 4, 2))
    ends = torch.einsum("bij,bkj->bki", maps, torch.cat([source, torch.ones(5, 4, 1)], -1).double())
    assert torch.allclose(ends[..., :2] / ends[..., 2:], torch.tensor(CORNERS).double().expand(5, 4, 2), atol=1e-6)


def test_identity_leaves_the_picture() -> None:
    picture = noise_picture()
    same = warp(picture, torch.eye(3, dtype=torch.float64)[None], WHITE)
    assert torch.allclose(same, picture, atol=FLOAT32_ROUNDING)
    still = random_perspective(picture, generator(), fill=WHITE, probability=1.0, distortion=0.0)
    assert torch.allclose(still, picture, atol=FLOAT32_ROUNDING)
    assert random_perspective(picture, generator(), fill=WHITE, probability=0.0) is picture


def test_shift_by_a_pixel_shows_the_fill() -> None:
    maps = torch.eye(3, dtype=torch.float64)[None].clone()
    maps[0, 0, 2] = 2.0 / 6  # one pixel of six: each place shows its right neighbour
    fill = torch.tensor([[0.1, 0.2, 0.3]])
    moved = warp(noise_picture(), maps, fill)
    assert torch.allclose(moved[..., :-1], noise_picture()[..., 1:], atol=FLOAT32_ROUNDING)
    assert torch.allclose(moved[0, :, :, -1], fill[0, :, None].expand(3, 6), atol=FLOAT32_ROUNDING)


def test_warp_is_bilinear_by_brute_force() -> None:
    picture, fill = noise_picture(dtype=torch.float64), torch.zeros(1, 3, dtype=torch.float64)
    maps = torch.tensor([[[0.9, 0.1, 0.05], [-0.2, 1.1, 0.1], [0.1, -0.05, 1.0]]], dtype=torch.float64)
    found = warp(picture, maps, fill)
    padded = torch.zeros(3, 12, 12, dtype=torch.float64)
    padded[:, 3:9, 3:9] = picture[0]
    for row in range(6):
        for column in range(6):
            x, y, w = (maps[0] @ torch.tensor([(column + 0.5) / 3 - 1, (row + 0.5) / 3 - 1, 1.0]).double()).tolist()
            u, v = (x / w + 1) * 3 - 0.5, (y / w + 1) * 3 - 0.5
            left, top = math.floor(u), math.floor(v)
            expected = sum(
                padded[:, top + j + 3, left + i + 3] * abs(1 - i - (u - left)) * abs(1 - j - (v - top))
                for i in (0, 1)
                for j in (0, 1)
                if -3 <= top + j < 9 and -3 <= left + i < 9
            )
            assert torch.allclose(found[0, :, row, column], torch.as_tensor(expected).double(), atol=1e-12)


def test_corner_moves_inwards_and_leaves_fill() -> None:
    black = torch.zeros(1, 3, 64, 64)
    seen = random_perspective(black, generator(3), fill=WHITE, probability=1.0)
    assert seen.min() == 0.0 and seen[0, 0, 32, 32] == 0.0
    assert 0.05 < seen.mean() < 0.6  # a quadrilateral inside of the square, at least half its sides


def test_probability_is_kept_to() -> None:
    pictures = torch.zeros(2_000, 3, 4, 4)
    seen = random_perspective(pictures, generator(), fill=WHITE.expand(2_000, 3), probability=0.7)
    changed = (seen.flatten(1).amax(1) > 1e-4).float().mean().item()
    assert changed == pytest.approx(0.7, abs=0.04)


def test_gradients_reach_picture_and_fill() -> None:
    picture = noise_picture(size=3, dtype=torch.float64).requires_grad_()
    fill = torch.rand(1, 3, generator=generator(1), dtype=torch.float64).requires_grad_()
    maps = homography(torch.tensor(CORNERS)[None] * 0.8, torch.tensor(CORNERS)[None])
    assert torch.autograd.gradcheck(lambda p, f: warp(p, maps, f), (picture, fill))


def test_crops_are_parts_of_the_picture_at_every_offset() -> None:
    picture = torch.arange(25.0).view(1, 1, 5, 5).expand(1, 3, 5, 5)
    draws = generator()
    corners = set()
    for _ in range(200):
        crop = random_crop(picture, 3, draws)
        assert crop.shape == (1, 3, 3, 3)
        assert torch.equal(crop - crop[..., :1, :1], picture[..., :3, :3])
        corners.add(int(crop[0, 0, 0, 0]))
    assert corners == {0, 1, 2, 5, 6, 7, 10, 11, 12}


@pytest.mark.parametrize("seed", range(6))
def test_a_view_is_the_crop_of_the_perspective_and_so_is_its_gradient(seed: int) -> None:
    images, fill = torch.rand(2, 3, 20, 24), torch.rand(2, 3)
    upstream = torch.randn(2, 3, 15, 15)
    found = []
    for whole in (True, False):
        leaves = [images.clone().requires_grad_(), fill.clone().requires_grad_()]
        draws = torch.Generator().manual_seed(seed)
        if whole:
            view = random_crop(random_perspective(leaves[0], draws, fill=leaves[1]), 15, draws)
        else:
            view = random_view(leaves[0], 15, draws, fill=leaves[1])
        gradients = torch.autograd.grad(view, leaves, upstream, allow_unused=True)
        found.append((view, *(torch.zeros(()) if g is None else g for g in gradients), draws.get_state()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=FLOAT32_ROUNDING, rtol=0)
    assert torch.equal(found[0][0], found[1][0])


def test_parts_have_the_area_and_the_ratio_that_are_asked_for() -> None:
    draws = generator()
    parts = [random_part(1000, 1000, draws) for _ in range(2000)]
    assert all(top >= 0 and left >= 0 and top + h <= 1000 and left + w <= 1000 for top, left, h, w in parts)
    areas = torch.tensor([h * w / 1e6 for _, _, h, w in parts])
    ratios = torch.tensor([w / h for _, _, h, w in parts])
    assert CROP_SCALE[0] - 0.002 < areas.min() and areas.max() < CROP_SCALE[1] + 0.002
    # What does not fit is drawn again: of an area a, the ratios within [a, 1 / a].
    assert ((ratios >= areas - 0.003) & (ratios <= 1 / areas + 0.003)).all()
    # With u uniform in [0.7, 0.9] the accepted share is min(1, -log a / log(4/3)); the mean area is that average.
    grid = torch.linspace(*CROP_SCALE, 2001, dtype=torch.float64)
    accepted = (-grid.log() / math.log(CROP_RATIO[1])).clamp(max=1.0)
    assert areas.mean().item() == pytest.approx(((grid * accepted).sum() / accepted.sum()).item(), abs=0.004)
    assert ratios.log().mean().item() == pytest.approx(0.0, abs=0.012)


def test_a_part_that_never_fits_is_the_whole() -> None:
    # Of a picture ten times as wide as high, no part of 0.7 of its area has a ratio of at most 4/3.
    assert random_part(100, 1000, generator()) == (0, 0, 100, 1000)


def test_a_crop_of_a_ramp_is_a_ramp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "random_part", lambda height, width, draws: (3, 5, 12, 18))
    x = torch.arange(24).float().expand(1, 3, 24, 24)
    seen = random_resized_crop(x, 24, generator())
    # Bilinear scaling of what is linear is exact but for half a pixel at the rim.
    expected = 5 + (torch.arange(24) + 0.5) * 18 / 24 - 0.5
    assert torch.allclose(seen[0, 0, 7, 2:-2], expected[2:-2], atol=FLOAT32_ROUNDING * 24)
    y = x.transpose(-1, -2)
    assert torch.allclose(
        random_resized_crop(y, 24, generator())[0, 1, 2:-2, 4],
        (3 + (expected - 5) * 12 / 18 + (0.5 * 12 / 18 - 0.5))[2:-2],
        atol=FLOAT32_ROUNDING * 24,
    )


def test_each_view_is_its_own_and_what_lies_outside_is_white() -> None:
    black = torch.zeros(1, 3, 24, 24, requires_grad=True)
    seen = clip_views(black, 5, 24, generator())
    assert seen.shape == (5, 3, 24, 24)
    assert len({tuple(view.detach().flatten().tolist()) for view in seen}) == 5
    assert seen.min() >= 0.0 and seen.max() <= 1.0
    assert seen[:, :, 0, 0].max() > 0.5  # a corner that has moved inwards
    seen.sum().backward()
    assert black.grad is not None and (black.grad <= 1e-6 + 2 * 5).all() and black.grad.sum() > 0
    assert torch.equal(clip_views(black, 5, 24, generator()), seen)
    white = clip_views(torch.ones(1, 3, 24, 24), 3, 12, generator(1))
    assert torch.allclose(white, torch.ones(3, 3, 12, 12), atol=FLOAT32_ROUNDING)


def test_resized_crops_show_their_share_of_each_picture() -> None:
    rows = torch.arange(60.0).view(1, 1, 60, 1).expand(50, 4, 60, 60)
    crops = resized_crops(rows, 30, torch.Generator().manual_seed(0), share=(0.25, 0.25))
    assert crops.shape == (50, 4, 30, 30)
    # Half a side is shown at its own size, from a row that is drawn.
    assert torch.equal(crops[:, 0, :, 0] - crops[:, 0, :1, 0], torch.arange(30.0).expand(50, 30))
    tops = crops[:, 0, 0, 0]
    assert tops.min() <= 4
    assert tops.max() >= 26
    assert tops.max() <= 30
    whole = resized_crops(rows[:2], 60, torch.Generator().manual_seed(0), share=(1.0, 1.0))
    assert torch.equal(whole, rows[:2])
    sides = [float(c[0, -1, 0] - c[0, 0, 0]) for c in resized_crops(rows, 60, torch.Generator(), share=(0.25, 1.0))]
    assert 29 <= min(sides) < 34
    assert 55 < max(sides) <= 59
