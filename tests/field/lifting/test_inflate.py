import math

import numpy as np

from runtime.field.lifting.inflate import OVERLAP, THIN, inflate, inflate_parts, membrane, solve_poisson
from tests.field.lifting.pictures import SIDE, disc
from tests.tolerance import LIFT_PIXELS, LIFT_SHARE


def test_a_disc_becomes_a_ball() -> None:
    radius = 30.0
    half = np.sqrt(inflate(disc(radius)))
    middle = (SIDE - 1) / 2
    for offset in (0, 10, 20):
        row, column = round(middle), round(middle) + offset
        # The outline, where u = 0, runs half a pixel outside the last pixel's centre.
        truth = math.sqrt((radius + 0.5) ** 2 - (row - middle) ** 2 - (column - middle) ** 2)
        assert abs(half[row, column] - truth) < LIFT_PIXELS
    assert half[0, 0] == 0


def test_a_strip_becomes_an_elliptic_cylinder() -> None:
    # With 21 rows the outline is at +-11 from the middle one: s = 4 u = 2 (11^2 - y^2), exactly so in differences.
    mask = np.zeros((41, 400), bool)
    mask[10:31] = True
    square = inflate(mask)[:, 200]
    rows = np.arange(41) - 20
    truth = np.where(np.abs(rows) <= 10, 2.0 * (121 - rows**2), 0)
    assert np.abs(square - truth).max() < LIFT_SHARE * truth.max()


def test_a_membrane_over_a_plane_is_the_plane() -> None:
    row, column = np.mgrid[:20, :30].astype(float)
    plane = np.stack([row, 2 * column - row], -1)
    spoilt = plane.copy()
    mask = disc(7, side=20)
    mask = np.pad(mask, ((0, 0), (5, 5)))
    spoilt[mask] = 100.0
    assert np.allclose(membrane(spoilt, mask), plane)
    assert np.array_equal(membrane(spoilt, np.zeros_like(mask)), spoilt)


def test_the_equation_holds_by_brute_force() -> None:
    mask = np.random.default_rng(0).random((9, 11)) < 0.7
    border = np.random.default_rng(1).random((9, 11, 1))
    u = solve_poisson(mask, 1.5, border)[..., 0]
    around = np.pad(border[..., 0], 1, mode="edge")
    around[1:-1, 1:-1] = u
    for row, column in np.argwhere(mask) + 1:
        total = around[row - 1, column] + around[row + 1, column] + around[row, column - 1] + around[row, column + 1]
        assert math.isclose(4 * around[row, column] - total, 1.5, abs_tol=1e-9)


def test_an_appendage_is_as_thick_as_itself() -> None:
    body, leaf = disc(28, row=58), disc(8, row=24) & ~disc(28, row=58)
    square = inflate_parts(body | leaf, [leaf])
    alone = inflate(body)
    assert abs(math.sqrt(square[58, 48]) - math.sqrt(alone[58, 48])) < LIFT_PIXELS
    assert math.sqrt(square[22, 47]) < 8 + OVERLAP
    assert square[58, 0] < 0 < square[31, 47], "outside is negative, and the neck is not"


def test_nothing_is_paper() -> None:
    # A stem of four pixels that is a part of its own is not thinner than the whole outline would have it.
    stem = np.zeros((SIDE, SIDE), bool)
    stem[10:40, 44:52] = True
    square = inflate_parts(stem | disc(25, row=64), [stem])
    assert math.sqrt(square[20, 48]) > min(THIN, 4) * 0.8
