"""Distributions of one pixel: they sum to one, and are those of the formula where that can be computed."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch

from runtime.errors import UserError
from runtime.pixels.heads import head_channels, log_mass, quantize, to_unit


def pixels(channels: int, levels: int, mixtures: int = 3) -> SimpleNamespace:
    return SimpleNamespace(channels=channels, levels=levels, mixtures=mixtures)


@pytest.mark.parametrize(("channels", "levels"), [(1, 2), (1, 3), (1, 32), (1, 256), (3, 2), (3, 5)])
@pytest.mark.parametrize("spread", [1.0, 8.0])
def test_all_values_of_a_pixel_sum_to_one(channels: int, levels: int, spread: float) -> None:
    p = pixels(channels, levels)
    generator = torch.Generator().manual_seed(0)
    parameters = spread * torch.randn(4, 1, head_channels(p), generator=generator, dtype=torch.float64)
    values = torch.tensor(list(itertools.product(range(levels), repeat=channels)))
    total = torch.logsumexp(log_mass(parameters.expand(-1, len(values), -1), values.expand(4, -1, -1), p), 1)
    assert total.abs().max() < 1e-9


def test_one_logistic_is_the_difference_of_sigmoids() -> None:
    p = pixels(1, 8, 1)
    parameters = torch.tensor([0.3, 0.2, -1.5], dtype=torch.float64)  # logit, mean, log-scale
    for level in range(8):
        x = 2 * level / 7 - 1
        upper = 1.0 if level == 7 else 1 / (1 + math.exp(-(x + 1 / 7 - 0.2) * math.exp(1.5)))
        lower = 0.0 if level == 0 else 1 / (1 + math.exp(-(x - 1 / 7 - 0.2) * math.exp(1.5)))
        assert float(log_mass(parameters, torch.tensor([level]), p)) == pytest.approx(
            math.log(upper - lower), abs=1e-12
        )


def test_levels_far_from_the_mean_have_finite_slopes() -> None:
    p = pixels(1, 256, 1)
    parameters = torch.tensor([0.0, -1.0, -7.0], requires_grad=True)
    value = log_mass(parameters, torch.tensor([254]), p)
    (slope,) = torch.autograd.grad(value, parameters)
    assert value.detach() < -2000 and slope.isfinite().all() and slope[1] > 0


def test_colours_are_coupled_to_those_before_and_to_no_later_ones() -> None:
    p = pixels(3, 16, 1)
    parameters = torch.zeros(head_channels(p), dtype=torch.float64)
    parameters[4:7] = -2.0
    parameters[7:] = torch.tensor([0.7, -0.4, 0.9])
    cube = torch.stack(torch.meshgrid(*[torch.arange(16)] * 3, indexing="ij"), -1)
    chance = log_mass(parameters.expand(16, 16, 16, -1), cube, p)
    green = chance.logsumexp(2) - chance.logsumexp((1, 2))[:, None]
    x = to_unit(torch.arange(16), p).double()
    for r in (0, 5, 15):  # green given red is a logistic round tanh(0.7) red
        alone = torch.tensor([0.0, math.tanh(0.7) * float(x[r]), -2.0], dtype=torch.float64).expand(16, -1)
        expected = log_mass(alone, torch.arange(16)[:, None], pixels(1, 16, 1))
        assert torch.allclose(green[r], expected, atol=1e-6)


@pytest.mark.parametrize(("channels", "levels", "mixtures"), [(2, 256, 10), (1, 1, 10), (3, 256, 0)])
def test_pixels_that_no_head_models(channels: int, levels: int, mixtures: int) -> None:
    with pytest.raises(UserError, match="1 or 3 channels, at least 2 levels and 1 mixture"):
        head_channels(pixels(channels, levels, mixtures))


def test_intensities_become_the_nearest_levels_and_back() -> None:
    p = pixels(3, 32)
    levels = torch.arange(32).repeat(3).view(1, 3, 4, 8)
    assert torch.equal(quantize(levels / 31, p), levels)
    assert torch.allclose(to_unit(levels, p), 2 * levels / 31 - 1)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 1, 4, 4), r"\(B, 3, H, W\) in \[0, 1\], got torch.float32 of \(2, 1, 4, 4\)"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), "got torch.uint8"),
        (torch.full((1, 3, 4, 4), 255.0), "got 255 to 255; divide bytes by 255"),
        (torch.full((1, 3, 4, 4), torch.nan), "got nan"),
    ],
)
def test_images_of_other_channels_or_depth_are_refused(images: torch.Tensor, message: str) -> None:
    with pytest.raises(UserError, match=message):
        quantize(images, pixels(3, 32))


def test_numbers_of_parameters_are_those_of_pixelcnn() -> None:
    assert head_channels(pixels(3, 256, 10)) == 100
    assert head_channels(pixels(1, 256, 10)) == 30
    assert head_channels(pixels(1, 2)) == 2
