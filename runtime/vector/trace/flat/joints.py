"""Where two curves join smoothly: the places and directions that are best for both.

A mean of what each of the two has by itself is neither's own, and carries long curves off. Places, directions and arms
of a whole contour are found together: the sum of squares of the points' distances is lowered by Gauss's and Newton's
method.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from runtime.vector.trace.flat.segments import Points, Segment, at, nearest_places, refitted, unit

STEPS = 4
"""Steps of the method."""
HALVINGS = 3
"""Most times that a step which makes the error larger is halved."""
STAY = 1.0
"""Weight of a joint's step, in pixels: along a smooth curve it may lie anywhere."""
LITTLE = 1e-3
"""Weight of all other steps: runs of few points leave them undetermined."""
SHORTEST = 0.05
"""Least length of an arm, as a part of the distance between its curve's ends."""


@dataclass
class _Curve:
    """A curve on the way."""

    segment: Segment
    controls: Float64[np.ndarray, "4 2"]
    places: Float64[np.ndarray, " n"]
    joints: tuple[int | None, int | None]
    """Smooth joints at its start and end."""
    free: tuple[bool, bool]
    """Whether its directions there are free."""

    def error(self) -> float:
        """Return the weighted sum of the squared distances of its points."""
        return float((self.segment.own[:, None] * (at(self.controls, self.places) - self.segment.run) ** 2).sum())

    def directions(self, side: int) -> Points:
        """Return the directions into which the end of an arm may move by itself."""
        if self.free[side]:
            return np.eye(2)
        return unit(self.controls[1 + side] - self.controls[3 * side])[None]

    def moved(self, steps: "_Steps") -> "_Curve":
        """Return the curve after a step, with the places on it that are nearest to its points."""
        controls = self.controls.copy()
        reach = float(np.hypot(*(controls[3] - controls[0])))
        for side, joint in enumerate(self.joints):
            end, arm = 3 * side, 1 + side
            own = self.controls[arm] - self.controls[end]
            for direction in self.directions(side):
                own = own + steps.next() * direction
            if not self.free[side]:
                direction = self.directions(side)[0]
                own = max(float(own @ direction), SHORTEST * reach) * direction
            if joint is not None:
                x, y, turn = steps.of_joint(joint)
                controls[end] = controls[end] + np.array([x, y])
                own = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ own
            controls[arm] = controls[end] + own
        places = nearest_places(controls, self.segment.run, self.places)
        return _Curve(self.segment, controls, places, self.joints, self.free)


class _Steps:
    """Steps of all unknowns: x, y and turn of each joint, then those of the arms, curve by curve."""

    def __init__(self, values: Float64[np.ndarray, " n"], joints: int) -> None:
        self.values = values
        self.place = 3 * joints

    def of_joint(self, joint: int) -> tuple[float, float, float]:
        """Return the steps of a joint."""
        x, y, turn = self.values[3 * joint : 3 * joint + 3].tolist()
        return x, y, turn

    def next(self) -> float:
        """Return the step of the next arm."""
        self.place += 1
        return float(self.values[self.place - 1])


def move_joints(
    segments: Sequence[Segment],
    smooth: Sequence[tuple[int, int]],
    starts: list[np.ndarray],
    ends: list[np.ndarray],
    tangents: list[list[np.ndarray | None]],
) -> None:
    """Move smooth joints of curves, in `starts`, `ends` and `tangents`, to where both curves fit best.

    Args:
        segments: of a contour.
        smooth: pairs of curves, the earlier one first, of which the one goes on as the other smoothly.
        starts: where each segment begins.
        ends: where each ends.
        tangents: unit vectors, forwards, at each one's start and end; None where it is free.
    """
    at_start = {after: joint for joint, (_, after) in enumerate(smooth)}
    at_end = {before: joint for joint, (before, _) in enumerate(smooth)}
    curves: dict[int, _Curve] = {}
    for index in sorted(at_start.keys() | at_end.keys()):
        controls, places = refitted(segments[index], starts[index], ends[index], *tangents[index])
        free = tangents[index][0] is None, tangents[index][1] is None
        joints = at_start.get(index), at_end.get(index)
        curves[index] = _Curve(segments[index], controls, places, joints, free)
    error = sum(curve.error() for curve in curves.values())
    for _ in range(STEPS):
        values = _step(curves, len(smooth))
        for _ in range(HALVINGS + 1):
            steps = _Steps(values, len(smooth))
            moved = {index: curve.moved(steps) for index, curve in curves.items()}
            after = sum(curve.error() for curve in moved.values())
            if after < error:
                break
            values = values / 2
        else:
            break
        curves, error = moved, after
    for index, curve in curves.items():
        curve.segment.places = curve.places
        for side, joint in enumerate(curve.joints):
            if joint is not None:
                arm = curve.controls[1 + side] - curve.controls[3 * side]
                tangents[index][side] = unit(arm) if side == 0 else -unit(arm)
        starts[index], ends[index] = curve.controls[0], curve.controls[3]


def _step(curves: Mapping[int, _Curve], joints: int) -> Float64[np.ndarray, " n"]:
    """Return the steps of Gauss's and Newton's method."""
    arms = sum(len(curve.directions(side)) for curve in curves.values() for side in range(2))
    rows = [len(curve.places) for curve in curves.values()]
    matrix, rest = np.zeros((sum(rows), 3 * joints + arms)), np.zeros(sum(rows))
    first, column = 0, 3 * joints
    for curve in curves.values():
        t, u = curve.places[:, None], 1 - curve.places[:, None]
        sides = np.diff(curve.controls, axis=0)
        speed = u**2 * sides[0] + 2 * u * t * sides[1] + t**2 * sides[2]
        # Distances at a right angle to the curve: along it points may slide.
        across = np.stack([-speed[:, 1], speed[:, 0]], axis=1) / np.maximum(np.hypot(*speed.T), 1e-9)[:, None]
        across *= np.sqrt(curve.segment.own)[:, None]
        part = matrix[first : first + len(t)]
        rest[first : first + len(t)] = (across * (curve.segment.run - at(curve.controls, curve.places))).sum(1)
        first += len(t)
        for side, joint in enumerate(curve.joints):
            own = 3 * u**2 * t if side == 0 else 3 * u * t**2
            whole = own + (u**3 if side == 0 else t**3)
            if joint is not None:
                arm = curve.controls[1 + side] - curve.controls[3 * side]
                part[:, 3 * joint : 3 * joint + 2] += across * whole
                # A turn moves the end of an arm at a right angle to it.
                part[:, 3 * joint + 2] += (across * own) @ np.array([-arm[1], arm[0]])
            for direction in curve.directions(side):
                part[:, column] = (across * own) @ direction
                column += 1
    normal = matrix.T @ matrix
    weights = np.full(len(normal), LITTLE)
    weights[: 3 * joints].reshape(-1, 3)[:, :2] = STAY
    normal[np.diag_indices_from(normal)] += weights
    return np.linalg.solve(normal, matrix.T @ rest)
