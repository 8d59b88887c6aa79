"""Compiled: the fill rule applied exactly within one pixel that a path crosses more than once.

The pixel is cut into slabs at every end and intersection of the path's edges in it. Within a slab the edges keep their
order from left to right, so that the filled region is a row of trapezoids.
"""

import numpy as np

from runtime.kernels.jit import inner
from runtime.vector.raster.kernels.cells import ENTER_LEFT, ENTER_TOP, EXIT_LEFT, EXIT_TOP

_THINNEST = 1e-13
"""Height in pixels below which a slab is skipped."""

PIXEL_EDGE = np.dtype(
    [
        *((name, np.float64) for name in ("x0", "y0", "x1", "y1", "s", "t", "zeroth", "first", "place")),
        *((name, np.int64) for name in ("borders", "entry", "order")),
    ]
)
"""An edge's part in one pixel: its ends relative to the upper left corner; where on the edge it begins and ends; its
moments (the integrals over the edge's parameter of weight and of weight times parameter, the weight being the area
gained where the signed area to the part's right grows by one); place and order in the slab; borders crossed; entry."""


@inner
def inside(winding, evenodd):
    """1.0 where the winding number is inside, 0.0 where outside.

    Twin: `reference.pixel.inside`.
    """
    if evenodd:
        return 1.0 if winding & 1 else 0.0
    return 1.0 if winding != 0 else 0.0


@inner
def _insert(breaks, count, value):
    """Add a height between 0 and 1 to the sorted heights; returns their number."""
    if not 0.0 < value < 1.0:
        return count
    k = count
    # It stops at breaks[0] at the latest, which is 0 and below any value that gets here.
    while breaks[k - 1] > value:
        breaks[k] = breaks[k - 1]
        k -= 1
    breaks[k] = value
    return count + 1


@inner
def _find_breaks(edges, breaks):
    """Write the sorted heights of 0 and all ends and intersections, then 1; returns their number."""
    breaks[0] = 0.0
    count = np.int64(1)
    for i in range(len(edges)):
        a = edges[i]
        count = _insert(breaks, count, a.y0)
        count = _insert(breaks, count, a.y1)
        ax = a.x1 - a.x0
        ay = a.y1 - a.y0
        for j in range(i):
            b = edges[j]
            bx = b.x1 - b.x0
            by = b.y1 - b.y0
            determinant = ax * by - ay * bx
            # Parallel edges never change places, so they need no break.
            if determinant != 0.0:
                ox = b.x0 - a.x0
                oy = b.y0 - a.y0
                s = (ox * by - oy * bx) / determinant
                t = (ox * ay - oy * ax) / determinant
                if 0.0 < s < 1.0 and 0.0 < t < 1.0:
                    count = _insert(breaks, count, a.y0 + s * ay)
    breaks[count] = 1.0
    return count + 1


@inner
def _sort_slab(edges, middle, winding):
    """Order the edges that cross the slab from left to right; returns their number and the left's winding number."""
    count = 0
    for i in range(len(edges)):
        edge = edges[i]
        # Down the left border from the corner: the winding number falls across an edge that comes in and rises across
        # one that goes out, because below an edge that goes right it is lower by one.
        if edge.borders & ENTER_LEFT and edge.y0 < middle:
            winding -= 1
        if edge.borders & EXIT_LEFT and edge.y1 < middle:
            winding += 1
        if (edge.y0 < middle) != (edge.y1 < middle):
            # No division by zero: the ends lie on different sides of the middle.
            place = edge.x0 + (middle - edge.y0) / (edge.y1 - edge.y0) * (edge.x1 - edge.x0)
            # Slot k holds the place and the number of the k-th edge from the left, not those of edge k.
            k = count
            while k > 0 and edges[k - 1].place > place:
                edges[k].place = edges[k - 1].place
                edges[k].order = edges[k - 1].order
                k -= 1
            edges[k].place = place
            edges[k].order = i
            count += 1
    return count, winding


@inner
def _integrate_slab(edges, count, winding, evenodd, slab, sign):
    """Filled length at the middle of a slab (top, bottom); adds sign times its part of the steep edges' moments."""
    top, bottom = slab
    length = 0.0
    left = 0.0
    before = inside(winding, evenodd)
    for k in range(count):
        edge = edges[edges[k].order]
        height = edge.y1 - edge.y0
        winding += 1 if height > 0.0 else -1
        after = inside(winding, evenodd)
        place = min(max(edges[k].place, 0.0), 1.0)
        length += before * (place - left)
        left = place
        steep = abs(height)
        wide = abs(edge.x1 - edge.x0)
        # An edge has its moments from the pass in which it is steep, as division by a small height magnifies rounding.
        # A tie goes to the first pass, whose sign is positive: it must not count twice.
        if after != before and (steep > wide or (steep == wide and sign > 0.0)):
            scale = (edge.t - edge.s) / height
            s = edge.s + (top - edge.y0) * scale
            t = edge.s + (bottom - edge.y0) * scale
            # For an upward edge t < s, which makes up for the winding number falling across it.
            weight = sign * (after - before) * (t - s)
            edge.zeroth += weight
            edge.first += weight * 0.5 * (s + t)
        before = after
    return length + before * (1.0 - left)


@inner
def _integrate_slabs(edges, corner, evenodd, sign, breaks):
    """Filled area of a pixel; adds sign times the moments of its steep edges.

    `breaks` is working space, enough for 0, 1, two ends of each edge and an intersection of each pair: the caller's,
    since on a graphics card a function can make none.
    """
    area = 0.0
    for k in range(_find_breaks(edges, breaks) - 1):
        top = breaks[k]
        bottom = breaks[k + 1]
        if bottom - top > _THINNEST:
            count, winding = _sort_slab(edges, 0.5 * (top + bottom), np.int64(corner))
            area += (bottom - top) * _integrate_slab(edges, count, winding, evenodd, (top, bottom), sign)
    return area


@inner
def pixel_area(edges, corner, evenodd):
    """Filled area of a pixel given a path's edges in it and the winding number at its upper left corner.

    Twin: `reference.pixel.pixel_area`.
    """
    return _integrate_slabs(edges, corner, evenodd, 1.0, _make_breaks(len(edges)))


@inner
def _make_breaks(count):
    """Working space of `_integrate_slabs` for so many edges."""
    return np.empty(3 + count * (count + 3) // 2)


@inner
def pixel_moments(edges, corner, evenodd):
    """Fill in the edges' moments: of steep ones by level slabs, of flat ones by upright slabs. Spoils the ends.

    Twin: `reference.pixel.pixel_moments`.
    """
    breaks = _make_breaks(len(edges))
    _integrate_slabs(edges, corner, evenodd, 1.0, breaks)
    for i in range(len(edges)):
        edge = edges[i]
        x0 = edge.x0
        x1 = edge.x1
        edge.x0 = edge.y0
        edge.y0 = x0
        edge.x1 = edge.y1
        edge.y1 = x1
        enters = edge.borders & ENTER_TOP
        exits = edge.borders & EXIT_TOP
        edge.borders = (ENTER_LEFT if enters else 0) | (EXIT_LEFT if exits else 0)
    # Exchanging x and y mirrors the plane: winding numbers and the sense of "right" change sign.
    _integrate_slabs(edges, -corner, evenodd, -1.0, breaks)
