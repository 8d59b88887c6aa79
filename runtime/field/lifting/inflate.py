"""How thick an object is, from its outline: the Poisson equation.

    -laplace u = 1 inside, u = 0 on the outline,    s = 4 u = (half thickness)^2

makes a ball of a disc (u = (r^2 - rho^2) / 4) and an elliptic cylinder of a strip, with no more to choose. s is smooth
where the thickness itself is not: its root is vertical at the outline.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu

from runtime.field.lifting.masks import dilated, distance_inside, eroded, opened

OVERLAP = 3
"""Pixels by which an appendage reaches into the body, so that both stay one piece."""

THIN = 4.0
"""Half thickness, in pixels, that every place has that the whole outline would give it: no part is paper."""

STEEP = 4.0
"""Least slope of s outside the outline: that of a ball with a radius of two pixels."""


def solve_poisson(
    mask: Bool[np.ndarray, "H W"], source: float, border: Float64[np.ndarray, "H W C"]
) -> Float64[np.ndarray, "H W C"]:
    """Return u with -laplace u = source in a mask and u = border elsewhere, in pixels (five-point differences)."""
    # A frame of known values: no neighbour's index leaves the array.
    inside = np.pad(mask, 1)
    outer = np.pad(border, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows, columns = np.nonzero(inside)
    count = len(rows)
    if count == 0:
        return border.copy()
    number = np.full(inside.shape, -1)
    number[rows, columns] = np.arange(count)
    right = np.full((count, border.shape[2]), source, np.float64)
    entries = [(np.arange(count), np.arange(count), np.full(count, 4.0))]
    for down, along in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        neighbour = number[rows + down, columns + along]
        # A known neighbour moves to the right-hand side; an unknown one is an entry of the matrix.
        unknown = neighbour >= 0
        entries.append((np.flatnonzero(unknown), neighbour[unknown], np.full(unknown.sum(), -1.0)))
        right[~unknown] += outer[rows + down, columns + along][~unknown]
    row, column, value = (np.concatenate(part) for part in zip(*entries, strict=True))
    solution = border.copy()
    # Direct, not iterated: all columns of the border share one factorization, and no tolerance has to be chosen.
    solution[mask] = splu(coo_array((value, (row, column)), shape=(count, count)).tocsc()).solve(right)
    return solution


def inflate(mask: Bool[np.ndarray, "H W"]) -> Float64[np.ndarray, "H W"]:
    """Return s, the square of half the thickness in pixels, of what has this outline; 0 outside."""
    return 4 * solve_poisson(mask, 1.0, np.zeros((*mask.shape, 1)))[..., 0]


def membrane(values: Float64[np.ndarray, "H W C"], mask: Bool[np.ndarray, "H W"]) -> Float64[np.ndarray, "H W C"]:
    """Return values that in a mask are as smooth as those around it allow: solutions of Laplace's equation."""
    return solve_poisson(mask, 0.0, values)


def inflate_parts(
    mask: Bool[np.ndarray, "H W"], parts: Sequence[Bool[np.ndarray, "H W"]]
) -> Float64[np.ndarray, "H W"]:
    """Return s of an object whose appendages are inflated by themselves: the union of all, negative outside.

    Outside, s falls about as steeply as it rises inside, so that x^2 = s is smooth across the outline.

    Args:
        mask: the whole object.
        parts: its appendages.
    """
    whole = inflate(mask)
    body = mask.copy()
    for part in parts:
        body &= ~part
    # What is left of a body between appendages may be a rim of a few pixels.
    body = opened(body, 2)
    square = inflate(body) if body.any() else whole
    for part in parts:
        square = np.maximum(square, inflate(dilated(part, OVERLAP) & mask))
    # The union of solids x^2 < s is that of the largest s.
    square = np.maximum(square, np.minimum(whole, THIN**2))
    return ndimage.gaussian_filter(extended(square, mask), 1.0)


def extended(square: Float64[np.ndarray, "H W"], mask: Bool[np.ndarray, "H W"]) -> Float64[np.ndarray, "H W"]:
    """Return s with negative values outside a mask: minus the distance times the usual slope along the outline.

    One slope for all: where those of two outlines met there would be a cliff, and in the cliff a wall of fog.
    """
    rim = mask & ~eroded(mask)
    slope = max(float(np.median(np.hypot(*np.gradient(square))[rim])), STEEP) if rim.any() else STEEP
    return np.where(mask, square, -slope * distance_inside(~mask))
