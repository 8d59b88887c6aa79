"""Compiled: what each path covers in each pixel row: strips, which are single edge pixels and runs of full pixels."""

import numpy as np

from runtime.vector.raster.kernels.cells import COLUMN_BITS, DOWN, LEFT, RIGHT, UP, VISIT_BITS, WRAPS
from runtime.vector.raster.kernels.jit import inner
from runtime.vector.raster.kernels.pixel import EDGE, filled, pixel_area

_ON_BORDER = 1e-11
"""How close to an integer the mean winding number counts as an edge that runs along the pixel's border."""

_VISIT, _COLUMN = (1 << VISIT_BITS) - 1, (1 << COLUMN_BITS) - 1

EXACT = 2
"""Slope of a strip whose pixel the path visits more than once: each of its edges has a slope of its own."""

STRIP = np.dtype(
    [
        ("cover", np.float64),
        *((name, np.int32) for name in ("path", "first", "number", "corner")),
        *((name, np.int16) for name in ("start", "stop", "slope")),
    ],
    align=True,
)
"""Coverage of the columns start to stop by one path, and its slope in the signed area (0 for full pixels); of an edge
pixel the number of visits, the winding number at its upper left corner, and the only visit or, where there are several
or the slope is EXACT, the first one's place among the keys."""


@inner
def _simple_cover(mean, mask, evenodd):
    """Coverage and slope of a pixel with one visit, across which the winding number changes by one."""
    near = np.rint(mean)
    if abs(mean - near) < _ON_BORDER:
        low = int(near) - 1 if mask & (DOWN | LEFT) else int(near)
    else:
        low = int(np.floor(mean))
    below, above = filled(low, evenodd), filled(low + 1, evenodd)
    return below + (above - below) * (mean - low), above - below


@inner
def _is_simple(mask, count):
    """Whether a visit cannot cross itself: two parts, or all parts going one way along one axis."""
    return count <= 2 or not (mask & DOWN and mask & UP) or not (mask & LEFT and mask & RIGHT)


@inner
def gather_edges(pieces, entries, visits, parts, keys, at, strip, row):
    """All parts in the pixel of a strip as EDGE; `at` is the job's first visit."""
    count, n = 0, 0
    for v in range(strip.first, strip.first + strip.number):
        count += visits[at + (keys[v] & _VISIT)].count
    edges = np.empty(count, EDGE)
    for v in range(strip.first, strip.first + strip.number):
        visit = visits[at + (keys[v] & _VISIT)]
        for k in range(visit.part, visit.part + visit.count):
            part, edge = parts[k], edges[n]
            piece = pieces[entries[part.entry]]
            dx, dy = piece.x1 - piece.x0, piece.y1 - piece.y0
            edge.x0, edge.y0 = piece.x0 + part.s * dx - strip.start, piece.y0 + part.s * dy - row
            edge.x1, edge.y1 = piece.x0 + part.t * dx - strip.start, piece.y0 + part.t * dy - row
            edge.s, edge.t, edge.borders, edge.entry = part.s, part.t, part.borders, part.entry
            edge.zeroth, edge.first = 0.0, 0.0
            n += 1
    return edges


@inner
def _full_strip(strip, start, stop, path):
    strip.start, strip.stop, strip.path, strip.number, strip.cover, strip.slope = start, stop, path, 0, 1.0, 0


@inner
def find_strips(visits, at, keys, first, last, evenodd, width, strips, n):
    """Append one row's strips, lowest path first.

    Args:
        visits: all visits.
        at: the job's first visit.
        keys: sorted keys.
        first: the row's first key.
        last: the key after the row's last.
        evenodd: (P,) whether a path's rule is even-odd.
        width: of the picture.
        strips: filled in from index n on; those of slope EXACT still lack their coverage.
        n: see above.

    Returns: the end of the row's strips, and the number of those that lack their coverage.
    """
    path, column, rule, cover = np.int64(-1), np.int64(0), np.int64(0), 0.0
    corner, lacking = 0, 0
    while first < last:
        place = keys[first] >> VISIT_BITS
        if place >> COLUMN_BITS != path:
            if path >= 0 and column < width and filled(int(np.rint(cover)), rule) > 0.0:
                _full_strip(strips[n], column, width, path)
                n += 1
            path = place >> COLUMN_BITS
            column, cover, corner, rule = np.int64(0), 0.0, 0, evenodd[path]
        here = (place & _COLUMN) - 1
        begin, mask, count, wraps, area, height, top = first, 0, 0, 0, 0.0, 0.0, 0
        while first < last and keys[first] >> VISIT_BITS == place:
            visit = visits[at + (keys[first] & _VISIT)]
            mask |= visit.mask
            wraps += 1 if visit.mask & WRAPS else 0
            count, height, area, top = count + visit.count, height + visit.cover, area + visit.area, top + visit.top
            first += 1
        if here >= 0:
            if here > column and filled(int(np.rint(cover)), rule) > 0.0:
                _full_strip(strips[n], column, here, path)
                n += 1
            strip, number = strips[n], first - begin
            strip.start, strip.stop, strip.path, strip.number = here, here + 1, path, number
            strip.first, strip.corner = begin, corner
            if (number == 1 or (number == 2 and wraps == 2)) and _is_simple(mask, count):
                strip.cover, slope = _simple_cover(cover + area, mask, rule)
                strip.slope = np.int16(slope)
                if number == 1:
                    strip.first = at + (keys[begin] & _VISIT)
            else:
                strip.cover, strip.slope = 0.0, EXACT
                lacking += 1
            n += 1
            column = here + 1
        cover += height
        corner += top
    if path >= 0 and column < width and filled(int(np.rint(cover)), rule) > 0.0:
        _full_strip(strips[n], column, width, path)
        n += 1
    return n, lacking


@inner
def fill_lacking(pieces, entries, visits, parts, keys, at, evenodd, row, strips, begin, end):
    """Find the coverage of strips that lack it."""
    for k in range(begin, end):
        if strips[k].slope == EXACT:
            edges = gather_edges(pieces, entries, visits, parts, keys, at, strips[k], row)
            strips[k].cover = pixel_area(edges, strips[k].corner, evenodd[strips[k].path])
