"""From a region of pixels to a closed path: its outline, and the cubic segments that follow it."""

import numpy as np
from jaxtyping import Bool, Float64

Points = Float64[np.ndarray, "_ 2"]
"""x and y in pixels."""

_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""(x, y) of a step right, down, left, up: a quarter turn to the right is the next one."""


def trace_outline(mask: Bool[np.ndarray, "H W"]) -> Points:
    """Return the outer outline of the first region of a mask, in order, with the region on its right (+y down).

    Args:
        mask: at least one pixel; the region that holds the first one in reading order is followed,
            pixels that touch at a corner only being apart.

    Returns:
        The middles of the pixel edges between inside and outside.
    """
    inside = np.pad(mask, 1)
    row, column = np.unravel_index(int(mask.argmax()), mask.shape)
    x, y, direction = int(column), int(row), 0  # along the top of the first pixel
    start, middles = (x, y, direction), []
    while True:
        step_x, step_y = _STEPS[direction]
        middles.append((x + 0.5 * step_x, y + 0.5 * step_y))
        x, y = x + step_x, y + step_y
        # Turning right first keeps to this pixel where two touch at a corner: regions are 4-connected.
        if not _ahead(inside, x, y, direction, right=True):
            direction = (direction + 1) % 4
        elif _ahead(inside, x, y, direction, right=False):
            direction = (direction - 1) % 4
        if (x, y, direction) == start:
            return np.array(middles)


def _ahead(inside: np.ndarray, x: int, y: int, direction: int, *, right: bool) -> bool:
    """Return whether the pixel ahead of a lattice corner, on one side, is inside; `inside` is padded by one."""
    forward, side = _STEPS[direction], _STEPS[(direction + (1 if right else -1)) % 4]
    column = x + (forward[0] + side[0] - 1) // 2
    row = y + (forward[1] + side[1] - 1) // 2
    return bool(inside[row + 1, column + 1])


def fit_closed(outline: Points, segments: int) -> Points:
    """Return the 3 * `segments` control points of a closed path that follows an outline.

    The ends of the segments are where the outline is farthest from the chords between them: corners, where there are
    any, and the ends of the axes of an ellipse. Between them the two controls minimize the squared distance.

    Args:
        outline: points in order around, at least 3.
        segments: at least 2.
    """
    points = _resampled(outline, count=max(16 * segments, min(len(outline), 64 * segments)))
    ends = _segment_ends(points, segments)
    controls = []
    for first, last in zip(ends, [*ends[1:], ends[0] + len(points)], strict=True):
        run = points[np.arange(first, last + 1) % len(points)]
        controls.append(np.concatenate([run[:1], _fit_cubic(run)]))
    return np.concatenate(controls)


def sample_closed(points: Points, per_segment: int) -> Points:
    """Return `per_segment` points along each segment of a closed path, given its control points."""
    corners = np.concatenate([points, points[:1]])
    starts = np.arange(0, len(points), 3)
    cubics = np.stack([corners[starts + k] for k in range(4)], axis=1)  # (S, 4, 2)
    return np.einsum("tk,skd->std", _bernstein(np.arange(per_segment) / per_segment), cubics).reshape(-1, 2)


def _resampled(outline: Points, count: int) -> Points:
    """Return `count` points at equal distances along a closed polygon."""
    closed = np.concatenate([outline, outline[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    distances = np.arange(count) * along[-1] / count
    return np.stack([np.interp(distances, along, closed[:, axis]) for axis in (0, 1)], axis=1)


def _segment_ends(points: Points, segments: int) -> list[int]:
    """Return the indices of the segments' ends, ascending."""
    # A corner or the end of the long axis, wherever the tracing of the outline began.
    first = int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmax())
    second = int(np.linalg.norm(points - points[first], axis=1).argmax())
    ends = sorted({first, second if second != first else (first + len(points) // 2) % len(points)})
    while len(ends) < segments:
        runs = list(zip(ends, [*ends[1:], ends[0] + len(points)], strict=True))
        # `_farthest` stays clear of both ends: in a shorter run it has nothing to choose from.
        index = max((_farthest(points, *run) for run in runs if run[1] - run[0] > 3), default=None)
        if index is None:  # fewer points than ends
            break
        ends = sorted([*ends, index[1] % len(points)])
    return ends


def _farthest(points: Points, first: int, last: int) -> tuple[float, int]:
    """Return the largest distance from the chord of a run and its index; near enough to straight, the middle."""
    run = points[np.arange(first, last + 1) % len(points)]
    chord = run[-1] - run[0]
    offsets = run - run[0]
    distance = np.abs(chord[0] * offsets[:, 1] - chord[1] * offsets[:, 0]) / max(float(np.hypot(*chord)), 1e-9)
    inner = distance[2:-1]
    index = int(inner.argmax()) + 2 if inner.max() > 0.75 else len(run) // 2
    # The length breaks ties: of several straight runs, the longest is halved first.
    return float(distance[index]) + 1e-3 * len(run), first + index


def _fit_cubic(run: Points, rounds: int = 3) -> Float64[np.ndarray, "2 2"]:
    """Return the inner controls of the cubic from a run's first to its last point that lies nearest to it."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(run, axis=0), axis=1))])
    position = along / max(along[-1], 1e-9)
    thirds = run[0] + (run[-1] - run[0]) * np.array([[1.0], [2.0]]) / 3
    for _ in range(rounds):
        basis = _bernstein(position)
        rest = run - basis[:, [0, 3]] @ run[[0, -1]]
        inner = basis[:, 1:3]
        # Without it, runs of two or three points leave the controls undetermined.
        ridge = 1e-3 * np.eye(2)
        controls = np.linalg.solve(inner.T @ inner + ridge, inner.T @ rest + ridge @ thirds)
        curve = _EVENLY @ np.stack([run[0], *controls, run[-1]])
        nearest = ((curve**2).sum(axis=1) - 2 * run @ curve.T).argmin(axis=1) / 64
        # Where a curve comes near itself, nearest places jump; along a run they must not go back.
        position = np.maximum.accumulate(nearest)
    # A short run can throw its controls far off; the optimizer would take hundreds of steps to bring them back.
    reach = np.ptp(run, axis=0).max()
    return controls.clip(run.min(axis=0) - reach, run.max(axis=0) + reach)


def _bernstein(position: Float64[np.ndarray, " N"]) -> Float64[np.ndarray, "N 4"]:
    """Return the cubic Bernstein polynomials at positions in [0, 1]."""
    t, u = position[:, None], 1 - position[:, None]
    return np.concatenate([u**3, 3 * u**2 * t, 3 * u * t**2, t**3], axis=1)


_EVENLY = _bernstein(np.linspace(0, 1, 65))
"""Weights of the controls at 65 even positions."""
