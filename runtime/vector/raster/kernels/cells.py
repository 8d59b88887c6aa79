"""Compiled: which pixels each edge crosses, and what it accumulates there: cover and area, as in FreeType.

The picture is cut into bands of rows. A band is a job that writes nothing that another band reads or writes, so that
the bits of a result don't depend on how many threads share the jobs. Within a band an edge is cut at pixel borders
into *parts*. Consecutive parts of a contour in one pixel form a *cell*, which holds the integral of height (`cover`)
and the signed area to its right within the pixel (`area`).
"""

from typing import NamedTuple

import numpy as np

from runtime.kernels.jit import inlined, inner
from runtime.vector.raster.kernels.outline import FIRST, LAST

BAND = 32
"""Rows of a band. Part of the numerics: sums over bands are added in order."""

DOWN, UP, RIGHT, LEFT, WRAPS = 1, 2, 4, 8, 16
"""Bits of a cell's mask: directions of its parts; whether it begins or ends a contour that closes in this pixel."""

ENTER_LEFT, EXIT_LEFT, ENTER_TOP, EXIT_TOP, CLIPPED_BELOW = 1, 2, 4, 8, 16
"""Bits of a part's borders: which of the pixel's left and upper border it crosses, in or out; whether the band's lower
border cuts it."""

# int16 is enough for columns and rows: a picture has at most 16384 of each.
CELL = np.dtype(
    [
        *((name, np.int16) for name in ("column", "row", "top", "mask")),
        *((name, np.int32) for name in ("path", "part", "count")),
        ("cover", np.float64),
        ("area", np.float64),
    ],
    align=True,
)
"""Column (-1: left of the picture), row, crossings of the upper border (downward +1), mask, path, first part,
number of parts, and the two sums."""

PART = np.dtype([("entry", np.int32), ("borders", np.int32), ("s", np.float64), ("t", np.float64)], align=True)
"""Entry of the edge, borders crossed, and where on the edge the part begins and ends."""


class Bands(NamedTuple):
    """The edges, cells and parts of all bands of all scenes. Job j = scene * bands of a scene + band.

    Threads share these arrays without locks: each job reads and writes its own stretch of each alone, from its `first`
    on and its own rows, which are laid out before the threads begin.
    """

    entries: np.ndarray
    """(N,) int32: the edge of each entry, an entry being an edge in a band that it touches, job by job."""
    entry_firsts: np.ndarray
    """(J + 1,) int64: first entry of each job."""
    firsts: np.ndarray
    """(J + 1,) int64: where each job's parts and cells begin: capacities, not counts."""
    rows: np.ndarray
    """(B * H,) int64: number of cells in each pixel row; after `sort_cells` the end of the row's keys."""
    cells: np.ndarray
    """(M,) CELL."""
    keys: np.ndarray
    """(M,) int64: path, column and number of each cell, sorted by row, path and column; see `sort_cells`."""
    parts: np.ndarray
    """(M,) PART."""


class Band(NamedTuple):
    """One band of one scene."""

    job: int
    scene: int
    top: int
    """The band's first row in the picture."""
    bottom: int
    """The row after its last."""
    width: int
    """Of the picture."""
    row: int
    """The band's first row, counted through all scenes."""
    path: int
    """The scene's first path, counted through all scenes."""
    first: int
    """The band's first cell and part."""


@inlined
def locate_band(bands, job, paths, size):
    """The band of a job, in a drawing of so many paths, in a picture of height and width `size`.

    Twin: `reference.cells.locate_band`.
    """
    height, width = size
    per_scene = (height + BAND - 1) // BAND
    scene = job // per_scene
    top = job % per_scene * BAND
    bottom = min(top + BAND, height)
    return Band(job, scene, top, bottom, width, scene * height + top, scene * paths, bands.firsts[job])


@inner
def _clamped(value, low, high):
    """The value's floor as an integer between two bounds, safe for any finite value."""
    return int(np.floor(min(max(value, float(low)), float(high))))


@inner
def count_entries(edges, ranges, paths, size, entry_firsts, firsts):
    """Find which bands each edge touches, how many edges each band has, and room for their cells.

    Twin: `reference.cells.count_entries`.

    Args:
        edges: all edges; `low` and `high` are written.
        ranges: (B * P, 2) first edge of each path of each scene, and the one after its last.
        paths: P.
        size: height and width of the picture.
        entry_firsts: (J + 1,) int64 zeros, written: see `Bands`.
        firsts: (J + 1,) int64 zeros, written: see `Bands`.
    """
    height, width = size
    per_scene = (height + BAND - 1) // BAND
    for path in range(len(ranges)):
        # Counted one place further on, so that the running sums below are each job's first.
        job = path // paths * per_scene + 1
        for e in range(ranges[path, 0], ranges[path, 1]):
            edge = edges[e]
            top = _clamped(min(edge.y0, edge.y1), -1, height)
            bottom = _clamped(max(edge.y0, edge.y1), -1, height)
            # An edge changes the winding number to its right alone: one beyond the right border changes no pixel, one
            # left of the picture changes whole rows.
            if bottom < 0 or top >= height or min(edge.x0, edge.x1) >= width:
                edge.low = 0
                edge.high = -1
                continue
            top = max(top, 0)
            bottom = min(bottom, height - 1)
            # One part for each border crossed, one more, and one for an end that rounding puts beyond a border.
            columns = abs(_clamped(edge.x1, -1, width) - _clamped(edge.x0, -1, width)) + 2
            edge.low = top // BAND
            edge.high = bottom // BAND
            for band in range(edge.low, edge.high + 1):
                entry_firsts[job + band] += 1
                firsts[job + band] += min(bottom, band * BAND + BAND - 1) - max(top, band * BAND) + columns
    for job in range(len(firsts) - 1):
        entry_firsts[job + 1] += entry_firsts[job]
        firsts[job + 1] += firsts[job]


@inner
def fill_entries(edges, ranges, paths, per_scene, fill, entries):
    """Write each band's edges into `entries`; `fill` is a copy of `Bands.entry_firsts`, used up.

    Twin: `reference.cells.fill_entries`.
    """
    # Edges stay in their order in each band: `accumulate_cells` needs a contour's edges one after another.
    for path in range(len(ranges)):
        job = path // paths * per_scene
        for e in range(ranges[path, 0], ranges[path, 1]):
            for band in range(edges[e].low, edges[e].high + 1):
                entries[fill[job + band]] = e
                fill[job + band] += 1


@inner
def _clip(y0, y1, top, bottom):
    """Rows where an edge begins and ends within [top, bottom), the parameters and the borders crossed there."""
    # Two bands cut an edge at their common border by the same formula, so both get the same bits and no gap. A level
    # edge lies inside its only band and is not cut.
    scale = 1.0 / (y1 - y0) if y1 != y0 else 0.0
    first = _clamped(y0, top - 1, bottom + 1)
    s0 = 0.0
    enters = 0
    last = _clamped(y1, top - 1, bottom + 1)
    s1 = 1.0
    leaves = 0
    if first < top:
        first = top
        s0 = (top - y0) * scale
        enters = ENTER_TOP
    elif first >= bottom:
        first = bottom - 1
        s0 = (bottom - y0) * scale
        enters = CLIPPED_BELOW
    if last < top:
        last = top
        s1 = (top - y0) * scale
        leaves = EXIT_TOP
    elif last >= bottom:
        last = bottom - 1
        s1 = (bottom - y0) * scale
        leaves = CLIPPED_BELOW
    return first, s0, enters, last, s1, leaves


@inner
def _open_cell(cell, row, column, path, part):
    cell.row = row
    cell.column = column
    cell.path = path
    cell.part = part
    cell.count = 0
    cell.top = 0
    cell.mask = 0
    cell.cover = 0.0
    cell.area = 0.0


@inner
def _add_part(cell, part, edge, entry, borders, mask, s, t):
    """Add the part s to t of an edge to a cell; writes it unless the cell is left of the picture."""
    height = (t - s) * (edge.y1 - edge.y0)
    # Left of the picture only height and crossings count: they reach all pixels of the row, whatever the place.
    cell.cover += height
    cell.top += (1 if borders & ENTER_TOP else 0) - (1 if borders & EXIT_TOP else 0)
    if cell.column >= 0:
        # Exact: along a straight part the mean distance to the pixel's right border is that of its middle.
        cell.area += height * (cell.column + 1 - (edge.x0 + 0.5 * (edge.x1 - edge.x0) * (s + t)))
        cell.count += 1
        cell.mask |= mask
        part.entry = entry
        part.borders = borders
        part.s = s
        part.t = t


@inner
def _directions(dx, dy):
    """A cell's mask for an edge's direction."""
    return (DOWN if dy > 0 else 0) | (UP if dy < 0 else 0) | (RIGHT if dx > 0 else 0) | (LEFT if dx < 0 else 0)


# In `accumulate_cells`, pixels are counted from the edge's two ends, so that the walk ends in the last one however
# parameters are rounded. Each parameter is computed from its border itself, since added steps would add up errors. What
# comes in over a band's border is a new visit, even of the pixel where the contour left: a new cell. A border belongs
# to the pixel right of it or below it, so that each crossing is counted once. Rows and parts are this job's own.
@inner
def accumulate_cells(edges, bands, band):  # noqa: PLR0912, PLR0915
    """Fill in the cells of one band and count them by row (all 0 before); returns the index after the last cell.

    An edge is followed from pixel to pixel: `across` columns and `along` rows remain; the next border is whichever of
    the two comes first. A cell lasts as long as the contour stays in its pixel. A contour that closes where it began
    has one cell at its start and one at its end in the same pixel, which `sweep_row` takes for one.

    Twin: `reference.cells.accumulate_cells`.
    """
    cells = bands.cells
    parts = bands.parts
    width = band.width
    cell = band.first - 1
    part = band.first
    begin = -1
    open_row = -1
    open_column = -2
    for entry in range(bands.entry_firsts[band.job], bands.entry_firsts[band.job + 1]):
        edge = edges[bands.entries[entry]]
        x0 = edge.x0
        y0 = edge.y0
        dx = edge.x1 - x0
        dy = edge.y1 - y0
        row, s, borders, last_row, end, leaves = _clip(y0, edge.y1, band.top, band.bottom)
        column = _clamped(x0 + dx * s, -1, width)
        last_column = _clamped(x0 + dx * end, -1, width)
        right = 1 if last_column > column else 0
        down = 1 if last_row > row else 0
        across = abs(last_column - column)
        along = abs(last_row - row)
        mask = _directions(dx, dy)
        if edge.mark & FIRST:
            begin = -1
        if borders or edge.mark & FIRST:
            open_column = -2
        while True:
            done = across == 0 and along == 0
            sideways = False
            stop = end
            if done:
                borders |= leaves
            else:
                sx = (column + right - x0) / dx if across > 0 else 2.0
                sy = (row + down - y0) / dy if along > 0 else 2.0
                sideways = across > 0 and sx < sy
                stop = min(max(sx if sideways else sy, s), end)
                borders |= (0 if right else EXIT_LEFT) if sideways else (0 if down else EXIT_TOP)
            if column >= width:
                open_column = -2
            else:
                if row != open_row or column != open_column:
                    cell += 1
                    open_row = row
                    open_column = column
                    _open_cell(cells[cell], row, column, edge.path - band.path, part)
                    bands.rows[band.row + row - band.top] += 1
                    if begin < 0 and s == 0.0 and edge.mark & FIRST:
                        begin = cell
                _add_part(cells[cell], parts[part], edge, entry, borders, mask, s, stop)
                part += 1 if column >= 0 else 0
            if done:
                break
            s = stop
            if sideways:
                column += 2 * right - 1
                across -= 1
                borders = ENTER_LEFT if right else 0
            else:
                row += 2 * down - 1
                along -= 1
                borders = ENTER_TOP if down else 0
        if edge.mark & LAST and not leaves and begin >= 0 and begin != cell:
            first = cells[begin]
            last = cells[cell]
            if open_row == first.row and open_column == first.column and last.row == first.row:
                first.mask |= WRAPS
                last.mask |= WRAPS
        if leaves:
            open_column = -2
    return cell + 1


# 16384 columns and the one left of the picture fit into 15 bits; beside the sign, 20 bits are left for the path.
COLUMN_BITS, CELL_BITS = 15, 28
"""A key holds the path, the column plus one, and the cell's number within its job, from high bits to low."""


@inner
def sort_cells(bands, band, end):
    """Write the keys of a band's cells, up to before `end`, row by row, each row sorted by path and column.

    `Bands.rows` has the number of cells of each row, and becomes the end of each row's keys.

    Twin: `reference.cells.sort_cells`.
    """
    rows = bands.rows[band.row : band.row + band.bottom - band.top]
    keys = bands.keys
    start = band.first
    for row in range(len(rows)):
        start += rows[row]
        rows[row] = start - rows[row]
    for c in range(band.first, end):
        cell = bands.cells[c]
        place = rows[cell.row - band.top]
        rows[cell.row - band.top] = place + 1
        # The number makes all keys different: their order, and that of the sums over a pixel's cells, is unique.
        keys[place] = (((cell.path << COLUMN_BITS) | (cell.column + 1)) << CELL_BITS) | (c - band.first)
    # Insertion: the cells of a row come nearly in order, as paths do.
    start = band.first
    for row in range(len(rows)):
        for k in range(start + 1, rows[row]):
            key = keys[k]
            j = k
            while j > start and keys[j - 1] > key:
                keys[j] = keys[j - 1]
                j -= 1
            keys[j] = key
        start = rows[row]


@inlined
def cell_of(bands, band, key):
    """Index of a key's cell.

    Twin: `reference.cells.cell_of`.
    """
    return band.first + (key & ((1 << CELL_BITS) - 1))
