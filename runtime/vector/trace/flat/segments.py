"""Lines and curves along runs of a polyline: alone, and between given ends and directions."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from runtime.vector.trace.flat.kernels.fitting import cubic_through, line_through, take_run

Points = Float64[np.ndarray, "_ 2"]


@dataclass
class Segment:
    """A line or curve before its ends are joined to its neighbours'."""

    run: Points
    places: Float64[np.ndarray, " n"]
    own: Float64[np.ndarray, " n"]
    controls: Float64[np.ndarray, "4 2"]
    curved: bool
    reach: float
    """Length along the polyline."""
    direction: tuple[np.ndarray, np.ndarray]
    """Unit vectors at its first and last end, both forwards."""


def segment_of(points, along, weights, first: int, last: int, curved: bool) -> Segment:
    """Return the line or curve of least squares from one point of a polyline to another, its ends free."""
    run, places, own = take_run(points, along, weights, first, last)
    if curved:
        controls, _ = cubic_through(run, places, own)
        tangents = unit(controls[1] - controls[0]), unit(controls[3] - controls[2])
    else:
        middle, direction, _ = line_through(run, own)
        ends = [middle + ((points[index] - middle) @ direction) * direction for index in (first, last)]
        controls = thirds(ends[0], ends[1])
        tangents = direction, direction
    return Segment(run, places, own, controls, curved, float(along[last] - along[first]), tangents)


def unit(vector):
    """Return a vector of length one."""
    return vector / max(float(np.hypot(*vector)), 1e-9)


def thirds(start, end):
    """Return the control points of a line."""
    return start + (end - start) * np.array([[0.0], [1.0], [2.0], [3.0]]) / 3


def refitted(segment: Segment, start, end, first, last) -> tuple[Float64[np.ndarray, "4 2"], Float64[np.ndarray, " n"]]:
    """Return the cubic of least squares between two ends, with directions there where they are given.

    With it come the places on it that are nearest to the points of the run.
    """
    controls = segment.controls
    places = segment.places
    for _ in range(3):
        controls = _between(segment, places, start, end, first, last)
        places = nearest_places(controls, segment.run, places)
    return controls, places


def at(controls, places) -> Float64[np.ndarray, "n 2"]:
    """Return points of a cubic."""
    t, u = places[:, None], 1 - places[:, None]
    return u**3 * controls[0] + 3 * u**2 * t * controls[1] + 3 * u * t**2 * controls[2] + t**3 * controls[3]


def nearest_places(controls, run, places) -> Float64[np.ndarray, " n"]:
    """Return the places on a cubic nearer to the points of a run, by a step of Newton's method."""
    t, u = places[:, None], 1 - places[:, None]
    offset = at(controls, places) - run
    arms = np.diff(controls, axis=0)
    speed = 3 * (u**2 * arms[0] + 2 * u * t * arms[1] + t**2 * arms[2])
    return (places - (offset * speed).sum(1) / np.maximum((speed**2).sum(1), 1e-9)).clip(0, 1)


def _between(segment: Segment, places, start, end, first, last) -> Float64[np.ndarray, "4 2"]:
    """Return what `refitted` does for points at given places on the curve."""
    run, own = segment.run, segment.own[:, None]
    t, u = places[:, None], 1 - places[:, None]
    basis = np.concatenate([3 * u**2 * t, 3 * u * t**2], axis=1)
    rest = run - (u**3 + 3 * u**2 * t) * start - (t**3 + 3 * u * t**2) * end
    reach = float(np.hypot(*(end - start)))
    if first is None or last is None:
        # Free arms: an arm with a direction is projected onto it afterwards.
        ridge = 1e-4 * np.eye(2)
        thirds = np.stack([(end - start) / 3, (start - end) / 3])
        normal, right = (basis * own).T @ basis + ridge, (basis * own).T @ rest + ridge @ thirds
        arms = np.linalg.solve(normal, right)
        if first is not None or last is not None:
            fixed = 0 if first is not None else 1
            direction = first if first is not None else -np.asarray(last)
            length = max(float(arms[fixed] @ direction), 0.05 * reach)
            arms[fixed] = length * direction
            other = 1 - fixed
            arms[other] = (right[other] - normal[other, fixed] * arms[fixed]) / normal[other, other]
    else:
        a, b = basis[:, :1] * first, -basis[:, 1:] * last
        aa, ab, bb = (own * a * a).sum() + 1e-4, (own * a * b).sum(), (own * b * b).sum() + 1e-4
        ar, br = (own * a * rest).sum() + 1e-4 * reach / 3, (own * b * rest).sum() + 1e-4 * reach / 3
        determinant = aa * bb - ab * ab
        lengths = np.array([ar * bb - br * ab, br * aa - ar * ab]) / max(determinant, 1e-12)
        lengths = np.where((lengths > 0.02 * reach) & (lengths < 3 * reach), lengths, reach / 3)
        arms = np.stack([lengths[0] * first, -lengths[1] * last])
    return np.stack([start, start + arms[0], end + arms[1], end])
