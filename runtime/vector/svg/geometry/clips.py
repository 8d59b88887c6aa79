"""Shapes cut by a convex region with straight sides: exactly, for a side cuts a cubic segment at roots of its own."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float64

from runtime.vector.paths import Kind
from runtime.vector.svg.geometry.contours import Contour, Paint, filled, rectangle_of
from runtime.vector.svg.geometry.skia import area_of

Points = Float64[np.ndarray, "_ 2"]

_TOUCH = 1e-6
"""Pixels by which a shape may stand out of a region and count as inside."""


def crop(paint: Paint, corners: Float64[np.ndarray, "4 2"]) -> Paint | None:
    """Return the part of a shape inside a convex quadrilateral, in pixels; None where nothing is left.

    Args:
        paint: a fill, or a stroke, of which the outline is cut.
        corners: in order around.
    """
    points = np.concatenate([contour.points for contour in paint.contours])
    margin = paint.width / 2 if paint.kind == Kind.STROKE else 0.0
    sides = _half_planes(corners)
    # The hull of the control points bounds a curve, so that most shapes need no roots.
    distances = [points @ normal - offset for normal, offset in sides]
    if all((distance >= margin - _TOUCH).all() for distance in distances):
        return paint
    if any((distance <= -margin + _TOUCH).all() for distance in distances):
        return None
    # The ends of our strokes are round, and a cut through one is straight: what is cut is the outline.
    contours = [contour.points for contour in area_of(paint).contours]
    for normal, offset in sides:
        contours = [part for contour in contours if len(part := _clipped_contour(contour, normal, offset)) > 1]
    parts = [Contour(contour, True) for contour in contours]
    if not parts:
        return None
    stays = paint.kind == Kind.EVENODD or (paint.kind == Kind.RECTANGLE and rectangle_of(parts) is not None)
    kind = paint.kind if stays else Kind.NONZERO
    return replace(paint, kind=kind, contours=parts)


def holds(corners: Points, points: Points) -> bool:
    """Return whether points lie inside a convex polygon."""
    return all((points @ normal - offset >= -_TOUCH).all() for normal, offset in _half_planes(corners))


def quadrilateral(outline: Contour) -> Points | None:
    """Return the corners of a convex outline of four straight sides; None of any other."""
    closed = filled(outline)
    if closed is None or len(closed.points) != 13:
        return None
    corners = closed.points[:-1:3]
    sides = np.roll(corners, -1, axis=0) - corners
    controls = np.stack([closed.points[1::3] - corners, closed.points[2::3] - corners])
    # Both products are areas, so that the bound below does not depend on the scale.
    off = np.abs(controls[..., 0] * sides[:, 1] - controls[..., 1] * sides[:, 0])
    straight = (off <= 1e-9 * (sides**2).sum(axis=1) + 1e-12).all()
    return corners if straight and _is_convex(corners) else None


def inscribed(outline: Contour, pieces: int = 16) -> Points | None:
    """Return a polygon of points on a convex outline; None of any other."""
    # Points on a convex curve span a polygon inside of it: what the polygon holds, the curve holds.
    t = np.arange(pieces)[:, None] / pieces
    weights = np.concatenate([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=1)
    cubics = np.stack([outline.points[first : first + 4] for first in range(0, len(outline.points) - 1, 3)])
    points = np.einsum("tk,skd->std", weights, cubics).reshape(-1, 2)
    return points if _is_convex(points) else None


def _is_convex(points: Points) -> bool:
    """Return whether a closed polygon turns once, to one side only."""
    edges = np.roll(points, -1, axis=0) - points
    after = np.roll(edges, -1, axis=0)
    turns = edges[:, 0] * after[:, 1] - edges[:, 1] * after[:, 0]
    bound = 1e-9 * float(np.abs(turns).max())
    # A pentagram turns to one side only as well, but twice round.
    angles = np.arctan2(turns, (edges * after).sum(axis=1))
    once = abs(abs(float(angles.sum())) - 2 * np.pi) < 1e-6
    return once and bool((turns >= -bound).all() or (turns <= bound).all())


def _half_planes(corners: Points) -> list[tuple[np.ndarray, float]]:
    """Return for each side a unit normal that points inwards, and the side's offset along it."""
    edges = np.roll(corners, -1, axis=0) - corners
    normals = np.stack([-edges[:, 1], edges[:, 0]], axis=1)
    x, y = corners.T
    area = float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12) * (1 if area >= 0 else -1)
    return [(normal, float(normal @ corner)) for normal, corner in zip(normals, corners, strict=True)]


def _clipped_contour(points: Points, normal: np.ndarray, offset: float) -> Points:
    """Return a closed contour without what lies beyond a line, which takes its place.

    What goes out and comes in again is joined along the line. So winding numbers inside stay as they are, and fills of
    either rule are right.
    """
    parts: list[np.ndarray] = []
    for first in range(0, len(points) - 1, 3):
        cubic = points[first : first + 4]
        distances = cubic @ normal - offset
        if (distances >= 0).all():
            parts.append(cubic)
        elif not (distances <= 0).all():
            parts += _inner_parts(cubic, distances)
    if not parts:
        return points[:0]
    result = [parts[0]]
    for part in [*parts[1:], parts[0]]:
        end = result[-1][-1]
        if np.abs(part[0] - end).max() > 1e-9:
            result.append(end + (part[0] - end) * np.array([[1.0], [2.0], [3.0]]) / 3)
        if part is not parts[0]:
            result.append(part[1:])
    joined = np.concatenate(result)
    joined[-1] = joined[0]
    return joined


def _inner_parts(cubic: Points, distances: np.ndarray) -> list[Points]:
    """Return the pieces of a cubic on the inner side, from its Bernstein coefficients' roots."""
    a, b, c, d = distances
    roots = np.roots([d - 3 * c + 3 * b - a, 3 * (c - 2 * b + a), 3 * (b - a), a])
    # Where the curve only touches the line, rounding may lose the root; the side does not change there.
    real = sorted(root.real for root in roots if abs(root.imag) < 1e-9 and 0 < root.real < 1)
    places = [0.0, *real, 1.0]
    pieces = []
    for start, end in pairwise(places):
        t = (start + end) / 2
        middle = a * (1 - t) ** 3 + 3 * b * t * (1 - t) ** 2 + 3 * c * t**2 * (1 - t) + d * t**3
        if middle > 0 and end > start:
            pieces.append(_piece(cubic, start, end))
    return pieces


def _piece(cubic: Points, start: float, end: float) -> Points:
    """Return a part of a cubic as a cubic: its controls are values of the polar form at starts and ends."""

    def polar(*t: float) -> np.ndarray:
        points = list(cubic)
        for place in t:
            points = [(1 - place) * one + place * two for one, two in pairwise(points)]
        return points[0]

    return np.stack(
        [polar(start, start, start), polar(start, start, end), polar(start, end, end), polar(end, end, end)]
    )
