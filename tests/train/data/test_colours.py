"""Colours of made pictures whose colour is known."""

import numpy as np
import pytest

from train.data.colours import dominant_hue, name_colour, repaint

RGB = {
    "red": (0.9, 0.1, 0.1),
    "orange": (1.0, 0.5, 0.1),
    "yellow": (1.0, 0.85, 0.1),
    "green": (0.2, 0.7, 0.2),
    "blue": (0.1, 0.4, 0.9),
    "purple": (0.5, 0.2, 0.8),
    "pink": (1.0, 0.6, 0.75),
    "brown": (0.5, 0.3, 0.15),
    "black": (0.1, 0.1, 0.1),
    "white": (0.97, 0.97, 0.97),
    "grey": (0.5, 0.5, 0.5),
}


def disc(colour: tuple[float, float, float]) -> np.ndarray:
    y, x = np.mgrid[:32, :32]
    rgba = np.zeros((32, 32, 4), np.float32)
    rgba[..., :3] = colour
    rgba[..., 3] = (x - 16) ** 2 + (y - 16) ** 2 < 150
    return rgba


@pytest.mark.parametrize("name", RGB)
def test_a_plain_disc_has_its_colour(name: str) -> None:
    assert name_colour(disc(RGB[name])) == name


def test_nothing_visible_has_no_colour() -> None:
    rgba = disc(RGB["red"])
    rgba[..., 3] = 0
    assert name_colour(rgba) is None
    assert dominant_hue(rgba) == (0.0, 0.0)


def test_half_and_half_has_no_colour() -> None:
    rgba = disc(RGB["red"])
    rgba[:, :16, :3] = RGB["blue"]
    assert name_colour(rgba, share=0.6) is None


@pytest.mark.parametrize("target", [c for c in RGB if c != "red"])
def test_repainting_gives_the_colour_that_was_asked_for(target: str) -> None:
    assert name_colour(repaint(disc(RGB["red"]), target)) == target


def test_repainting_leaves_other_colours_alone() -> None:
    rgba = disc(RGB["red"])
    rgba[:, :8, :3] = RGB["black"]
    painted = repaint(rgba, "blue")
    assert np.abs(painted[:, :8] - rgba[:, :8]).max() < 1e-6
    assert np.array_equal(painted[..., 3], rgba[..., 3])
