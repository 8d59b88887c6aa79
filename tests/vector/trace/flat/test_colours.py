"""Colours of flat pictures, and what mixed pixels are made of."""

import numpy as np
import pytest

from runtime.vector.trace.flat.colours import shares_of

RED, BLUE, WHITE = (np.array([*rgb, 1.0]) for rgb in ((1, 0, 0), (0, 0, 1), (1, 1, 1)))


def edge(share: float) -> np.ndarray:
    """Return red beside blue, with a column between them that is red by a share."""
    picture = np.empty((8, 9, 4))
    picture[:, :4], picture[:, 5:] = RED, BLUE
    picture[:, 4] = share * RED + (1 - share) * BLUE
    return picture


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.8])
def test_a_mixed_pixel_is_told_apart(share: float) -> None:
    shares = shares_of(edge(share))
    assert shares is not None and len(shares.palette) == 2
    red = int(np.abs(shares.palette - RED).max(axis=1).argmin())
    own = np.where(shares.labels[:, 4] == red, shares.shares[:, 4], 0).sum(axis=-1)
    np.testing.assert_allclose(own, share, atol=1e-6)


def test_what_shines_through_a_seam_is_no_colour_of_its_own() -> None:
    a = 0.5
    picture = edge(0)
    picture[:, 4] = a * a * RED + (1 - a) * BLUE + a * (1 - a) * WHITE
    shares = shares_of(picture)
    assert shares is not None and len(shares.palette) == 2
    np.testing.assert_allclose(shares.shares[:, 4, :2], 0.5, atol=0.02)


def test_a_line_between_two_rows_has_the_colour_of_its_darkest_pixel() -> None:
    picture = np.ones((12, 20, 4))
    picture[5, :, :3], picture[6, :, :3] = 0.2, 0.7
    shares = shares_of(picture)
    assert shares is not None
    np.testing.assert_allclose(shares.palette, [[1, 1, 1, 1], [0.2, 0.2, 0.2, 1]], atol=1e-6)
    ink = np.where(shares.labels == 1, shares.shares, 0).sum(-1)
    np.testing.assert_allclose(ink[5], 1, atol=1e-6)
    np.testing.assert_allclose(ink[6], 0.375, atol=1e-6)


def test_a_gradient_and_noise_are_not_flat() -> None:
    shade = np.linspace(0, 1, 200).repeat(2)[None, :, None] * np.ones((50, 1, 4))
    shade[..., 3] = 1
    assert shares_of(shade) is None
    noise = np.random.default_rng(0).random((40, 40, 4))
    noise[..., 3] = 1
    assert shares_of(noise) is None
