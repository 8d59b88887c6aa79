"""Compiled: the fill rule applied exactly within one pixel that a path visits more than once.

The pixel is cut into slabs at every end and crossing of the path's parts in it. Within a slab the parts keep their
order from left to right, so that the filled region is a row of trapezoids.
"""

import numpy as np

from runtime.vector.raster.kernels.cells import ENTER_LEFT, ENTER_TOP, EXIT_LEFT, EXIT_TOP
from runtime.vector.raster.kernels.jit import inner

_THINNEST = 1e-13
"""Height in pixels below which a slab is skipped."""

EDGE = np.dtype(
    [
        *((name, np.float64) for name in ("x0", "y0", "x1", "y1", "s", "t", "zeroth", "first", "place")),
        *((name, np.int64) for name in ("borders", "entry", "order")),
    ]
)
"""A part in one pixel: its ends relative to the upper left corner; where on its piece it begins and ends; its moments
(the integrals over the piece's parameter of weight and of weight times parameter, the weight being the area gained
where the signed area to the part's right grows by one); place and order in the slab; borders crossed; entry."""


@inner
def filled(winding, evenodd):
    """1.0 where the winding number is inside, 0.0 where outside."""
    if evenodd:
        return 1.0 if winding & 1 else 0.0
    return 1.0 if winding != 0 else 0.0


@inner
def _insert(breaks, count, value):
    """Add a height between 0 and 1 to the sorted heights; returns their number."""
    if not 0.0 < value < 1.0:
        return count
    k = count
    while breaks[k - 1] > value:
        breaks[k] = breaks[k - 1]
        k -= 1
    breaks[k] = value
    return count + 1


@inner
def _find_breaks(edges, breaks):
    """Write the sorted heights of 0 and all ends and crossings, then 1; returns their number."""
    breaks[0], found = 0.0, np.int64(1)
    for i in range(len(edges)):
        a = edges[i]
        found = _insert(breaks, found, a.y0)
        found = _insert(breaks, found, a.y1)
        ax, ay = a.x1 - a.x0, a.y1 - a.y0
        for j in range(i):
            b = edges[j]
            bx, by = b.x1 - b.x0, b.y1 - b.y0
            determinant = ax * by - ay * bx
            if determinant != 0.0:
                ox, oy = b.x0 - a.x0, b.y0 - a.y0
                s, t = (ox * by - oy * bx) / determinant, (ox * ay - oy * ax) / determinant
                if 0.0 < s < 1.0 and 0.0 < t < 1.0:
                    found = _insert(breaks, found, a.y0 + s * ay)
    breaks[found] = 1.0
    return found + 1


@inner
def _sort_slab(edges, middle, winding):
    """Order the edges that cross the slab from left to right; returns their number and the left's winding number."""
    found = 0
    for i in range(len(edges)):
        edge = edges[i]
        if edge.borders & ENTER_LEFT and edge.y0 < middle:
            winding -= 1
        if edge.borders & EXIT_LEFT and edge.y1 < middle:
            winding += 1
        if (edge.y0 < middle) != (edge.y1 < middle):
            place = edge.x0 + (middle - edge.y0) / (edge.y1 - edge.y0) * (edge.x1 - edge.x0)
            k = found
            while k > 0 and edges[k - 1].place > place:
                edges[k].place, edges[k].order = edges[k - 1].place, edges[k - 1].order
                k -= 1
            edges[k].place, edges[k].order = place, i
            found += 1
    return found, winding


@inner
def _walk_slab(edges, found, winding, evenodd, top, bottom, sign):
    """Filled length at the middle of a slab; adds sign times its part of the steep edges' moments."""
    length, left, before = 0.0, 0.0, filled(winding, evenodd)
    for k in range(found):
        edge = edges[edges[k].order]
        height = edge.y1 - edge.y0
        winding += 1 if height > 0.0 else -1
        after = filled(winding, evenodd)
        place = min(max(edges[k].place, 0.0), 1.0)
        length += before * (place - left)
        left = place
        steep, wide = abs(height), abs(edge.x1 - edge.x0)
        if after != before and (steep > wide or (steep == wide and sign > 0.0)):
            scale = (edge.t - edge.s) / height
            s, t = edge.s + (top - edge.y0) * scale, edge.s + (bottom - edge.y0) * scale
            weight = sign * (after - before) * (t - s)
            edge.zeroth += weight
            edge.first += weight * 0.5 * (s + t)
        before = after
    return length + before * (1.0 - left)


@inner
def _slab_area(edges, corner, evenodd, sign):
    """Filled area of a pixel; adds sign times the moments of its steep edges."""
    breaks = np.empty(3 + len(edges) * (len(edges) + 3) // 2)
    area = 0.0
    for slab in range(_find_breaks(edges, breaks) - 1):
        top, bottom = breaks[slab], breaks[slab + 1]
        if bottom - top > _THINNEST:
            found, winding = _sort_slab(edges, 0.5 * (top + bottom), np.int64(corner))
            area += (bottom - top) * _walk_slab(edges, found, winding, evenodd, top, bottom, sign)
    return area


@inner
def pixel_area(edges, corner, evenodd):
    """Filled area of a pixel given a path's edges in it and the winding number at its upper left corner."""
    return _slab_area(edges, corner, evenodd, 1.0)


@inner
def find_moments(edges, corner, evenodd):
    """Fill in the edges' moments: of steep ones by level slabs, of flat ones by upright slabs. Spoils the ends."""
    _slab_area(edges, corner, evenodd, 1.0)
    for i in range(len(edges)):
        edge = edges[i]
        edge.x0, edge.y0 = edge.y0, edge.x0
        edge.x1, edge.y1 = edge.y1, edge.x1
        enters, exits = edge.borders & ENTER_TOP, edge.borders & EXIT_TOP
        edge.borders = (ENTER_LEFT if enters else 0) | (EXIT_LEFT if exits else 0)
    # Exchanging x and y mirrors the plane: winding numbers and the sense of "right" change sign.
    _slab_area(edges, -corner, evenodd, -1.0)
