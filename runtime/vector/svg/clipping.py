"""Shapes cut by clip paths: exactly where the clip path has four straight sides, by Skia where it has any shape."""

from dataclasses import replace

import numpy as np

from runtime.vector.paths import Kind
from runtime.vector.svg.geometry.clips import crop, holds, inscribed, quadrilateral
from runtime.vector.svg.geometry.contours import Contour, Paint
from runtime.vector.svg.geometry.skia import Area, Combiner, area_of


def cropped(shapes: list[Paint], corners: np.ndarray) -> list[Paint]:
    """Return what of some shapes lies in a convex quadrilateral."""
    parts = [crop(shape, corners) for shape in shapes]
    return [part for part in parts if part is not None]


def clipped(shapes: list[Paint], area: Area | None, combiner: Combiner) -> list[Paint]:
    """Return what of some shapes lies in an area; None is an area of nothing.

    Raises:
        ValueError: where the shapes cannot be cut.
    """
    if area is None or not shapes:
        return []
    outline = area.contours[0] if len(area.contours) == 1 else None
    if outline is not None and (corners := quadrilateral(outline)) is not None:
        return cropped(shapes, corners)
    if outline is not None and _encloses(outline, shapes):
        return shapes
    parts = []
    for shape in shapes:
        covered = area_of(shape)
        part = combiner.intersect(covered, area) if covered.contours else None
        if part is not None:
            parts.append(replace(shape, kind=part.kind, contours=part.contours))
    return parts


def _encloses(outline: Contour, shapes: list[Paint]) -> bool:
    """Return whether a convex outline holds all shapes."""
    margin = max((shape.width / 2 for shape in shapes if shape.kind == Kind.STROKE), default=0.0)
    points = np.concatenate([contour.points for shape in shapes for contour in shape.contours])
    low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
    # This errs to one side only: a box around all shapes has to lie in a polygon inside of the outline.
    box = np.array([low, [low[0], high[1]], high, [high[0], low[1]]])
    polygon = inscribed(outline)
    return polygon is not None and holds(polygon, box)
