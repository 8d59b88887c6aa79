"""Contours of coverage, to a hundredth of a pixel along straight edges."""

import numpy as np
from jaxtyping import Float64
from skimage.measure import find_contours

from runtime.vector.trace.flat.curves import Points

FULL = 0.97
"""Coverage from which on a pixel is inside."""
DOUBTFUL = 0.5
"""Weight of a place that only interpolation gives."""


def contours_at_half(coverage: Float64[np.ndarray, "h w"]) -> list[tuple[Points, Float64[np.ndarray, " n"]]]:
    """Return the closed contours of a coverage, in pixels of it, with a weight for each point.

    A contour crosses the rows and columns of pixel middles. Where one goes straight from inside to outside, the sum of
    the coverage along it is where a straight edge crosses it, exactly; interpolation between the two pixels next to it
    is off by up to a twelfth of a pixel.
    """
    margin = 3
    padded = np.pad(coverage, margin)
    result = []
    for contour in find_contours(padded, 0.5):
        places = np.asarray(contour)[:-1]
        if len(places) < 4:
            continue
        weights = np.full(len(places), DOUBTFUL)
        for axis in (0, 1):
            _sharpen(padded, places, weights, axis)
        result.append((places[:, ::-1] + 0.5 - margin, weights))
    return result


def _sharpen(coverage, places, weights, axis: int) -> None:
    """Move the places between two pixels along an axis to where the summed coverage puts the edge."""
    along = places[:, axis]
    chosen = np.flatnonzero((along != np.round(along)) & (places[:, 1 - axis] == np.round(places[:, 1 - axis])))
    if not len(chosen):
        return
    table = coverage if axis == 1 else coverage.T
    rows = places[chosen, 1 - axis].astype(int)
    first = np.floor(along[chosen]).astype(int)
    for reach in (1, 2):
        columns = first[:, None] + np.arange(-reach, reach + 2)
        profile = table[rows[:, None], columns.clip(0, table.shape[1] - 1)]
        falls = profile[:, 0] > profile[:, -1]
        step = np.diff(profile, axis=1) * np.where(falls, -1, 1)[:, None]
        high, low = profile[:, [0, -1]].max(axis=1), profile[:, [0, -1]].min(axis=1)
        good = (high >= FULL) & (low <= 1 - FULL) & (step > -0.02).all(axis=1) & (weights[chosen] < 1)
        mass = profile.sum(axis=1)
        place = np.where(falls, columns[:, 0] - 0.5 + mass, columns[:, -1] + 0.5 - mass)
        places[chosen[good], axis] = place[good]
        weights[chosen[good]] = 1.0
