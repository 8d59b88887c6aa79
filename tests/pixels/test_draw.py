"""Draws have the probabilities that the likelihood gives them."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from runtime.pixels.draw import draw_pixel, make_noise
from runtime.pixels.heads import head_channels, log_mass
from tests.pixels.walks import BINARY, COLOUR, GREY

SMALL = replace(COLOUR, levels=3)
DRAWS = 100_000


@pytest.mark.parametrize("pixels", [BINARY, GREY, SMALL])
def test_levels_are_drawn_as_often_as_their_likelihood_says(pixels) -> None:
    generator = torch.Generator().manual_seed(0)
    parameters = torch.randn(1, head_channels(pixels), generator=generator) * 1.5
    drawn = draw_pixel(parameters.expand(DRAWS, -1), make_noise((DRAWS,), pixels, generator), pixels)
    values = torch.tensor(list(product(range(pixels.levels), repeat=pixels.channels)))
    expected = log_mass(parameters.double().expand(len(values), -1), values, pixels).exp()
    found = (drawn[:, None] == values).all(-1).double().mean(0)
    assert float(expected.sum()) == pytest.approx(1.0, abs=1e-6)
    # five standard deviations of a frequency
    assert ((found - expected).abs() <= 5 * (expected * (1 - expected) / DRAWS).sqrt() + 1e-9).all()


@pytest.mark.parametrize("pixels", [BINARY, GREY, COLOUR])
def test_a_low_temperature_draws_the_likeliest(pixels) -> None:
    generator = torch.Generator().manual_seed(1)
    parameters = torch.randn(1, head_channels(pixels), generator=generator).expand(200, -1)
    drawn = draw_pixel(parameters, make_noise((200,), pixels, generator, 0.01), pixels)
    likeliest = draw_pixel(parameters[:1], make_noise((1,), pixels, None), pixels)
    assert (drawn - likeliest).abs().max() <= (pixels.levels > 2)


def test_levels_stay_in_range_however_far_out_the_mean_is() -> None:
    parameters = torch.full((4, head_channels(COLOUR)), 50.0)
    parameters[2:] = -50.0
    drawn = draw_pixel(parameters, make_noise((4,), COLOUR, torch.Generator().manual_seed(0)), COLOUR)
    assert drawn.min() >= 0
    assert drawn.max() < COLOUR.levels
