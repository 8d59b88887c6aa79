"""Random backgrounds: closed forms, statistics, equal draws."""

import math

import pytest
import torch

from runtime.field.backgrounds import (
    Background,
    blurred,
    checkerboard,
    draw_backgrounds,
    gaussian,
    noise,
    texture,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_noise_has_its_moments() -> None:
    # What is clamped of the Gaussian takes away a little of its deviation.
    for draw, deviation in ((noise, 12**-0.5), (gaussian, 0.268)):
        picture = draw(96, generator())
        assert picture.mean().item() == pytest.approx(0.5, abs=0.01)
        assert picture.std().item() == pytest.approx(deviation, rel=0.02)
        assert 0 <= picture.min() <= picture.max() <= 1


@pytest.mark.parametrize("size", [64, 100])
def test_a_checkerboard_has_two_colours_and_eight_squares(size: int) -> None:
    picture = checkerboard(size, generator())
    assert len(torch.unique(picture.flatten(1), dim=1).T) == 2
    changes = (picture[0, 0].diff() != 0).sum()
    assert changes == 7
    assert torch.equal(picture[:, :, 0], picture[:, 0, :])


def test_a_textures_spectrum_falls_as_the_frequency_to_1_5() -> None:
    draws = generator()
    powers = torch.zeros(65)
    for _ in range(200):
        raw = texture(128, draws).logit().mean(0)
        powers += torch.fft.rfft2(raw)[0].abs().square()
    slope = math.log(powers[32] / powers[4]) / math.log(8)
    assert slope == pytest.approx(-2 * 1.5, abs=0.25)


def test_a_blur_has_its_deviation_and_keeps_the_mean() -> None:
    point = torch.zeros(3, 3, 31, 31)
    point[:, :, 15, 15] = 1
    wide = blurred(point, torch.tensor([0.0, 1.5, 1e4]))
    assert torch.allclose(wide[0], point[0])
    assert torch.allclose(wide.sum((1, 2, 3)), torch.full((3,), 3.0), atol=1e-5)
    row = wide[1, 0].sum(0)
    place = torch.arange(31) - 15
    assert (row * place.square()).sum().item() == pytest.approx(1.5**2, rel=0.01)
    # A mean over the kernel where the deviation is far larger.
    assert torch.allclose(wide[2, 0, 15, 8:23], torch.full((15,), 1 / 225), atol=1e-6)
    assert torch.allclose(blurred(torch.full((1, 3, 9, 9), 0.3), torch.tensor([4.0])), torch.tensor(0.3))


@pytest.mark.parametrize("kind", ["random", "noise", "gaussian", "checkerboard", "texture", "white"])
def test_backgrounds_are_pictures_and_drawn_from_the_generator(kind: Background) -> None:
    first, again, other = (draw_backgrounds(kind, 6, 32, generator(seed)) for seed in (1, 1, 2))
    assert first.shape == (6, 3, 32, 32)
    assert 0 <= first.min() <= first.max() <= 1 + 1e-6
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (kind == "white")
    assert kind == "white" or not torch.allclose(first[0], first[1])
