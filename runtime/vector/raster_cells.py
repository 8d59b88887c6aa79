"""Compiled: which pixels each edge visits, and what it leaves there.

The picture is cut into bands of rows, each a job of its own that shares nothing with the others, so that the bits of a result
don't depend on how many threads share the jobs. Within a band an edge is cut at pixel borders into *parts*. Consecutive
parts of a contour in one pixel form a *visit*, which holds the integral of height (`cover`) and the signed area to its right
within the pixel (`area`). A visit's row in `Cells.visits` has the columns named below.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from runtime.vector.raster_outline import FIRST, LAST

BAND = 64
"""Rows of a band. Part of the numerics: sums over bands are added in order."""

X, PATH, PART, TOP, COUNT, MASK, NEXT, LINK = range(8)
"""Pixel column (-1: left of the picture), path, first part, crossings of the pixel row's upper border (downward +1), number
of parts, directions seen, next visit in the row, next visit in the pixel."""

DOWN, UP, RIGHT, LEFT, WRAPS = 1, 2, 4, 8, 16
"""Bits of a visit's mask: directions of its parts; whether it is the start or end of a contour that closes in this pixel."""

ENTER_LEFT, EXIT_LEFT, ENTER_TOP, EXIT_TOP, CUT_BELOW = 1, 2, 4, 8, 16
"""Bits of a part's borders: which of the pixel's left and upper border it crosses, in or out; whether the band's lower border
cuts it."""


class Cells(NamedTuple):
    """The visits of all bands of all scenes. Job j = scene * bands + band."""

    entries: np.ndarray
    """(N, 2) int32: piece and path of each edge in each band that it touches, job by job."""
    entry_firsts: np.ndarray
    """(J + 1,) first entry of each job."""
    firsts: np.ndarray
    """(J + 1,) where each job's parts and visits begin: capacities, not counts."""
    rows: np.ndarray
    """(B, H) int32 last visit in each pixel row, -1 if none."""
    visits: np.ndarray
    """(M, 8) int32, see above."""
    sums: np.ndarray
    """(M, 2) cover and area of each visit."""
    spans: np.ndarray
    """(M, 2) where on its piece each part begins and ends."""
    parts: np.ndarray
    """(M, 2) int32: entry of each part, and the borders it crosses."""


@njit(cache=True, nogil=True)
def _clamped(value, low, high):
    """The value's floor as an integer between two bounds, safe for any finite value."""
    return int(math.floor(min(max(value, float(low)), float(high))))


@njit(cache=True, nogil=True)
def _extent(pieces, e, height, width):
    """First and last band of a piece (none: 1, 0), its pixel rows, and how many columns it crosses."""
    x0, y0, x1, y1 = pieces[e, 0], pieces[e, 1], pieces[e, 2], pieces[e, 3]
    top, bottom = _clamped(min(y0, y1), -1, height), _clamped(max(y0, y1), -1, height)
    if bottom < 0 or top >= height or min(x0, x1) >= width:
        return 1, 0, 0, 0, 0
    top, bottom = max(top, 0), min(bottom, height - 1)
    columns = abs(_clamped(x0, -1, width) - _clamped(x1, -1, width))
    return top // BAND, bottom // BAND, top, bottom, columns


@njit(cache=True, nogil=True)
def _bin_pieces(outline, paths, height, width, entry_firsts, firsts):
    """Which edges touch which band; fills in where each job's entries and parts begin."""
    bands = (height + BAND - 1) // BAND
    jobs = len(firsts) - 1
    for path in range(len(outline.firsts) - 1):
        job = path // paths * bands
        for e in range(outline.firsts[path], outline.firsts[path + 1]):
            low, high, top, bottom, columns = _extent(outline.pieces, e, height, width)
            for band in range(low, high + 1):
                entry_firsts[job + band + 1] += 1
                inside = min(bottom, band * BAND + BAND - 1) - max(top, band * BAND)
                firsts[job + band + 1] += inside + columns + 3
    for job in range(jobs):
        entry_firsts[job + 1] += entry_firsts[job]
        firsts[job + 1] += firsts[job] + 1
    entries = np.empty((entry_firsts[jobs], 2), np.int32)
    fill = entry_firsts[:-1].copy()
    for path in range(len(outline.firsts) - 1):
        job = path // paths * bands
        for e in range(outline.firsts[path], outline.firsts[path + 1]):
            low, high, _, _, _ = _extent(outline.pieces, e, height, width)
            for band in range(low, high + 1):
                entries[fill[job + band], 0] = e
                entries[fill[job + band], 1] = path % paths
                fill[job + band] += 1
    return entries


@njit(cache=True, nogil=True)
def prepare_cells(outline, batch, paths, height, width):
    """Empty cells for B scenes' outline in a picture of the size given, with room for all visits."""
    jobs = batch * ((height + BAND - 1) // BAND)
    entry_firsts, firsts = np.zeros(jobs + 1, np.int64), np.zeros(jobs + 1, np.int64)
    entries = _bin_pieces(outline, paths, height, width, entry_firsts, firsts)
    room = firsts[jobs]
    return Cells(
        entries,
        entry_firsts,
        firsts,
        np.full((batch, height), -1, np.int32),
        np.empty((room, 8), np.int32),
        np.empty((room, 2)),
        np.empty((room, 2)),
        np.empty((room, 2), np.int32),
    )


@njit(cache=True, nogil=True)
def _clip(y0, y1, top, bottom):
    """Rows where a piece begins and ends within [top, bottom), the parameters and the borders crossed there."""
    scale = 1.0 / (y1 - y0) if y1 != y0 else 0.0
    first, s0, enters = int(math.floor(min(max(y0, top - 1.0), bottom + 1.0))), 0.0, 0
    last, s1, leaves = int(math.floor(min(max(y1, top - 1.0), bottom + 1.0))), 1.0, 0
    if first < top:
        first, s0, enters = top, (top - y0) * scale, ENTER_TOP
    elif first >= bottom:
        first, s0, enters = bottom - 1, (bottom - y0) * scale, CUT_BELOW
    if last < top:
        last, s1, leaves = top, (top - y0) * scale, EXIT_TOP
    elif last >= bottom:
        last, s1, leaves = bottom - 1, (bottom - y0) * scale, CUT_BELOW
    return first, s0, enters, last, s1, leaves


@njit(cache=True, nogil=True)
def trace_job(outline, cells, job, scene, top, bottom, width):
    """Fill in the visits of one band, rows top to bottom, path by path along the contours."""
    visits, sums, spans, parts = cells.visits, cells.sums, cells.spans, cells.parts
    rows = cells.rows[scene]
    at = cells.firsts[job]
    visit, part = at - 1, at
    open_row, open_column = -1, -2
    begin, begin_row, begin_column = -1, -1, -2
    for entry in range(cells.entry_firsts[job], cells.entry_firsts[job + 1]):
        e, path = cells.entries[entry, 0], cells.entries[entry, 1]
        x0, y0 = outline.pieces[e, 0], outline.pieces[e, 1]
        dx, dy = outline.pieces[e, 2] - x0, outline.pieces[e, 3] - y0
        row, s, borders, last, end, leaves = _clip(y0, outline.pieces[e, 3], top, bottom)
        column, final = _clamped(x0 + dx * s, -1, width), _clamped(x0 + dx * end, -1, width)
        right, down = 1 if final > column else 0, 1 if last > row else 0
        across, along = abs(final - column), abs(last - row)
        inverse_x, inverse_y = 1.0 / dx if across > 0 else 0.0, 1.0 / dy if along > 0 else 0.0
        mask = (DOWN if dy > 0 else 0) | (UP if dy < 0 else 0) | (RIGHT if dx > 0 else 0) | (LEFT if dx < 0 else 0)
        if outline.marks[e] & FIRST:
            open_column, begin = -2, -1
        if borders:
            open_column = -2
        while True:
            done, sideways, stop = across == 0 and along == 0, False, end
            if not done:
                sx, sy = (column + right - x0) * inverse_x, (row + down - y0) * inverse_y
                sideways = along == 0 or (across > 0 and sx < sy)
                stop = min(max(sx if sideways else sy, s), end)
            if done:
                borders |= leaves
            elif sideways:
                borders |= 0 if right else EXIT_LEFT
            else:
                borders |= 0 if down else EXIT_TOP
            if column < width:
                if row != open_row or column != open_column:
                    visit += 1
                    visits[visit, X], visits[visit, PATH], visits[visit, PART] = column, path, part
                    visits[visit, TOP], visits[visit, COUNT], visits[visit, MASK] = 0, 0, 0
                    visits[visit, NEXT] = rows[row]
                    rows[row] = visit
                    sums[visit, 0], sums[visit, 1] = 0.0, 0.0
                    open_row, open_column = row, column
                    if begin < 0 and s == 0.0 and outline.marks[e] & FIRST:
                        begin, begin_row, begin_column = visit, row, column
                height = (stop - s) * dy
                sums[visit, 0] += height
                visits[visit, TOP] += (1 if borders & ENTER_TOP else 0) - (1 if borders & EXIT_TOP else 0)
                if column >= 0:
                    sums[visit, 1] += height * (column + 1 - (x0 + 0.5 * dx * (s + stop)))
                    visits[visit, COUNT] += 1
                    visits[visit, MASK] |= mask
                    spans[part, 0], spans[part, 1] = s, stop
                    parts[part, 0], parts[part, 1] = entry, borders
                    part += 1
            else:
                open_column = -2
            if done:
                break
            s, borders = stop, 0
            if sideways:
                column += 2 * right - 1
                across -= 1
                borders = ENTER_LEFT if right else 0
            else:
                row += 2 * down - 1
                along -= 1
                borders = ENTER_TOP if down else 0
        if leaves:
            open_column = -2
        if outline.marks[e] & LAST:
            if begin >= 0 and begin != visit and open_row == begin_row and open_column == begin_column >= 0:
                visits[begin, MASK] |= WRAPS
                visits[visit, MASK] |= WRAPS
            open_column, begin = -2, -1
    visits[visit + 1, PART] = part
