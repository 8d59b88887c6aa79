"""Opacity of groups: shapes that overlap are composited with one another first, and with what is below once."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from runtime.vector.svg.geometry.contours import Paint, box_of
from runtime.vector.svg.geometry.skia import Area, Combiner, Relation, area_of, relation_of
from runtime.vector.svg.values import Colour

_Part = tuple[Paint, Area]
"""A shape and what it covers, which is computed once."""
OPAQUE = 0.9995
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
    return faded_each(disjoint(shapes, combiner), opacity)


def faded_each(shapes: list[Paint], opacity: float) -> list[Paint]:
    """Return shapes with each one's opacity multiplied, right where none overlaps another."""
    return [replace(shape, colour=(*shape.colour[:3], shape.colour[3] * opacity)) for shape in shapes]


def disjoint(
    shapes: list[Paint], combiner: Combiner, mix: Callable[[Colour, Colour], Colour] | None = None
) -> list[Paint]:
    """Return shapes that look like these and do not overlap.

    Args:
        shapes: the lowest first.
        combiner: what cuts them.
        mix: the colour of one over another; by default `over_colour`.

    Raises:
        ValueError: where they cannot be cut.
    """
    if not _overlap(shapes, combiner):
        return shapes
    # Each shape is compared with all parts before it, in Python.
    combiner.spend(len(shapes) ** 2 // 4)
    areas = [area_of(shape) for shape in shapes]
    result: list[_Part] = []
    outer = np.array([box_of(shape) for shape in shapes])
    boxes = outer[:0]
    for number, (shape, area) in enumerate(zip(shapes, areas, strict=True)):
        added: list[_Part] = []
        touched = np.flatnonzero(_meet(outer[number], boxes))
        for index in touched:
            added += _covered(result[index], (shape, area), combiner, mix or over_colour)
        # What is opaque looks the same over anything, and stays whole.
        if shape.colour[3] >= OPAQUE or not len(touched):
            added.append((shape, area))
        else:
            below = np.flatnonzero(_meet(outer[number], outer[:number]))
            added += _beside((shape, area), [areas[index] for index in below], combiner)
        gone = set(touched.tolist())
        result = [one for index, one in enumerate(result) if index not in gone] + added
        fresh = np.array([box_of(one) for one, _ in added]).reshape(-1, 2, 2)
        boxes = np.concatenate([np.delete(boxes, touched, axis=0), fresh])
    return [shape for shape, _ in result]


def merged(shapes: list[Paint], combiner: Combiner) -> list[Paint]:
    """Return shapes that do not overlap, with those of one colour as one.

    Raises:
        ValueError: where they cannot be united.
    """
    by_colour: dict[Colour, list[Paint]] = {}
    for shape in shapes:
        by_colour.setdefault(shape.colour, []).append(shape)
    result = []
    for colour, group in by_colour.items():
        if len(group) == 1:
            result.append(group[0])
            continue
        area = combiner.unite([area for shape in group if (area := area_of(shape)).contours])
        result.append(Paint(area.kind, area.contours, colour))
    return result


def _covered(below: _Part, above: _Part, combiner: Combiner, mix: Callable[[Colour, Colour], Colour]) -> list[_Part]:
    """Return the parts of a shape under another one: what is not covered, and what is seen through it."""
    (lower, under), (upper, over) = below, above
    combiner.spend(4)  # a comparison takes about as long
    relation = relation_of(under, over)
    if relation == Relation.APART:
        return [below]
    opaque = upper.colour[3] >= OPAQUE
    colour = mix(upper.colour, lower.colour)
    if relation == Relation.INSIDE:
        return [] if opaque else [(replace(lower, colour=colour), under)]
    parts = [_part(combiner.subtract(under, over), lower.colour)]
    if not opaque:
        parts.append(_part(combiner.intersect(under, over), colour))
    return [part for part in parts if part is not None]


def _beside(above: _Part, below: list[Area], combiner: Combiner) -> list[_Part]:
    """Return what of a shape lies over none of some areas."""
    shape, area = above
    left: Area | None = area
    for other in below:
        if left is None or not left.contours:
            return []
        combiner.spend(4)
        relation = relation_of(left, other)
        if relation == Relation.INSIDE:
            return []
        if relation == Relation.CROSSING:
            left = combiner.subtract(left, other)
    if left is area:
        return [above]
    part = _part(left, shape.colour)
    return [] if part is None else [part]


def _part(area: Area | None, colour: Colour) -> _Part | None:
    return None if area is None else (Paint(area.kind, area.contours, colour), area)


def _overlap(shapes: list[Paint], combiner: Combiner) -> bool:
    """Return whether the boxes of any two shapes overlap."""
    # A thousand comparisons of numbers cost about as much as one of segments.
    combiner.spend(len(shapes) + len(shapes) ** 2 // 1000)
    boxes = np.array([box_of(shape) for shape in shapes]).reshape(-1, 2, 2)
    return any(_meet(boxes[index], boxes[index + 1 :]).any() for index in range(len(boxes)))


def _meet(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return which of other boxes, (N, 2, 2), overlap a box."""
    return np.all(np.minimum(box[1], others[:, 1]) > np.maximum(box[0], others[:, 0]), axis=1)


def over_colour(upper: Colour, lower: Colour) -> Colour:
    """Return the straight RGBA of one colour over another."""
    alpha = upper[3] + lower[3] * (1 - upper[3])
    red, green, blue = (
        (one * upper[3] + two * lower[3] * (1 - upper[3])) / max(alpha, 1e-12)
        for one, two in zip(upper[:3], lower[:3], strict=True)
    )
    return (red, green, blue, alpha)
