"""Compiled: which pixels each edge visits, and what it leaves there.

The picture is cut into bands of rows, each a job of its own that shares nothing with the others, so that the bits of a
result don't depend on how many threads share the jobs. Within a band an edge is cut at pixel borders into *parts*.
Consecutive parts of a contour in one pixel form a *visit*, which holds the integral of height (`cover`) and the signed
area to its right within the pixel (`area`).
"""

from typing import NamedTuple

import numpy as np

from runtime.vector.raster.kernels.jit import entry, inner
from runtime.vector.raster.kernels.outline import FIRST, LAST

BAND = 32
"""Rows of a band. Part of the numerics: sums over bands are added in order."""

DOWN, UP, RIGHT, LEFT, WRAPS = 1, 2, 4, 8, 16
"""Bits of a visit's mask: directions of its parts; whether it begins or ends a contour that closes in this pixel."""

ENTER_LEFT, EXIT_LEFT, ENTER_TOP, EXIT_TOP, CUT_BELOW = 1, 2, 4, 8, 16
"""Bits of a part's borders: which of the pixel's left and upper border it crosses, in or out; whether the band's lower
border cuts it."""

VISIT = np.dtype(
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
"""Entry of the piece, borders crossed, and where on the piece the part begins and ends."""


class Cells(NamedTuple):
    """The visits of all bands of all scenes. Job j = scene * bands + band."""

    entries: np.ndarray
    """(N,) int32: the piece of each edge in each band that it touches, job by job."""
    entry_firsts: np.ndarray
    """(J + 1,) int64: first entry of each job."""
    firsts: np.ndarray
    """(J + 1,) int64: where each job's parts and visits begin: capacities, not counts."""
    rows: np.ndarray
    """(B * H,) int64: number of visits in each pixel row; after `sort_job` the end of the row's keys."""
    visits: np.ndarray
    """(M,) VISIT."""
    keys: np.ndarray
    """(M,) int64: path, column and number of each visit, sorted by row, path and column; see `sort_job`."""
    parts: np.ndarray
    """(M,) PART."""


@inner
def _clamped(value, low, high):
    """The value's floor as an integer between two bounds, safe for any finite value."""
    return int(np.floor(min(max(value, float(low)), float(high))))


@entry
def count_entries(pieces, ranges, paths, height, width, entry_firsts, firsts):
    """Find which bands each edge touches, how many edges each band has, and room for their visits.

    Args:
        pieces: all pieces.
        ranges: (B * P, 2) first piece of each path of each scene, and the one after its last.
        paths: P.
        height: of the picture.
        width: of the picture.
        entry_firsts: (J + 1,) int64 zeros, written: see `Cells`.
        firsts: (J + 1,) int64 zeros, written: see `Cells`.
    """
    bands = (height + BAND - 1) // BAND
    for path in range(len(ranges)):
        job = path // paths * bands + 1
        for e in range(ranges[path, 0], ranges[path, 1]):
            piece = pieces[e]
            top, bottom = _clamped(min(piece.y0, piece.y1), -1, height), _clamped(max(piece.y0, piece.y1), -1, height)
            if bottom < 0 or top >= height or min(piece.x0, piece.x1) >= width:
                piece.low, piece.high = 0, -1
                continue
            top, bottom = max(top, 0), min(bottom, height - 1)
            # One part for each border crossed, one more, and one for an end that rounding puts beyond a border.
            columns = abs(_clamped(piece.x1, -1, width) - _clamped(piece.x0, -1, width)) + 2
            piece.low, piece.high = top // BAND, bottom // BAND
            for band in range(piece.low, piece.high + 1):
                entry_firsts[job + band] += 1
                firsts[job + band] += min(bottom, band * BAND + BAND - 1) - max(top, band * BAND) + columns
    for job in range(len(firsts) - 1):
        entry_firsts[job + 1] += entry_firsts[job]
        firsts[job + 1] += firsts[job]


@entry
def fill_entries(pieces, ranges, paths, bands, fill, entries):
    """Write each band's edges into `entries`; `fill` is a copy of `Cells.entry_firsts`, used up."""
    for path in range(len(ranges)):
        job = path // paths * bands
        for e in range(ranges[path, 0], ranges[path, 1]):
            for band in range(pieces[e].low, pieces[e].high + 1):
                entries[fill[job + band]] = e
                fill[job + band] += 1


@inner
def _clip(y0, y1, top, bottom):
    """Rows where a piece begins and ends within [top, bottom), the parameters and the borders crossed there."""
    scale = 1.0 / (y1 - y0) if y1 != y0 else 0.0
    first, s0, enters = _clamped(y0, top - 1, bottom + 1), 0.0, 0
    last, s1, leaves = _clamped(y1, top - 1, bottom + 1), 1.0, 0
    if first < top:
        first, s0, enters = top, (top - y0) * scale, ENTER_TOP
    elif first >= bottom:
        first, s0, enters = bottom - 1, (bottom - y0) * scale, CUT_BELOW
    if last < top:
        last, s1, leaves = top, (top - y0) * scale, EXIT_TOP
    elif last >= bottom:
        last, s1, leaves = bottom - 1, (bottom - y0) * scale, CUT_BELOW
    return first, s0, enters, last, s1, leaves


@inner
def _open_visit(visit, row, column, path, part):
    visit.row, visit.column, visit.path, visit.part = row, column, path, part
    visit.count, visit.top, visit.mask, visit.cover, visit.area = 0, 0, 0, 0.0, 0.0


@inner
def _add_part(visit, part, piece, entry, borders, mask, s, t):
    """Add the part s to t of a piece to a visit; writes it unless the visit is left of the picture."""
    height = (t - s) * (piece.y1 - piece.y0)
    visit.cover += height
    visit.top += (1 if borders & ENTER_TOP else 0) - (1 if borders & EXIT_TOP else 0)
    if visit.column >= 0:
        visit.area += height * (visit.column + 1 - (piece.x0 + 0.5 * (piece.x1 - piece.x0) * (s + t)))
        visit.count += 1
        visit.mask |= mask
        part.entry, part.borders, part.s, part.t = entry, borders, s, t


@inner
def _directions(dx, dy):
    """A visit's mask for a piece's direction."""
    return (DOWN if dy > 0 else 0) | (UP if dy < 0 else 0) | (RIGHT if dx > 0 else 0) | (LEFT if dx < 0 else 0)


@inner
def trace_job(pieces, entries, span, lowest, visits, parts, at, rows, top, bottom, width):  # noqa: PLR0912
    """Fill in the visits of one band and count them by row; returns the index after the last.

    Args:
        pieces: all pieces.
        entries: the piece of each entry.
        span: the band's first entry, and the one after its last.
        lowest: the scene's first path, counted through all scenes.
        visits: filled in from index `at` on.
        parts: filled in from index `at` on.
        at: the band's first visit and part.
        rows: number of visits in each of the band's rows, all 0 at first.
        top: the band's first row.
        bottom: the row after the band's last.
        width: of the picture.
    """
    visit, part = at - 1, at
    begin, open_row, open_column = -1, -1, -2
    for e in range(span[0], span[1]):
        piece = pieces[entries[e]]
        x0, y0, dx, dy = piece.x0, piece.y0, piece.x1 - piece.x0, piece.y1 - piece.y0
        row, s, borders, last_row, end, leaves = _clip(y0, piece.y1, top, bottom)
        column, last_column = _clamped(x0 + dx * s, -1, width), _clamped(x0 + dx * end, -1, width)
        right, down = 1 if last_column > column else 0, 1 if last_row > row else 0
        across, along, mask = abs(last_column - column), abs(last_row - row), _directions(dx, dy)
        if piece.mark & FIRST:
            begin = -1
        if borders or piece.mark & FIRST:
            open_column = -2
        while True:
            done, sideways, stop = across == 0 and along == 0, False, end
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
                    visit, open_row, open_column = visit + 1, row, column
                    _open_visit(visits[visit], row, column, piece.path - lowest, part)
                    rows[row - top] += 1
                    if begin < 0 and s == 0.0 and piece.mark & FIRST:
                        begin = visit
                _add_part(visits[visit], parts[part], piece, e, borders, mask, s, stop)
                part += 1 if column >= 0 else 0
            if done:
                break
            s = stop
            if sideways:
                column, across, borders = column + 2 * right - 1, across - 1, ENTER_LEFT if right else 0
            else:
                row, along, borders = row + 2 * down - 1, along - 1, ENTER_TOP if down else 0
        if piece.mark & LAST and not leaves and begin >= 0 and begin != visit:
            first, last = visits[begin], visits[visit]
            if open_row == first.row and open_column == first.column and last.row == first.row:
                first.mask |= WRAPS
                last.mask |= WRAPS
        if leaves:
            open_column = -2
    return visit + 1


COLUMN_BITS, VISIT_BITS = 15, 28
"""A key holds the path, the column plus one, and the visit's number within its job, from high bits to low."""


@inner
def sort_job(visits, at, end, keys, rows, top):
    """Write the keys of a band's visits, at to end, row by row, each row sorted by path and column.

    `rows` has the number of visits of each row, and becomes the end of each row's keys.
    """
    start = at
    for row in range(len(rows)):
        start += rows[row]
        rows[row] = start - rows[row]
    for v in range(at, end):
        visit = visits[v]
        place = rows[visit.row - top]
        rows[visit.row - top] = place + 1
        keys[place] = (((visit.path << COLUMN_BITS) | (visit.column + 1)) << VISIT_BITS) | (v - at)
    start = at
    for row in range(len(rows)):
        for k in range(start + 1, rows[row]):
            key, j = keys[k], k
            while j > start and keys[j - 1] > key:
                keys[j] = keys[j - 1]
                j -= 1
            keys[j] = key
        start = rows[row]
