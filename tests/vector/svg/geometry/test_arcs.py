"""Arcs as cubics: on the ellipse, of the right length, and whole turns where the ends nearly meet."""

import math

import numpy as np
import pytest

from runtime.vector.svg.geometry.arcs import arc_points, turn_points

FLATNESS = 2.8e-4
"""Radii by which a cubic may stray from its arc."""


def sampled(start: tuple[float, float], points: list[tuple[float, float]]) -> np.ndarray:
    """Return points on cubics that begin at `start`, in order."""
    t = np.linspace(0, 1, 50)[:, None]
    whole, curves = np.array([start, *points]), []
    for i in range(0, len(points), 3):
        a, b, c, d = whole[i : i + 4]
        curves.append((1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d)
    return np.concatenate(curves)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("grows", [False, True])
def test_an_arc_of_a_circle_has_its_radius_and_length(large: bool, grows: bool) -> None:
    start, end, radius = (0.0, 0.0), (6.0, 0.0), 5.0
    curve = sampled(start, arc_points(start, (radius, radius), 0.0, (large, grows), end))
    turn = 2 * math.asin(3 / 5)
    length = np.linalg.norm(np.diff(curve, axis=0), axis=1).sum()
    assert length == pytest.approx(radius * (math.tau - turn if large else turn), rel=1e-3)
    # the centre is below or above the chord, by which of the four arcs is meant
    centre = np.array([3.0, -4.0 if large == grows else 4.0])
    np.testing.assert_allclose(np.linalg.norm(curve - centre, axis=1), radius, atol=FLATNESS * radius)


@pytest.mark.parametrize("grows", [False, True])
@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9, 1e-12])
def test_ends_that_nearly_meet_give_a_whole_turn_or_none(gap: float, grows: bool) -> None:
    start, end = (10.0, 0.0), (10.0, gap)
    for large, turns in ((True, 1), (False, 0)):
        curve = sampled(start, arc_points(start, (5.0, 5.0), 0.0, (large, grows), end))
        length = np.linalg.norm(np.diff(curve, axis=0), axis=1).sum()
        assert length == pytest.approx(turns * math.tau * 5, abs=5e-3)


def test_radii_that_are_too_small_grow_to_a_half_turn() -> None:
    curve = sampled((0.0, 0.0), arc_points((0.0, 0.0), (1.0, 1.0), 0.0, (False, True), (8.0, 0.0)))
    np.testing.assert_allclose(np.linalg.norm(curve - [4, 0], axis=1), 4.0, atol=FLATNESS * 4)


def test_without_a_radius_it_is_a_line() -> None:
    assert arc_points((0.0, 0.0), (0.0, 3.0), 0.0, (True, True), (6.0, 3.0)) == [(2.0, 1.0), (4.0, 2.0), (6.0, 3.0)]


def test_a_turn_about_an_ellipse_stays_on_it() -> None:
    points = turn_points((1.0, 2.0), (3.0, 0.0), (0.0, 2.0), 0.0, math.tau)
    curve = sampled((4.0, 2.0), points)
    np.testing.assert_allclose(((curve - [1, 2]) / [3, 2]) ** 2 @ [1, 1], 1.0, atol=1e-3)
    assert len(points) == 12
