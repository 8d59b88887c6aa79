import numpy as np
import pytest

from runtime.field.lifting.back import best_axis, choose_back, dark_blobs, has_eyes, symmetry
from tests.field.lifting.pictures import BLACK, RED, SIDE, WHITE, disc, painted

FACE = painted((disc(35), RED), (disc(4, row=40, column=36), BLACK), (disc(4, row=40, column=60), BLACK))
WHEELS = painted((disc(35), RED), (disc(4, row=74, column=36), BLACK), (disc(4, row=74, column=60), BLACK))
PROFILE = painted((disc(35), RED), (disc(4, row=40, column=30), BLACK))


def test_symmetry() -> None:
    assert symmetry(disc(20, column=30)) > 0.98
    triangle = np.tril(np.ones((40, 40), bool))
    # A right triangle of side 1 and its mirror image share, about the best axis, no more than about half.
    assert 0.3 < symmetry(triangle) < 0.7
    assert symmetry(np.zeros((8, 8), bool)) == 1.0
    ring = disc(20) & ~disc(8, column=40)
    assert symmetry(ring) > 0.98


def test_eyes_are_two_dark_places_side_by_side() -> None:
    assert [blob.size for blob in dark_blobs(FACE, disc(35))] == pytest.approx([49, 49], abs=25)
    assert has_eyes(FACE, disc(35))
    assert not has_eyes(WHEELS, disc(35))
    assert not has_eyes(PROFILE, disc(35))
    assert not has_eyes(painted((disc(35), BLACK)), disc(35)), "a dark object is no eye"
    assert not has_eyes(FACE, np.zeros((SIDE, SIDE), bool))


def test_the_axis_is_in_the_middle() -> None:
    assert best_axis(disc(20, column=30))[1] == pytest.approx(30, abs=0.5)
    assert best_axis(np.zeros((8, 8), bool)) == (1.0, 0.0)


def test_eyes_are_on_both_sides_of_the_axis() -> None:
    aside = painted((disc(35), RED), (disc(4, row=40, column=50), BLACK), (disc(4, row=40, column=68), BLACK))
    assert len(dark_blobs(aside, disc(35))) == 2
    assert not has_eyes(aside, disc(35))


def test_spots_are_no_eyes() -> None:
    spots = [disc(5, row=row, column=column) for row in (30, 48, 66) for column in (34, 62)]
    beetle = painted((disc(35), RED), *((spot, BLACK) for spot in spots))
    assert len(dark_blobs(beetle, disc(35))) == 6
    assert choose_back(beetle, disc(35)) == "wrap"


def test_what_is_red_between_white_spots_is_no_eye() -> None:
    """Most of it is white, and the red places are darker than that, but in one channel alone."""
    cap = painted((disc(35), WHITE), (disc(6, row=40, column=34), RED), (disc(6, row=40, column=60), RED))
    assert not has_eyes(cap, disc(35))
    grey = painted(
        (disc(35), (0.9, 0.9, 0.9)), (disc(6, row=40, column=34), BLACK), (disc(6, row=40, column=60), BLACK)
    )
    assert has_eyes(grey, disc(35))


def test_the_rule() -> None:
    assert choose_back(FACE, disc(35)) == "plain"
    assert choose_back(painted((disc(35), RED)), disc(35)) == "wrap"
    triangle = np.zeros((SIDE, SIDE), bool)
    triangle[20:70, 20:70] = np.tril(np.ones((50, 50), bool))
    assert choose_back(painted((triangle, RED)), triangle) == "mirror"
