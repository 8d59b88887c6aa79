"""Compiled: from control points to straight edges ("pieces") in picture pixels, and gradients of edges back to them.

The formulas are those of `reference.py`: `count_pieces`, `piece_weights`. To the kernels every contour is a list of
cubic segments whose corners may be any coordinates of any points: a rectangle's sides and a stroke's last point are
segments with four equal corners, which have one piece.
"""

import math
from typing import NamedTuple

import numpy as np

from runtime.vector.raster.kernels.jit import STAMP, entry, inner
from runtime.vector.raster.reference import MAX_PIECES, STRAIGHT

STROKE = 2
FIRST, LAST = 1, 2
"""Marks of a piece that opens and of one that closes its contour."""

PIECE = np.dtype(
    [
        *((name, np.float64) for name in ("x0", "y0", "x1", "y1", "s0", "s1")),
        *((name, np.int32) for name in ("v0", "v1", "k0", "k1", "mark", "path", "low", "high", STAMP)),
    ],
    align=True,
)
"""An edge: its ends in picture pixels; which span s0 to s1 of the whole edge it is; the vertex at the start and at the
end of the whole edge, and the pen corner of each (-1: none); FIRST and LAST; its path, counted through all scenes; the
first and last band that it touches; nothing."""


class Structure(NamedTuple):
    """A layout as int64 arrays."""

    kinds: np.ndarray
    """(P,) `Kind` of each path."""
    paths: np.ndarray
    """(P + 1,) first contour of each path."""
    contours: np.ndarray
    """(C + 1,) first segment of each contour."""
    corners: np.ndarray
    """(S, 4, 2) the points that give x and y of each segment's corners."""


@entry
def count_pieces(corners, points, tolerance, firsts):
    """Write the first vertex of each segment of each scene, and last of all the number of vertices.

    Args:
        corners: see `Structure`.
        points: (B, N, 2) in canvas pixels.
        tolerance: largest distance between curve and chord in canvas pixels.
        firsts: (B * S + 1,) int64, written.
    """
    at, total = 0, 0
    for b in range(len(points)):
        for segment in range(len(corners)):
            bend = 0.0
            for k in range(2):
                square = 0.0
                for axis in range(2):
                    x = points[b, corners[segment, k, axis], axis]
                    y = points[b, corners[segment, k + 1, axis], axis]
                    z = points[b, corners[segment, k + 2, axis], axis]
                    square += (x - 2.0 * y + z) ** 2
                bend = max(bend, square)
            off = 0.75 * math.sqrt(bend) / tolerance
            count = max(int(np.ceil(math.sqrt(min(off, float(MAX_PIECES) ** 2)))), 2) if off >= STRAIGHT else 1
            firsts[at] = total
            total += count
            at += 1
    firsts[at] = total


@inner
def _steps(count):
    """Parameter of vertex 1 less that of vertex 0, and the other vertices' step, see `reference.piece_weights`."""
    step = 1.0 / (count - 2 + math.sqrt(2.0))
    return step * math.sqrt(0.5), step


@entry
def flatten(corners, points, firsts, scale, vertices):
    """Write the vertices (V, 2) of all segments, `scale` (x, y) times the canvas."""
    at = 0
    for b in range(len(points)):
        for segment in range(len(corners)):
            first, last = firsts[at], firsts[at + 1]
            at += 1
            start, step = _steps(last - first)
            for axis in range(2):
                p0 = points[b, corners[segment, 0, axis], axis] * scale[axis]
                p1 = points[b, corners[segment, 1, axis], axis] * scale[axis]
                p2 = points[b, corners[segment, 2, axis], axis] * scale[axis]
                p3 = points[b, corners[segment, 3, axis], axis] * scale[axis]
                vertices[first, axis] = p0
                # The curve as a polynomial, less step^2 / 12 of its second derivative.
                c1, c2, c3 = 3.0 * (p1 - p0), 3.0 * (p0 - 2.0 * p1 + p2), p3 - p0 + 3.0 * (p1 - p2)
                c0, c1 = p0 - step * step / 6.0 * c2, c1 - step * step / 2.0 * c3
                for v in range(first + 1, last):
                    t = start + (v - first - 1) * step
                    vertices[v, axis] = c0 + t * (c1 + t * (c2 + t * c3))


@entry
def pull_corners(corners, firsts, pulls, scale, grad):
    """`flatten` transposed: add the vertices' gradients `pulls` (V, 2) to those of the points, `grad` (B, N, 2)."""
    at = 0
    for b in range(len(grad)):
        for segment in range(len(corners)):
            first, last = firsts[at], firsts[at + 1]
            at += 1
            start, step = _steps(last - first)
            for axis in range(2):
                g0 = g1 = g2 = g3 = 0.0
                for v in range(first + 1, last):
                    t, pull = start + (v - first - 1) * step, pulls[v, axis]
                    g0, g1, g2, g3 = g0 + pull, g1 + t * pull, g2 + t * t * pull, g3 + t * t * t * pull
                g2, g3 = g2 - step * step / 6.0 * g0, g3 - step * step / 2.0 * g1
                p1, p2 = 3.0 * (g1 - 2.0 * g2 + g3), 3.0 * (g2 - g3)
                p0 = pulls[first, axis] + g0 - 3.0 * g1 + 3.0 * g2 - g3
                grad[b, corners[segment, 0, axis], axis] += p0 * scale[axis]
                grad[b, corners[segment, 1, axis], axis] += p1 * scale[axis]
                grad[b, corners[segment, 2, axis], axis] += p2 * scale[axis]
                grad[b, corners[segment, 3, axis], axis] += g3 * scale[axis]


@entry
def add_loops(structure, firsts, vertices, ranges, pieces):
    """Write the pieces of all fills.

    Args:
        structure: the layout.
        firsts: see `count_pieces`.
        vertices: see `flatten`.
        ranges: (B * P, 2) first piece of each path, and the one after its last.
        pieces: (E,) PIECE, written.
    """
    kinds, paths, contours, corners = structure
    for path in range(len(ranges)):
        p, base = path % len(kinds), path // len(kinds) * len(corners)
        if kinds[p] == STROKE:
            continue
        e = ranges[path, 0]
        for contour in range(paths[p], paths[p + 1]):
            begin, end = firsts[base + contours[contour]], firsts[base + contours[contour + 1]]
            for i in range(begin, end):
                j = i + 1 if i + 1 < end else begin
                piece = pieces[e]
                piece.x0, piece.y0, piece.x1, piece.y1 = vertices[i, 0], vertices[i, 1], vertices[j, 0], vertices[j, 1]
                piece.s0, piece.s1, piece.path = 0.0, 1.0, path
                piece.v0, piece.v1, piece.k0, piece.k1 = i, j, -1, -1
                piece.mark = (FIRST if i == begin else 0) | (LAST if j == begin else 0)
                e += 1


@entry
def pull_vertices(pieces, pens, entries, moments, pulls, radii):
    """Add each piece's pull to the ends of its whole edge, `pulls` (V, 2), and to its radius, `radii` (B * P,).

    Moving a boundary point by d changes the area by d cross the edge's direction, so a piece's two moments (the
    integrals of the upstream gradient, and of it times the place along the piece) are all that is needed. `moments`
    (N, 2) belong to the pieces `entries` (N,).
    """
    for k in range(len(entries)):
        if moments[k, 0] == 0.0 and moments[k, 1] == 0.0:
            continue
        piece = pieces[entries[k]]
        dx, dy = piece.x1 - piece.x0, piece.y1 - piece.y0
        end = piece.s0 * moments[k, 0] + (piece.s1 - piece.s0) * moments[k, 1]
        start = moments[k, 0] - end
        pulls[piece.v0, 0] -= start * dy
        pulls[piece.v0, 1] += start * dx
        pulls[piece.v1, 0] -= end * dy
        pulls[piece.v1, 1] += end * dx
        if piece.k0 >= 0:
            radii[piece.path] += start * (pens[piece.k0, 1] * dx - pens[piece.k0, 0] * dy)
            radii[piece.path] += end * (pens[piece.k1, 1] * dx - pens[piece.k1, 0] * dy)
