"""Compiled: what each path covers in each pixel row: spans, which are single edge pixels and runs of full pixels."""

import math

import numpy as np

from runtime.kernels.jit import inlined, inner
from runtime.vector.raster.kernels.cells import CELL_BITS, COLUMN_BITS, DOWN, LEFT, RIGHT, UP, WRAPS, cell_of
from runtime.vector.raster.kernels.pixel import PIXEL_EDGE, inside, pixel_area

_ON_BORDER = 1e-11
"""How close to an integer the mean winding number counts as an edge that runs along the pixel's border."""

_COLUMN = (1 << COLUMN_BITS) - 1

EXACT = 2
"""Slope of a span whose pixel the path crosses more than once: each of its edges has a slope of its own."""

SPAN = np.dtype(
    [
        ("coverage", np.float64),
        *((name, np.int32) for name in ("path", "first", "cells", "corner")),
        *((name, np.int16) for name in ("start", "stop", "slope")),
    ],
    align=True,
)
"""Coverage of the columns start to stop by one path, and its slope in the signed area (0 for full pixels); of an edge
pixel the number of cells, the winding number at its upper left corner, and the only cell or, where there are several
or the slope is EXACT, the first one's place among the keys."""


@inner
def simple_coverage(mean, mask, evenodd):
    """Coverage and slope of a pixel with one cell, across which the winding number changes by one.

    Twin: `reference.spans.simple_coverage`.

    Args:
        mean: mean winding number in the pixel: the cover of all cells to its left, and its own area.
        mask: of the cell.
        evenodd: whether the path's rule is even-odd.
    """
    # By `math`: a graphics card compiles it, too, and has no `rint` of NumPy's.
    near = np.int64(math.floor(mean + 0.5))
    low = np.int64(math.floor(mean))
    if abs(mean - near) < _ON_BORDER:
        # An edge on a border is the left or upper border of its pixel, which then lies on the side of the higher
        # winding number if the edge goes down or left.
        low = near - 1 if mask & (DOWN | LEFT) else near
    below = inside(low, evenodd)
    above = inside(low + 1, evenodd)
    return below + (above - below) * (mean - low), above - below


@inlined
def _is_simple(mask, count):
    """Whether a cell cannot cross itself: two parts, or all parts going one way along one axis."""
    # Two parts in succession share an end, and lines meet once. A chain that never turns back along an axis is a graph.
    return count <= 2 or not (mask & DOWN and mask & UP) or not (mask & LEFT and mask & RIGHT)


@inner
def gather_edges(edges, bands, band, span, row):
    """All parts in the pixel of a span in a row, as PIXEL_EDGE.

    Twin: `reference.spans.gather_edges`.
    """
    count = 0
    for k in range(span.first, span.first + span.cells):
        count += bands.cells[cell_of(bands, band, bands.keys[k])].count
    # `place` and `order` stay unset: each slab writes what it reads.
    gathered = np.empty(count, PIXEL_EDGE)
    n = 0
    for k in range(span.first, span.first + span.cells):
        cell = bands.cells[cell_of(bands, band, bands.keys[k])]
        for p in range(cell.part, cell.part + cell.count):
            part = bands.parts[p]
            target = gathered[n]
            edge = edges[bands.entries[part.entry]]
            dx = edge.x1 - edge.x0
            dy = edge.y1 - edge.y0
            target.x0 = edge.x0 + part.s * dx - span.start
            target.y0 = edge.y0 + part.s * dy - row
            target.x1 = edge.x0 + part.t * dx - span.start
            target.y1 = edge.y0 + part.t * dy - row
            target.s = part.s
            target.t = part.t
            target.borders = part.borders
            target.entry = part.entry
            target.zeroth = 0.0
            target.first = 0.0
            n += 1
    return gathered


@inner
def _add_run(spans, n, start, stop, path, cover, rule):
    """Append the run from start to stop if it has pixels and they are inside; returns the number of spans."""
    # Contours are closed, so between edge pixels the cover is a whole number but for rounding.
    if stop <= start or inside(int(np.rint(cover)), rule) == 0.0:
        return n
    span = spans[n]
    span.start = start
    span.stop = stop
    span.path = path
    span.cells = 0
    span.coverage = 1.0
    span.slope = 0
    return n + 1


@inner
def sweep_row(bands, band, first, last, evenodd, spans, n):  # noqa: PLR0915
    """Append one row's spans, lowest path first: sweep over its sorted cells from left to right, path by path.

    Twin: `reference.spans.sweep_row`.

    Args:
        bands: with sorted keys.
        band: the row's.
        first: the row's first key.
        last: the key after the row's last.
        evenodd: (P,) whether a path's rule is even-odd.
        spans: filled in from index n on; those of slope EXACT have no coverage yet.
        n: see above.

    Returns: the end of the row's spans, and the number of those without coverage.
    """
    path = np.int64(-1)
    column = np.int64(0)
    rule = np.int64(0)
    cover = 0.0
    corner = 0
    pending = 0
    # Two spans a cell are enough: its pixel and a run after it; before a path's first cell the winding number is 0.
    while first < last:
        pixel = bands.keys[first] >> CELL_BITS
        if pixel >> COLUMN_BITS != path:
            if path >= 0:
                n = _add_run(spans, n, column, band.width, path, cover, rule)
            path = pixel >> COLUMN_BITS
            column = np.int64(0)
            cover = 0.0
            corner = 0
            rule = evenodd[path]
        here = (pixel & _COLUMN) - 1
        begin = first
        mask = 0
        count = 0
        wraps = 0
        area = 0.0
        height = 0.0
        top = 0
        while first < last and bands.keys[first] >> CELL_BITS == pixel:
            cell = bands.cells[cell_of(bands, band, bands.keys[first])]
            mask |= cell.mask
            wraps += 1 if cell.mask & WRAPS else 0
            count += cell.count
            height += cell.cover
            area += cell.area
            top += cell.top
            first += 1
        if here >= 0:
            n = _add_run(spans, n, column, here, path, cover, rule)
            span = spans[n]
            cells = first - begin
            span.start = here
            span.stop = here + 1
            span.path = path
            span.cells = cells
            span.first = begin
            span.corner = corner
            # A contour that begins and ends in this pixel has two cells here, which are one visit.
            if (cells == 1 or (cells == 2 and wraps == 2)) and _is_simple(mask, count):
                coverage, slope = simple_coverage(cover + area, mask, rule)
                span.coverage = coverage
                span.slope = np.int16(slope)
                if cells == 1:
                    # The cell itself, so that the backward pass needs no key.
                    span.first = cell_of(bands, band, bands.keys[begin])
            else:
                span.coverage = 0.0
                span.slope = EXACT
                pending += 1
            n += 1
            column = here + 1
        # The corner's winding number is counted in whole numbers: rounding must not change which side is inside.
        cover += height
        corner += top
    if path >= 0:
        n = _add_run(spans, n, column, band.width, path, cover, rule)
    return n, pending


@inner
def cover_exactly(edges, bands, band, row, evenodd, spans, stretch):
    """Find the coverage of those of a row's spans, `stretch` (first, last + 1), whose slope is EXACT.

    Twin: `reference.spans.cover_exactly`.
    """
    for k in range(stretch[0], stretch[1]):
        if spans[k].slope == EXACT:
            gathered = gather_edges(edges, bands, band, spans[k], row)
            spans[k].coverage = pixel_area(gathered, spans[k].corner, evenodd[spans[k].path])
