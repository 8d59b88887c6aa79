"""Curves through dense polylines: few, near, and sharp at corners."""

import numpy as np
import pytest

from runtime.vector.trace.flat.curves import Bound, fit_curves
from runtime.vector.trace.outlines import sample_closed


def polygon(corners: np.ndarray, spacing: float = 0.8) -> np.ndarray:
    """Return points along a closed polygon, none of them at a corner."""
    after = np.roll(corners, -1, axis=0)
    points = []
    for start, end in zip(corners, after, strict=True):
        count = int(np.hypot(*(end - start)) / spacing)
        points.append(start + (end - start) * ((np.arange(count) + 0.5) / count)[:, None])
    return np.concatenate(points)


@pytest.mark.parametrize("turn", [0.0, 0.3, 0.7])
def test_a_polygon_is_its_lines_and_corners(turn: float) -> None:
    base = np.array([(0.0, 0), (40, 0), (40, 25), (20, 31), (0, 25)])
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    corners = base @ rotation + 50
    points = fit_curves(polygon(corners), closed=True, bound=Bound())
    assert len(points) == 3 * len(corners)
    distances = np.linalg.norm(points[::3, None] - corners[None], axis=2)
    assert distances.min(axis=0).max() < 0.02
    starts, ends = points[::3], np.roll(points[::3], -1, axis=0)
    np.testing.assert_allclose(points[1::3], starts + (ends - starts) / 3, atol=1e-9)


def test_a_smooth_shape_takes_few_curves_that_join_smoothly() -> None:
    angle = np.linspace(0, 2 * np.pi, 300, endpoint=False)
    radius = 40 + 6 * np.cos(3 * angle)
    shape = np.stack([60 + radius * np.cos(angle), 60 + radius * np.sin(angle)], axis=1)
    points = fit_curves(shape, closed=True, bound=Bound())
    assert len(points) <= 3 * 12
    curve = sample_closed(points, 200)
    distance = np.linalg.norm(shape[:, None] - curve[None], axis=2).min(axis=1)
    assert distance.max() < 0.3  # the bound is 0.13 before segments are joined
    one, two = points[::3] - np.roll(points, 1, axis=0)[::3], points[1::3] - points[::3]
    cosine = (one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
    assert np.sort(cosine)[1:].min() > 0.999


def test_an_open_polyline_ends_where_it_ends() -> None:
    line = np.stack([np.linspace(3, 50, 60), np.linspace(7, 20, 60)], axis=1)
    points = fit_curves(line, closed=False, bound=Bound())
    np.testing.assert_allclose(points, line[0] + (line[-1] - line[0]) * np.array([[0], [1], [2], [3]]) / 3, atol=1e-9)
