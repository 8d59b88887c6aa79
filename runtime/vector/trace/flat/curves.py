"""From a dense polyline to few lines and cubic curves: the fewest that stay within an error bound, corners sharp.

Ends of segments are chosen by dynamic programming over the vertices of a simplified polyline: each run between two of
them costs a line or a curve if one fits it by least squares within the bound, and the cheapest sequence is taken. Two
segments whose directions nearly agree where they meet join smoothly; others meet in a corner, where both, prolonged,
cross: coverage in pixels rounds corners off, and the points next to an end count for nothing. Where curves join
smoothly, place and direction of the joint are then those of least squares for both.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from runtime.vector.trace.flat.joints import move_joints
from runtime.vector.trace.flat.kernels.fitting import NEAR_END, cheapest, significance
from runtime.vector.trace.flat.segments import Points, Segment, at, refitted, segment_of, thirds, unit

SMOOTH = np.cos(np.radians(28))
"""Cosine of the largest angle between two segments that join smoothly."""
TANGENT = np.cos(np.radians(2.5))
"""Cosine of the largest angle with which a curve runs tangentially into a line."""
LONG = 40.0
"""Length in pixels from which on a line stays one though a curve goes on from it at an angle."""
SHARP = 0.35
"""Distance in pixels by which a vertex stands out that is a candidate for an end wherever it lies."""
NARROWER = (1.0, 0.6, 0.35)
"""Parts of the bound that are tried one after another, while joints carry curves too far from the polyline."""
TOO_FAR = 2.0
"""Bounds by which a curve may be off once its ends are joined to its neighbours'."""
TOO_FAR_PIXELS = 0.75
"""Pixels by which it may be off, however small the bound: refining by the pixels moves it so far."""
MOST_ENDS = 64
"""Vertices among which ends of segments are chosen."""


@dataclass(frozen=True)
class Bound:
    """How far curves may be from the polyline, in pixels."""

    line: float = 0.1
    """Of a straight line."""
    curve: float = 0.13
    """Of a curve."""


def fit_curves(
    points: Points, *, closed: bool, bound: Bound, weights: Float64[np.ndarray, " N"] | None = None
) -> Points:
    """Return the control points of cubic segments along a polyline; lines have theirs at thirds.

    Args:
        points: at least 2, about a pixel apart; of a closed one the first is not repeated.
        closed: whether it runs back to its first point.
        bound: largest error.
        weights: of the points' errors, in [0, 1]; 1 by default.

    Returns:
        3 S points of a closed contour, 3 S + 1 of an open one.
    """
    weights = np.ones(len(points)) if weights is None else weights
    if closed:
        start = _sharpest(points)
        points, weights = np.roll(points, -start, axis=0), np.roll(weights, -start)
        points, weights = np.concatenate([points, points[:1]]), np.concatenate([weights, weights[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    vertices = _vertices(points)
    best, smallest = np.zeros((0, 2)), np.inf
    for part in NARROWER:
        ends, curved = cheapest(points, along, weights, vertices, part * bound.line, part * bound.curve)
        segments = [
            segment_of(points, along, weights, first, last, bend)
            for first, last, bend in zip(ends[:-1].tolist(), ends[1:].tolist(), curved.tolist(), strict=True)
        ]
        controls, off = _joined(segments, closed)
        if off < smallest:
            best, smallest = controls, off
        # A common direction of two long curves is neither's own: shorter ones differ less.
        if off <= max(TOO_FAR * max(bound.line, bound.curve), TOO_FAR_PIXELS):
            break
    return best


def _sharpest(points: Points) -> int:
    """Return the index of the point of a closed polyline at which it turns most."""
    ahead = np.roll(points, -3, axis=0) - points
    behind = points - np.roll(points, 3, axis=0)
    cross = ahead[:, 0] * behind[:, 1] - ahead[:, 1] * behind[:, 0]
    turn = np.abs(np.arctan2(cross, (ahead * behind).sum(1)))
    # Rounded, so that of equally sharp points the first is taken whatever the last bits are.
    return int(np.round(turn, 3).argmax())


def _vertices(points: Points) -> Int64[np.ndarray, " V"]:
    """Return the indices of points at which segments may end."""
    standing = significance(points)
    sharp = np.flatnonzero(standing >= SHARP)
    if len(sharp) > MOST_ENDS * 3 // 4:
        sharp = np.sort(np.argsort(-standing, kind="stable")[: MOST_ENDS * 3 // 4])
    # A smooth run may be divided anywhere: stairs of antialiasing are no better places than others.
    even = np.linspace(0, len(points) - 1, min(MOST_ENDS - len(sharp), len(points) // 2 + 2)).round().astype(np.int64)
    return np.union1d(sharp, even).astype(np.int64)


def _joined(segments: list[Segment], closed: bool) -> tuple[Points, float]:
    """Return the controls of segments whose ends meet, and how far a curve is from its run, by weighted points."""
    count = len(segments)
    _bend_lines(segments, closed)
    starts = [segment.controls[0] for segment in segments]
    ends = [segment.controls[3] for segment in segments]
    tangents: list[list[np.ndarray | None]] = [[None, None] for _ in segments]
    smooth = []
    for index in range(count if closed else count - 1):
        after = (index + 1) % count
        place, tangent = _joint(segments[index], segments[after])
        ends[index] = starts[after] = place
        tangents[index][1] = tangents[after][0] = tangent
        if tangent is not None and segments[index].curved and segments[after].curved and after != index:
            smooth.append((index, after))
    if smooth:
        move_joints(segments, smooth, starts, ends, tangents)
    result, off = [], 0.0
    for segment, start, end, (first, last) in zip(segments, starts, ends, tangents, strict=True):
        controls = thirds(start, end)
        if segment.curved:
            controls, places = refitted(segment, start, end, first, last)
            away = np.hypot(*(at(controls, places) - segment.run).T)
            off = max(off, float((segment.own * away).max(initial=0)))
        result.append(controls[:3])
    return np.concatenate(result if closed else [*result, ends[-1][None]]), off


def _bend_lines(segments: list[Segment], closed: bool) -> None:
    """Make curves of the short lines that a smooth run was given where it is flat: they bend into what they meet."""
    bent = []
    for index, segment in enumerate(segments):
        meeting = []
        if closed or index > 0:
            meeting.append((segments[index - 1], segments[index - 1].direction[1], segment.direction[0]))
        if closed or index < len(segments) - 1:
            after = segments[(index + 1) % len(segments)]
            meeting.append((after, segment.direction[1], after.direction[0]))
        bent.append(
            not segment.curved
            and segment.reach < LONG
            and any(other.curved and SMOOTH <= float(one @ two) < TANGENT for other, one, two in meeting)
        )
    for segment, bends in zip(segments, bent, strict=True):
        segment.curved |= bends


def _joint(before: Segment, after: Segment) -> tuple[np.ndarray, np.ndarray | None]:
    """Return where two segments meet, and their common direction there; None at a corner."""
    end, start = before.controls[3], after.controls[0]
    one, two = before.direction[1], after.direction[0]
    middle = (end + start) / 2
    cosine = float(one @ two)
    both = before.curved and after.curved
    if cosine >= (SMOOTH if both else TANGENT) and (before.curved or after.curved):
        if both:
            return middle, unit(one + two)
        line, place = (after, start) if before.curved else (before, end)
        own = line.direction[0]
        return place + ((middle - place) @ own) * own, own
    cross = one[0] * two[1] - one[1] * two[0]
    if abs(cross) > 0.05:
        gap = start - end
        corner = end + one * (gap[0] * two[1] - gap[1] * two[0]) / cross
        if np.hypot(*(corner - middle)) <= 2.5 * NEAR_END:
            return corner, None
    return middle, None
