"""Joints of curves, against circles and against what any other joint would give."""

from itertools import pairwise

import numpy as np
import pytest

from runtime.vector.trace.flat.joints import move_joints
from runtime.vector.trace.flat.segments import Segment, at, nearest_places, refitted, segment_of, unit


def arcs(count: int, radius: float, points: int = 400) -> list[Segment]:
    """Return the curves of a circle that begins at angle 0, as many as asked for."""
    angle = np.linspace(0, 2 * np.pi, points + 1)
    circle = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(circle, axis=0), axis=1))])
    ends = np.linspace(0, points, count + 1).round().astype(int)
    weights = np.ones(points + 1)
    return [segment_of(circle, along, weights, a, b, True) for a, b in pairwise(ends.tolist())]


def joined(segments: list[Segment]) -> tuple[list, list, list]:
    """Return starts, ends and tangents of a closed contour whose joints are off, by up to a pixel and 10 degrees."""
    rng = np.random.default_rng(0)
    starts = [segment.controls[0] + rng.uniform(-1, 1, 2) for segment in segments]
    tangents = [unit(segment.direction[0] + rng.uniform(-0.17, 0.17, 2)) for segment in segments]
    return starts, starts[1:] + starts[:1], [list(p) for p in zip(tangents, tangents[1:] + tangents[:1], strict=True)]


def off(segments: list[Segment], starts: list, ends: list, tangents: list) -> list[float]:
    """Return the sum of squared distances of each segment's points."""
    result = []
    for segment, start, end, (first, last) in zip(segments, starts, ends, tangents, strict=True):
        controls, places = refitted(segment, start, end, first, last)
        for _ in range(5):
            places = nearest_places(controls, segment.run, places)
        result.append(float(((at(controls, places) - segment.run) ** 2).sum()))
    return result


def test_four_curves_become_a_circle() -> None:
    segments = arcs(4, 100.0)
    starts, ends, tangents = joined(segments)
    before = sum(off(segments, starts, ends, tangents))
    move_joints(segments, [(k, (k + 1) % 4) for k in range(4)], starts, ends, tangents)
    for k, (start, end) in enumerate(zip(starts, ends, strict=True)):
        # The best cubics of a quarter circle are off by 0.02 to 0.03 % of its radius.
        assert np.hypot(*start) == pytest.approx(100, abs=0.05)
        assert abs(unit(start) @ tangents[k][0]) < 0.003
        np.testing.assert_array_equal(end, starts[(k + 1) % 4])
        np.testing.assert_allclose(tangents[k][1], tangents[(k + 1) % 4][0], atol=1e-12)
    after = sum(off(segments, starts, ends, tangents))
    assert before > 20
    assert after < 0.02


def test_no_other_joint_near_is_better() -> None:
    """Between a circle's arc and one of a smaller circle, one joint moved by hand in each direction."""
    segments = arcs(3, 60.0)[:2]
    segments[1].run[:, 1] *= 0.8
    starts = [segments[0].controls[0], segments[1].controls[0] + np.array([1.0, -1.0])]
    ends = [starts[1], segments[1].controls[3]]
    tangents: list = [[None, segments[0].direction[1]], [segments[0].direction[1], None]]
    move_joints(segments, [(0, 1)], starts, ends, tangents)
    best = sum(off(segments, starts, ends, tangents))
    across = np.array([-tangents[1][0][1], tangents[1][0][0]])
    for step, turn in ((0.1, 0.0), (-0.1, 0.0), (0.0, 0.01), (0.0, -0.01)):
        place, tangent = starts[1] + step * across, unit(tangents[1][0] + turn * across)
        moved = [starts[0], place], [place, ends[1]], [[None, tangent], [tangent, None]]
        assert sum(off(segments, *moved)) > best


def test_what_is_no_joint_stays() -> None:
    segments = arcs(4, 50.0)
    starts, ends, tangents = joined(segments)
    old = [place.copy() for place in starts], [list(pair) for pair in tangents]
    move_joints(segments, [(0, 1)], starts, ends, tangents)
    for k in (0, 2, 3):
        np.testing.assert_array_equal(starts[k], old[0][k])
        np.testing.assert_array_equal(tangents[k][0], old[1][k][0])
    assert np.hypot(*(starts[1] - old[0][1])) > 0.01
