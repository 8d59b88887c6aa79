"""Compiled: which pixels each edge visits, and what it leaves there.

The picture is cut into bands of rows, each a job of its own that shares nothing with the others, so that the bits of a
result don't depend on how many threads share the jobs. Within a band an edge is cut at pixel borders into *parts*.
Consecutive parts of a contour in one pixel form a *visit*, which holds the integral of height (`cover`) and the signed area
to its right within the pixel (`area`).
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from runtime.vector.raster_outline import FIRST, LAST

BAND = 64
"""Rows of a band. Part of the numerics: sums over bands are added in order."""

DOWN, UP, RIGHT, LEFT, WRAPS = 1, 2, 4, 8, 16
"""Bits of a visit's mask: directions of its parts; whether it begins or ends a contour that closes in this pixel."""

ENTER_LEFT, EXIT_LEFT, ENTER_TOP, EXIT_TOP, CUT_BELOW = 1, 2, 4, 8, 16
"""Bits of a part's borders: which of the pixel's left and upper border it crosses, in or out; whether the band's lower
border cuts it."""

VISIT = np.dtype(
    [
        *((name, np.int32) for name in ("column", "path", "part", "count", "top", "mask", "next", "link")),
        ("cover", np.float64),
        ("area", np.float64),
    ],
    align=True,
)
"""Column (-1: left of the picture), path, first part, number of parts, crossings of the pixel row's upper border (downward
+1), mask, the next visit in the row, the next visit in the pixel, and the two sums."""

PART = np.dtype([("entry", np.int32), ("borders", np.int32), ("s", np.float64), ("t", np.float64)], align=True)
"""Entry of the piece, borders crossed, and where on the piece the part begins and ends."""


class Cells(NamedTuple):
    """The visits of all bands of all scenes. Job j = scene * bands + band."""

    entries: np.ndarray
    """(N,) int32: the piece of each edge in each band that it touches, job by job."""
    entry_firsts: np.ndarray
    """(J + 1,) first entry of each job."""
    firsts: np.ndarray
    """(J + 1,) where each job's parts and visits begin: capacities, not counts."""
    rows: np.ndarray
    """(B * H,) int32 last visit in each pixel row, -1 if none."""
    visits: np.ndarray
    """(M,) VISIT."""
    parts: np.ndarray
    """(M,) PART."""


@njit(cache=True, nogil=True)
def _clamped(value, low, high):
    """The value's floor as an integer between two bounds, safe for any finite value."""
    return int(math.floor(min(max(value, float(low)), float(high))))


@njit(cache=True, nogil=True)
def _extent(piece, height, width):
    """First and last pixel row of a piece (none: 1, 0), and how many columns it crosses."""
    top, bottom = _clamped(min(piece.y0, piece.y1), -1, height), _clamped(max(piece.y0, piece.y1), -1, height)
    if bottom < 0 or top >= height or min(piece.x0, piece.x1) >= width:
        return 1, 0, 0
    columns = abs(_clamped(piece.x0, -1, width) - _clamped(piece.x1, -1, width))
    return max(top, 0), min(bottom, height - 1), columns


@njit(cache=True, nogil=True)
def _bin_pieces(pieces, first, last, height, width, entry_counts, counts):
    """Add one scene's number of edges in each band, and room for their visits."""
    for e in range(first, last):
        top, bottom, columns = _extent(pieces[e], height, width)
        if bottom < top:
            continue
        for band in range(top // BAND, bottom // BAND + 1):
            entry_counts[band] += 1
            counts[band] += min(bottom, band * BAND + BAND - 1) - max(top, band * BAND) + columns + 3


@njit(cache=True, nogil=True)
def _fill_entries(pieces, first, last, height, width, entries, fill):
    """Write one scene's edges into each band's entries."""
    for e in range(first, last):
        top, bottom, _ = _extent(pieces[e], height, width)
        if bottom < top:
            continue
        for band in range(top // BAND, bottom // BAND + 1):
            entries[fill[band]] = e
            fill[band] += 1


@njit(cache=True, nogil=True)
def prepare_cells(outline, batch, height, width):
    """Empty cells for B scenes' outline in a picture of the size given, with room for all visits."""
    bands = (height + BAND - 1) // BAND
    jobs, paths = batch * bands, (len(outline.firsts) - 1) // max(batch, 1)
    entry_firsts, firsts = np.zeros(jobs + 1, np.int64), np.zeros(jobs + 1, np.int64)
    for b in range(batch):
        first, last, job = outline.firsts[b * paths], outline.firsts[(b + 1) * paths], b * bands + 1
        counts = entry_firsts[job : job + bands], firsts[job : job + bands]
        _bin_pieces(outline.pieces, first, last, height, width, counts[0], counts[1])
    for job in range(jobs):
        entry_firsts[job + 1] += entry_firsts[job]
        firsts[job + 1] += firsts[job]
    entries, fill = np.empty(entry_firsts[jobs], np.int32), entry_firsts.copy()
    for b in range(batch):
        first, last = outline.firsts[b * paths], outline.firsts[(b + 1) * paths]
        _fill_entries(outline.pieces, first, last, height, width, entries, fill[b * bands :])
    room = firsts[jobs]
    rows = np.full(batch * height, -1, np.int32)
    return Cells(entries, entry_firsts, firsts, rows, np.empty(room, VISIT), np.empty(room, PART))


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
def _open_visit(visit, column, path, part, following):
    visit.column, visit.path, visit.part, visit.next = column, path, part, following
    visit.count, visit.top, visit.mask, visit.cover, visit.area = 0, 0, 0, 0.0, 0.0


@njit(cache=True, nogil=True)
def trace_job(pieces, entries, first, last, visits, parts, at, rows, base, top, bottom, width):
    """Fill in the visits of one band.

    Args:
        pieces: all pieces.
        entries: the piece of each entry.
        first: the band's first entry.
        last: the entry after the band's last.
        visits: filled in from index `at` on.
        parts: filled in from index `at` on.
        at: the band's first visit and part.
        rows: last visit in each row, all -1 at first.
        base: index of the scene's first row.
        top: the band's first row.
        bottom: the row after the band's last.
        width: of the picture.
    """
    visit, part = at - 1, at
    open_row, open_column = -1, -2
    begin, begin_row, begin_column = -1, -1, -2
    for entry in range(first, last):
        piece = pieces[entries[entry]]
        x0, y0, dx, dy = piece.x0, piece.y0, piece.x1 - piece.x0, piece.y1 - piece.y0
        row, s, borders, last_row, end, leaves = _clip(y0, piece.y1, top, bottom)
        column, last_column = _clamped(x0 + dx * s, -1, width), _clamped(x0 + dx * end, -1, width)
        right, down = 1 if last_column > column else 0, 1 if last_row > row else 0
        across, along = abs(last_column - column), abs(last_row - row)
        inverse_x, inverse_y = 1.0 / dx if across > 0 else 0.0, 1.0 / dy if along > 0 else 0.0
        mask = (DOWN if dy > 0 else 0) | (UP if dy < 0 else 0) | (RIGHT if dx > 0 else 0) | (LEFT if dx < 0 else 0)
        if piece.mark & FIRST:
            begin = -1
        if borders or piece.mark & FIRST:
            open_column = -2
        while True:
            done, sideways, stop = across == 0 and along == 0, False, end
            if done:
                borders |= leaves
            else:
                sx, sy = (column + right - x0) * inverse_x, (row + down - y0) * inverse_y
                sideways = along == 0 or (across > 0 and sx < sy)
                stop = min(max(sx if sideways else sy, s), end)
                borders |= (0 if right else EXIT_LEFT) if sideways else (0 if down else EXIT_TOP)
            if column >= width:
                open_column = -2
            else:
                if row != open_row or column != open_column:
                    visit += 1
                    _open_visit(visits[visit], column, piece.path, part, rows[base + row])
                    rows[base + row] = visit
                    open_row, open_column = row, column
                    if begin < 0 and s == 0.0 and piece.mark & FIRST:
                        begin, begin_row, begin_column = visit, row, column
                here, height = visits[visit], (stop - s) * dy
                here.cover += height
                here.top += (1 if borders & ENTER_TOP else 0) - (1 if borders & EXIT_TOP else 0)
                if column >= 0:
                    here.area += height * (column + 1 - (x0 + 0.5 * dx * (s + stop)))
                    here.count += 1
                    here.mask |= mask
                    slot = parts[part]
                    slot.entry, slot.borders, slot.s, slot.t = entry, borders, s, stop
                    part += 1
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
        if piece.mark & LAST and not leaves and begin >= 0 and begin != visit:
            if open_row == begin_row and open_column == begin_column:
                visits[begin].mask |= WRAPS
                visits[visit].mask |= WRAPS
        if leaves:
            open_column = -2
