"""Compiled: the fill rule applied exactly within one pixel that a path visits more than once.

The pixel is cut into slabs at every end and crossing of the path's parts in it. Within a slab the parts keep their order from
left to right, so that the filled region is a row of trapezoids.
"""

import numpy as np
from numba import njit

from runtime.vector.raster_cells import ENTER_LEFT, ENTER_TOP, EXIT_LEFT, EXIT_TOP

_THINNEST = 1e-13
"""Height in pixels below which a slab is skipped."""


@njit(cache=True, nogil=True)
def filled(winding, evenodd):
    """1.0 where the winding number is inside, 0.0 where outside."""
    if evenodd:
        return 1.0 if winding & 1 else 0.0
    return 1.0 if winding != 0 else 0.0


@njit(cache=True, nogil=True)
def _breaks(ends, count):
    """Sorted heights of 0, 1 and all ends and crossings of the first `count` parts that lie between."""
    found = [0.0, 1.0]
    for i in range(count):
        found.append(min(max(ends[i, 1], 0.0), 1.0))
        found.append(min(max(ends[i, 3], 0.0), 1.0))
        ax, ay = ends[i, 2] - ends[i, 0], ends[i, 3] - ends[i, 1]
        for j in range(i + 1, count):
            bx, by = ends[j, 2] - ends[j, 0], ends[j, 3] - ends[j, 1]
            determinant = ax * by - ay * bx
            if determinant == 0.0:
                continue
            ox, oy = ends[j, 0] - ends[i, 0], ends[j, 1] - ends[i, 1]
            s, t = (ox * by - oy * bx) / determinant, (ox * ay - oy * ax) / determinant
            if 0.0 < s < 1.0 and 0.0 < t < 1.0:
                found.append(min(max(ends[i, 1] + s * ay, 0.0), 1.0))
    result = np.array(found)
    result.sort()
    return result


@njit(cache=True, nogil=True)
def slab_area(ends, spans, borders, count, corner, evenodd, moments):
    """Filled area of a pixel, and each part's share in the boundary of the filled region.

    Args:
        ends: (count, 4) x0 y0 x1 y1 of each part, relative to the pixel's upper left corner.
        spans: (count, 2) where on its piece each part begins and ends.
        borders: (count,) ENTER_LEFT and EXIT_LEFT of each part.
        count: number of parts.
        corner: winding number at the pixel's upper left corner.
        evenodd: the fill rule.
        moments: (count, 2) is overwritten with the integrals over the piece's parameter of weight and of weight times
            parameter; the weight is the area gained where the signed area to the right of the part grows by one.
    """
    area = 0.0
    order, places = np.empty(count, np.int64), np.empty(count)
    moments[:count] = 0.0
    breaks = _breaks(ends, count)
    for slab in range(len(breaks) - 1):
        top, bottom = breaks[slab], breaks[slab + 1]
        if bottom - top < _THINNEST:
            continue
        middle, winding, found = 0.5 * (top + bottom), corner, 0
        for i in range(count):
            y0, y1 = ends[i, 1], ends[i, 3]
            if borders[i] & ENTER_LEFT and y0 < middle:
                winding -= 1
            if borders[i] & EXIT_LEFT and y1 < middle:
                winding += 1
            if (y0 < middle) != (y1 < middle):
                place = ends[i, 0] + (middle - y0) / (y1 - y0) * (ends[i, 2] - ends[i, 0])
                k = found
                while k > 0 and places[k - 1] > place:
                    places[k], order[k] = places[k - 1], order[k - 1]
                    k -= 1
                places[k], order[k] = place, i
                found += 1
        left = 0.0
        for k in range(found):
            i = order[k]
            y0, y1 = ends[i, 1], ends[i, 3]
            sign = 1 if y1 > y0 else -1
            before, after = filled(winding, evenodd), filled(winding + sign, evenodd)
            place = min(max(places[k], 0.0), 1.0)
            area += before * (place - left) * (bottom - top)
            left, winding = place, winding + sign
            if after != before:
                scale = (spans[i, 1] - spans[i, 0]) / (y1 - y0)
                s, t = spans[i, 0] + (top - y0) * scale, spans[i, 0] + (bottom - y0) * scale
                weight = (after - before) * (t - s)
                moments[i, 0] += weight
                moments[i, 1] += weight * 0.5 * (s + t)
        area += filled(winding, evenodd) * (1.0 - left) * (bottom - top)
    return area


@njit(cache=True, nogil=True)
def pixel_area(ends, spans, borders, count, corner, evenodd, moments, exact_moments):
    """`slab_area`, with the moments of flat parts taken from upright slabs: level parts have none in level ones."""
    area = slab_area(ends, spans, borders, count, corner, evenodd, moments)
    if not exact_moments:
        return area
    turned, turned_moments = np.empty((count, 4)), np.empty((count, 2))
    turned_borders = np.empty(count, np.int32)
    for i in range(count):
        turned[i, 0], turned[i, 1], turned[i, 2], turned[i, 3] = ends[i, 1], ends[i, 0], ends[i, 3], ends[i, 2]
        enters, exits = borders[i] & ENTER_TOP, borders[i] & EXIT_TOP
        turned_borders[i] = (ENTER_LEFT if enters else 0) | (EXIT_LEFT if exits else 0)
    # Exchanging x and y mirrors the plane: winding numbers and the sense of "right" change sign.
    slab_area(turned, spans, turned_borders, count, -corner, evenodd, turned_moments)
    for i in range(count):
        if abs(ends[i, 3] - ends[i, 1]) < abs(ends[i, 2] - ends[i, 0]):
            moments[i, 0], moments[i, 1] = -turned_moments[i, 0], -turned_moments[i, 1]
    return area
