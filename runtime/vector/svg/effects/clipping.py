"""Shapes cut by clip paths: exactly where the clip path has four straight sides, by Skia where it has any shape."""

from dataclasses import replace

import numpy as np

from runtime.vector.paths import Kind
from runtime.vector.svg.geometry.clips import crop, holds, inscribed, quadrilateral
from runtime.vector.svg.geometry.contours import Paint, box_of
from runtime.vector.svg.geometry.skia import Area, Combiner, Relation, area_of, relation_of
from runtime.vector.svg.transforms import Box, Matrix


def cropped(shapes: list[Paint], corners: np.ndarray) -> list[Paint]:
    """Return what of some shapes lies in a convex quadrilateral."""
    parts = [crop(shape, corners) for shape in shapes]
    return [part for part in parts if part is not None]


def corners_of(box: Box, matrix: Matrix) -> np.ndarray:
    """Return the corners of a box of user units, in pixels."""
    left, top, width, height = box
    corners = np.array([[left, top], [left + width, top], [left + width, top + height], [left, top + height]])
    return corners @ matrix[:2, :2].T + matrix[:2, 2]


def clipped(shapes: list[Paint], area: Area | None, combiner: Combiner) -> list[Paint]:
    """Return what of some shapes lies in an area; None is an area of nothing.

    Raises:
        ValueError: where the shapes cannot be cut.
    """
    if area is None or not shapes or not area.contours:
        return []
    outline = area.contours[0] if len(area.contours) == 1 else None
    if outline is not None and (corners := quadrilateral(outline)) is not None:
        return cropped(shapes, corners)
    polygon = inscribed(outline) if outline is not None else None
    # Twenty boxes are compared in the time of a pair of segments.
    combiner.spend(len(shapes) // 20)
    parts = []
    for shape in shapes:
        if polygon is not None and _encloses(polygon, shape):
            parts.append(shape)
            continue
        low, high = box_of(shape)
        if (np.minimum(high, area.box[1]) <= np.maximum(low, area.box[0])).any():
            continue
        # A comparison takes about as long, and so does outlining a stroke.
        combiner.spend(4 if shape.kind != Kind.STROKE else 20)
        covered = area_of(shape)
        relation = relation_of(covered, area)
        if relation == Relation.INSIDE:
            parts.append(shape)
        part = combiner.intersect(covered, area) if relation == Relation.CROSSING else None
        if part is not None:
            parts.append(replace(shape, kind=part.kind, contours=part.contours))
    return parts


def _encloses(polygon: np.ndarray, shape: Paint) -> bool:
    """Return whether a convex polygon holds the box around a shape, or the hull of its control points."""
    if shape.kind != Kind.STROKE:
        return holds(polygon, np.concatenate([contour.points for contour in shape.contours]))
    low, high = box_of(shape)
    return holds(polygon, np.array([low, [low[0], high[1]], high, [high[0], low[1]]]))
