"""Hues are turned about the axis of greys."""

import math

import torch

from tests.tolerance import FLOAT32_ROUNDING
from train.data.hue import turn_hue


def pictures(count: int = 3) -> torch.Tensor:
    """Return pictures whose colours are so near grey that none is clipped."""
    return 0.5 + 0.1 * torch.rand(count, 3, 4, 5)


def test_greys_stay_and_a_third_of_a_turn_exchanges_channels() -> None:
    grey = torch.rand(2, 1, 4, 5).expand(-1, 3, -1, -1)
    angles = torch.tensor([1.0, -2.0])
    torch.testing.assert_close(turn_hue(grey, angles), grey)
    third = turn_hue(pictures(1)[:1], torch.tensor([0.0]))
    turned = turn_hue(third, torch.tensor([2 * math.pi / 3]))
    # red becomes green, green blue, blue red
    torch.testing.assert_close(turned, third.roll(1, dims=1))


def test_turns_add_up_and_keep_brightness_and_colourfulness() -> None:
    base, angles = pictures(), torch.tensor([0.3, 1.0, 4.0])
    turned = turn_hue(base, angles)
    torch.testing.assert_close(turn_hue(turned, 1.0 - angles), turn_hue(base, torch.ones(3)))
    torch.testing.assert_close(turned.sum(1), base.sum(1))
    torch.testing.assert_close(turned.square().sum(1), base.square().sum(1))
    assert (turned - base).abs().amax((1, 2, 3)).min() > 1e-2
    assert (turn_hue(base, torch.full((3,), 2 * math.pi)) - base).abs().max() < FLOAT32_ROUNDING


def test_what_leaves_the_cube_of_colours_is_clipped() -> None:
    green = torch.tensor([0.0, 1.0, 0.0])[None, :, None, None]
    turned = turn_hue(green, torch.tensor([math.pi]))
    torch.testing.assert_close(turned[0, :, 0, 0], torch.tensor([2 / 3, 0.0, 2 / 3]))
