"""Shapes that have a name: polylines that are nearly ellipses, and coverage that is a rectangle's."""

import numpy as np
from jaxtyping import Float64

from runtime.vector.trace.flat.curves import Points

MOST_ECCENTRIC = 6.0
"""Ratio of axes up to which an ellipse is taken for one."""


def ellipse_of(points: Points, weights: Float64[np.ndarray, " N"], bound: float) -> Float64[np.ndarray, "12 2"] | None:
    """Return the control points of the ellipse along a closed polyline; None where none is near.

    Args:
        points: in order around.
        weights: of their errors, in [0, 1].
        bound: largest root of the mean squared distance; no point is more than twice as far off.
    """
    if len(points) < 8:
        return None
    middle = points.mean(axis=0)
    scale = max(float(np.abs(points - middle).max()), 1e-6)
    x, y = ((points - middle) / scale).T
    table = np.stack([x * x, x * y, y * y, x, y], axis=1)
    (a, b, c, d, e), *_ = np.linalg.lstsq(table * weights[:, None], weights, rcond=None)
    matrix = np.array([[a, b / 2], [b / 2, c]])
    values, vectors = np.linalg.eigh(matrix)
    if values[0] <= 1e-9:
        return None
    centre = -np.linalg.solve(matrix, np.array([d, e])) / 2
    radii = np.sqrt((1 + centre @ matrix @ centre) / values)
    if radii.max() > MOST_ECCENTRIC * radii.min():
        return None
    local = (np.stack([x, y], axis=1) - centre) @ vectors / radii
    length = np.linalg.norm(local, axis=1)
    # Nearly the distance from the ellipse: along the ray from its centre.
    distance = np.abs(length - 1) * np.linalg.norm(local * radii, axis=1) / np.maximum(length, 1e-9) * scale
    if (distance * weights).max() > 2 * bound or np.sqrt((distance**2).mean()) > bound:
        return None
    if radii.max() < 1.02 * radii.min() or (radii.max() - radii.min()) * scale < bound / 2:
        radii[:], vectors = np.sqrt(radii.prod()), np.eye(2)
    return middle + scale * (centre + (_UNIT_CIRCLE * radii) @ vectors.T)


def rectangle_of(coverage: Float64[np.ndarray, "h w"], error: float) -> Float64[np.ndarray, "4"] | None:
    """Return left, top, right and bottom of the upright rectangle that a coverage is; None where it is none.

    Args:
        coverage: of each pixel.
        error: largest difference of a pixel.
    """
    most = float(coverage.max())
    if most < 0.5:
        return None
    columns, rows = coverage.max(axis=0), coverage.max(axis=1)
    if np.abs(np.outer(rows, columns) - coverage).max() > error:
        return None
    spans = []
    for profile in (columns, rows):
        present = np.flatnonzero(profile > error)
        first, last = int(present[0]), int(present[-1])
        if last == first:
            # Where in its pixel so narrow a side lies cannot be seen: in the middle.
            spans.append((first + (1 - profile[first]) / 2, first + (1 + profile[first]) / 2))
            continue
        if (profile[first + 1 : last] < 1 - error).any():
            return None
        spans.append((first + 1 - profile[first], last + profile[last]))
    (left, right), (top, bottom) = spans
    return np.array([left, top, right, bottom])


_HANDLE = 4 / 3 * np.tan(np.pi / 8)
_UNIT_CIRCLE = np.array(
    [
        *[(1, 0), (1, _HANDLE), (_HANDLE, 1)],
        *[(0, 1), (-_HANDLE, 1), (-1, _HANDLE)],
        *[(-1, 0), (-1, -_HANDLE), (-_HANDLE, -1)],
        *[(0, -1), (_HANDLE, -1), (1, -_HANDLE)],
    ]
)
