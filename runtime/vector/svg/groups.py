"""Opacity of groups: shapes that overlap are composited with one another first, and with what is below once."""

from dataclasses import replace

import numpy as np

from runtime.vector.paths import Kind
from runtime.vector.svg.geometry.contours import Paint
from runtime.vector.svg.geometry.skia import Combiner, area_of
from runtime.vector.svg.values import Colour

_OPAQUE = 0.9995
"""Opacity from which on nothing is seen through a shape."""


def faded(shapes: list[Paint], opacity: float, combiner: Combiner) -> list[Paint]:
    """Return the shapes of a group with its opacity; none overlaps another one that it could be seen through.

    Args:
        shapes: of the group, the lowest first.
        opacity: of the group as a whole.
        combiner: what cuts the shapes.

    Raises:
        ValueError: where they cannot be cut; `faded_each` is the next best.
    """
    return faded_each(_disjoint(shapes, combiner), opacity)


def faded_each(shapes: list[Paint], opacity: float) -> list[Paint]:
    """Return shapes with each one's opacity multiplied, right where none overlaps another."""
    return [replace(shape, colour=(*shape.colour[:3], shape.colour[3] * opacity)) for shape in shapes]


def _disjoint(shapes: list[Paint], combiner: Combiner) -> list[Paint]:
    """Return shapes that look like these and do not overlap."""
    if not _overlap(shapes, combiner):
        return shapes
    # Each shape is compared with all before it, in Python.
    combiner.spend(len(shapes) ** 2 // 4)
    result: list[Paint] = []
    boxes: list[np.ndarray] = []
    for shape in shapes:
        box = _box(shape)
        rest: Paint | None = shape
        parts: list[Paint] = []
        for below in [one for one, other in zip(result, boxes, strict=True) if _meet(box, other)]:
            under, over = area_of(below), area_of(shape)
            if not under.contours or not over.contours:
                continue
            both = combiner.intersect(under, over)
            if both is None:
                continue
            place = next(index for index, one in enumerate(result) if one is below)
            hidden = combiner.subtract(under, over)
            pieces = [] if hidden is None else [replace(below, kind=hidden.kind, contours=hidden.contours)]
            result[place : place + 1] = pieces
            boxes[place : place + 1] = [_box(piece) for piece in pieces]
            # What is opaque looks the same over anything, and stays whole.
            if shape.colour[3] < _OPAQUE and rest is not None:
                colour = _over(shape.colour, below.colour)
                parts.append(Paint(both.kind, both.contours, colour))
                left = combiner.subtract(area_of(rest), under)
                rest = None if left is None else replace(shape, kind=left.kind, contours=left.contours)
        for part in [*parts, *([rest] if rest is not None else [])]:
            result.append(part)
            boxes.append(_box(part))
    return result


def _overlap(shapes: list[Paint], combiner: Combiner) -> bool:
    """Return whether the boxes of any two shapes overlap."""
    # A thousand comparisons of numbers cost about as much as one of segments.
    combiner.spend(len(shapes) + len(shapes) ** 2 // 1000)
    boxes = np.array([_box(shape) for shape in shapes]).reshape(-1, 2, 2)
    low, high = boxes[:, 0], boxes[:, 1]
    return any(
        ((np.minimum(high[i], high[i + 1 :]) > np.maximum(low[i], low[i + 1 :])).all(axis=1)).any()
        for i in range(len(boxes))
    )


def _box(shape: Paint) -> np.ndarray:
    points = np.concatenate([contour.points for contour in shape.contours])
    margin = shape.width / 2 if shape.kind == Kind.STROKE else 0.0
    return np.stack([points.min(axis=0) - margin, points.max(axis=0) + margin])


def _meet(one: np.ndarray, two: np.ndarray) -> bool:
    return bool((np.minimum(one[1], two[1]) > np.maximum(one[0], two[0])).all())


def _over(upper: Colour, lower: Colour) -> Colour:
    """Return the straight RGBA of one colour over another."""
    alpha = upper[3] + lower[3] * (1 - upper[3])
    red, green, blue = (
        (one * upper[3] + two * lower[3] * (1 - upper[3])) / max(alpha, 1e-12)
        for one, two in zip(upper[:3], lower[:3], strict=True)
    )
    return (red, green, blue, alpha)
