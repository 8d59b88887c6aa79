"""Compiled: from control points to straight edges ("pieces") in picture pixels, and gradients of edges back to them.

The formulas are those of `raster_torch`: `count_pieces`, `piece_weights`, `stroke_outline`. One difference: on the inner
side of a stroke's turn the two offset edges are cut where they meet, which drops a loop inside the stroke. Each cut edge
remembers its span on the whole edge, whose ends depend linearly on one polyline vertex and one pen corner each, so that
gradients are exact without differentiating the cut.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from runtime.vector.raster_torch import MAX_PIECES, STROKE_TOLERANCE, TOLERANCE

STROKE, RECTANGLE = 2, 3
FIRST, LAST = 1, 2
"""Marks of a piece that opens and of one that closes its contour."""


class Structure(NamedTuple):
    """A layout as int64 arrays, one row a path or a contour."""

    kinds: np.ndarray
    """(P,) `Kind` of each path."""
    points: np.ndarray
    """(P + 1,) first point of each path."""
    contours: np.ndarray
    """(P + 1,) first contour of each path."""
    segments: np.ndarray
    """(C,) cubic segments of each contour."""


PIECE = np.dtype(
    [
        *((name, np.float64) for name in ("x0", "y0", "x1", "y1", "s0", "s1")),
        *((name, np.int32) for name in ("v0", "v1", "k0", "k1", "mark", "path")),
    ],
    align=True,
)
"""An edge: its ends in picture pixels; which span s0 to s1 of the whole edge it is; the vertex at the start and at the end of
the whole edge, and the pen corner of each (-1: none); FIRST and LAST; its path."""


class Outline(NamedTuple):
    """The edges of all paths of all scenes, scene by scene, path by path."""

    vertices: np.ndarray
    """(V, 2) flattened curves in picture pixels."""
    counts: np.ndarray
    """(B * segments,) pieces of each cubic segment; 4 for each rectangle."""
    pens: np.ndarray
    """(U, 2) corners of all strokes' pens, scaled to the picture, for a radius of 1."""
    pieces: np.ndarray
    """(E,) PIECE."""
    firsts: np.ndarray
    """(B * P + 1,) first piece of each path of each scene."""


@njit(cache=True, nogil=True)
def _segment_corner(index, segment, segments, closed):
    """Offset of a segment's control point among its contour's points."""
    row = 3 * segment + index
    return row - 3 * segments if closed and row == 3 * segments else row


@njit(cache=True, nogil=True)
def _count_pieces(points, base, segment, segments, closed, tolerance):
    """`raster_torch.count_pieces` of one segment; -1 if a point is not finite."""
    bend = 0.0
    for k in range(2):
        a = base + _segment_corner(k, segment, segments, closed)
        b = base + _segment_corner(k + 1, segment, segments, closed)
        c = base + _segment_corner(k + 2, segment, segments, closed)
        bx = points[a, 0] - 2.0 * points[b, 0] + points[c, 0]
        by = points[a, 1] - 2.0 * points[b, 1] + points[c, 1]
        length = bx * bx + by * by
        if not length < 1e30:
            return -1
        bend = max(bend, length)
    count = math.ceil(math.sqrt(0.75 * math.sqrt(bend) / tolerance))
    return min(max(int(count), 1), MAX_PIECES)


@njit(cache=True, nogil=True)
def _weights(j, count):
    """Row j of `raster_torch.piece_weights`."""
    if j == 0:
        return 1.0, 0.0, 0.0, 0.0
    step = 1.0 / (count - 2 + math.sqrt(2.0))
    t = (j - 1 + math.sqrt(0.5)) * step
    u = 1.0 - t
    c = 0.5 * step * step
    second = 3.0 * t * u * u - c * (3.0 * t - 2.0)
    return u * u * u - c * u, second, 3.0 * t * t * u - c * (1.0 - 3.0 * t), t * t * t - c * t


@njit(cache=True, nogil=True)
def _flatten_contour(points, base, segments, closed, counts, at, sx, sy, vertices, v):
    """Write a contour's vertices from index v on; returns the next free index."""
    for segment in range(segments):
        a = base + 3 * segment
        d = base + _segment_corner(3, segment, segments, closed)
        for j in range(counts[at + segment]):
            w0, w1, w2, w3 = _weights(j, counts[at + segment])
            for k, scale in ((0, sx), (1, sy)):
                value = w0 * points[a, k] + w1 * points[a + 1, k] + w2 * points[a + 2, k] + w3 * points[d, k]
                vertices[v, k] = value * scale
            v += 1
    if not closed:
        vertices[v, 0] = points[base + 3 * segments, 0] * sx
        vertices[v, 1] = points[base + 3 * segments, 1] * sy
        v += 1
    return v


@njit(cache=True, nogil=True)
def _pen_corners(width, tolerance):
    """Number of corners of a stroke's pen, `raster_torch.pen`."""
    ratio = max(2.0 * tolerance / max(0.5 * width, 1e-9), 1e-4)
    return max(4 * int(math.ceil(math.pi / 4 / math.sqrt(ratio))), 8)


@njit(cache=True, nogil=True)
def _fill_pen(pens, u, corners, sx, sy):
    scale = (math.pi / corners) / math.sin(math.pi / corners)
    for k in range(corners):
        pens[u + k, 0] = sx * scale * math.cos(2.0 * math.pi / corners * k)
        pens[u + k, 1] = sy * scale * math.sin(2.0 * math.pi / corners * k)


@njit(cache=True, nogil=True)
def _turn_pen(vertices, v, end, corners, sx, sy, stops, turns):
    """Polyline vertices that differ, and for each edge between them the pen corner it keeps to, unwrapped.

    Returns the number of edges and the number of pieces of the whole outline.
    """
    edges, angle, pieces = 0, 0.0, corners
    stops[0] = v
    for i in range(v + 1, end):
        dx = (vertices[i, 0] - vertices[i - 1, 0]) / sx
        dy = (vertices[i, 1] - vertices[i - 1, 1]) / sy
        if dx * dx + dy * dy <= 1e-18:
            continue
        new = math.atan2(dy, dx)
        if edges > 0:
            turn = new - angle
            new = angle + turn - 2.0 * math.pi * np.rint(turn / (2.0 * math.pi))
        else:
            stops[0] = i - 1
        angle = new
        turns[edges] = int(math.floor((angle - math.pi / 2) * corners / (2.0 * math.pi) + 0.5))
        if edges > 0:
            pieces += 2 * abs(turns[edges] - turns[edges - 1])
        edges += 1
        stops[edges] = i
    return edges, pieces + 2 * edges


@njit(cache=True, nogil=True)
def _add_loop(pieces, e, vertices, v, end, path):
    """Pieces of a closed polygon, vertices v to end; returns the next free piece."""
    first = e
    for i in range(v, end):
        j = i + 1 if i + 1 < end else v
        piece = pieces[e]
        piece.x0, piece.y0, piece.x1, piece.y1 = vertices[i, 0], vertices[i, 1], vertices[j, 0], vertices[j, 1]
        piece.s0, piece.s1, piece.mark, piece.path = 0.0, 1.0, 0, path
        piece.v0, piece.v1, piece.k0, piece.k1 = i, j, -1, -1
        e += 1
    pieces[first].mark |= FIRST
    pieces[e - 1].mark |= LAST
    return e


@njit(cache=True, nogil=True)
def _add_whole(piece, vertices, pens, v0, v1, k0, k1, radius, path):
    """Make a piece the edge from pen corner k0 at vertex v0 to pen corner k1 at vertex v1."""
    piece.x0, piece.y0 = vertices[v0, 0] + radius * pens[k0, 0], vertices[v0, 1] + radius * pens[k0, 1]
    piece.x1, piece.y1 = vertices[v1, 0] + radius * pens[k1, 0], vertices[v1, 1] + radius * pens[k1, 1]
    piece.s0, piece.s1, piece.mark, piece.path = 0.0, 1.0, 0, path
    piece.v0, piece.v1, piece.k0, piece.k1 = v0, v1, k0, k1


@njit(cache=True, nogil=True)
def _meet(a, b, span):
    """Where two whole edges cross: parameters on both, or -1 if not after `span` on the first."""
    ax, ay, bx, by = a.x1 - a.x0, a.y1 - a.y0, b.x1 - b.x0, b.y1 - b.y0
    determinant = ax * by - ay * bx
    if determinant == 0.0:
        return -1.0, -1.0
    s = ((b.x0 - a.x0) * by - (b.y0 - a.y0) * bx) / determinant
    t = ((b.x0 - a.x0) * ay - (b.y0 - a.y0) * ax) / determinant
    if span < s < 1.0 and 0.0 < t < 1.0:
        return s, t
    return -1.0, -1.0


@njit(cache=True, nogil=True)
def _turn_at(turns, i, edges, corners):
    """Pen corner, unwrapped, of outline edge i: forth along the polyline, back on its other side, then as at the start."""
    if i < edges:
        return turns[i]
    return turns[2 * edges - 1 - i] + corners // 2 if i < 2 * edges else turns[0] + corners


@njit(cache=True, nogil=True)
def _stop_at(stops, i, edges):
    """Polyline vertex where outline edge i begins."""
    return stops[i] if i <= edges else stops[2 * edges - i]


@njit(cache=True, nogil=True)
def _add_stroke(pieces, e, vertices, pens, edges, stops, turns, pen, corners, radius, path):
    """The outline of a polyline with a round pen, `raster_torch.stroke_outline`; returns the next free piece."""
    first, start, cut_x, cut_y = e, 0.0, 0.0, 0.0
    for i in range(2 * edges):
        turn, after = _turn_at(turns, i, edges, corners), _turn_at(turns, i + 1, edges, corners)
        v0, v1, k = _stop_at(stops, i, edges), _stop_at(stops, i + 1, edges), pen + turn % corners
        piece = pieces[e]
        _add_whole(piece, vertices, pens, v0, v1, k, k, radius, path)
        s = t = -1.0
        if after < turn:
            v2, n = _stop_at(stops, i + 2, edges), pen + after % corners
            _add_whole(pieces[e + 1], vertices, pens, v1, v2, n, n, radius, path)
            s, t = _meet(piece, pieces[e + 1], start)
        next_x, next_y = piece.x0 + s * (piece.x1 - piece.x0), piece.y0 + s * (piece.y1 - piece.y0)
        if start > 0.0:
            piece.x0, piece.y0, piece.s0 = cut_x, cut_y, start
        e += 1
        start = 0.0
        if s > 0.0:
            piece.x1, piece.y1, piece.s1 = next_x, next_y, s
            start, cut_x, cut_y = t, next_x, next_y
            continue
        step = 1 if after > turn else -1
        while turn != after:
            a, b = pen + turn % corners, pen + (turn + step) % corners
            _add_whole(pieces[e], vertices, pens, v1, v1, a, b, radius, path)
            turn += step
            e += 1
    pieces[first].mark |= FIRST
    pieces[e - 1].mark |= LAST
    return e


@njit(cache=True, nogil=True)
def _add_dot(pieces, e, vertices, pens, v, pen, corners, radius, path):
    """The outline of a stroke of no length: its pen."""
    for k in range(corners):
        _add_whole(pieces[e + k], vertices, pens, v, v, pen + k, pen + (k + 1) % corners, radius, path)
    pieces[e].mark |= FIRST
    pieces[e + corners - 1].mark |= LAST
    return e + corners


@njit(cache=True, nogil=True)
def _count_all(structure, points, tolerance, counts):
    """Fill in the pieces of each segment; returns the number of vertices, -1 if a point is not finite."""
    at, vertices = 0, 0
    for b in range(points.shape[0]):
        for p in range(len(structure.kinds)):
            base, closed = structure.points[p], structure.kinds[p] != STROKE
            for contour in range(structure.contours[p], structure.contours[p + 1]):
                segments = structure.segments[contour]
                for segment in range(segments):
                    if structure.kinds[p] == RECTANGLE:
                        counts[at] = 4 if np.isfinite(points[b, base : base + 2]).all() else -1
                    else:
                        counts[at] = _count_pieces(points[b], base, segment, segments, closed, tolerance)
                    if counts[at] < 0:
                        return -1
                    vertices += counts[at]
                    at += 1
                base += 3 * segments
            vertices += 0 if closed else 1
    return vertices


@njit(cache=True, nogil=True)
def _flatten_rectangle(points, base, sx, sy, vertices, v):
    for j in range(4):
        vertices[v + j, 0] = points[base + (1 if j == 1 or j == 2 else 0), 0] * sx
        vertices[v + j, 1] = points[base + j // 2, 1] * sy
    return v + 4


@njit(cache=True, nogil=True)
def _flatten_all(structure, points, counts, sx, sy, vertices, ends):
    """Write the vertices of all contours of all scenes, and the index after each contour's last."""
    at, v, contours = 0, 0, len(structure.segments)
    for b in range(points.shape[0]):
        for p in range(len(structure.kinds)):
            base, closed = structure.points[p], structure.kinds[p] != STROKE
            for contour in range(structure.contours[p], structure.contours[p + 1]):
                segments = structure.segments[contour]
                if structure.kinds[p] == RECTANGLE:
                    v = _flatten_rectangle(points[b], base, sx, sy, vertices, v)
                else:
                    v = _flatten_contour(points[b], base, segments, closed, counts, at, sx, sy, vertices, v)
                ends[b * contours + contour + 1] = v
                at += segments
                base += 3 * segments


@njit(cache=True, nogil=True)
def _measure_strokes(structure, widths, sx, sy, vertices, ends, stops, turns, pens):
    """Fill in where each path's pen corners begin; returns the number of pieces of all paths."""
    paths, contours, pieces = len(structure.kinds), len(structure.segments), 0
    tolerance = STROKE_TOLERANCE / max(sx, sy)
    for i in range(widths.size):
        b, p = i // paths, i % paths
        begin = ends[b * contours + structure.contours[p]]
        end = ends[b * contours + structure.contours[p + 1]]
        pens[i + 1] = pens[i]
        if structure.kinds[p] == STROKE:
            corners = _pen_corners(widths[b, p], tolerance)
            pens[i + 1] += corners
            # One more than needed: a cut tries the next edge before it is known to be kept.
            pieces += _turn_pen(vertices, begin, end, corners, sx, sy, stops, turns)[1] + 1
        else:
            pieces += end - begin
    return pieces


@njit(cache=True, nogil=True)
def build_outline(structure, points, widths, sx, sy):
    """The outline of B scenes, points (B, N, 2) and widths (B, P) in canvas pixels, for a picture sx, sy times the canvas.

    Returns whether all numbers are finite, and the outline.
    """
    batch, paths, contours = points.shape[0], len(structure.kinds), len(structure.segments)
    counts = np.empty(batch * structure.segments.sum(), np.int64)
    total = _count_all(structure, points, TOLERANCE / max(sx, sy), counts)
    finite = total >= 0 and np.isfinite(widths).all()
    total = total if finite else 0
    vertices, ends = np.empty((total, 2)), np.zeros(batch * contours + 1, np.int64)
    stops, turns = np.empty(total + 1, np.int64), np.empty(total + 1, np.int64)
    pens, pieces = np.zeros(batch * paths + 1, np.int64), 0
    if finite:
        _flatten_all(structure, points, counts, sx, sy, vertices, ends)
        pieces = _measure_strokes(structure, widths, sx, sy, vertices, ends, stops, turns, pens)
    outline = Outline(
        vertices,
        counts,
        np.empty((pens[batch * paths], 2)),
        np.empty(pieces, PIECE),
        np.zeros(batch * paths + 1, np.int64),
    )
    e = 0
    for i in range(batch * paths if finite else 0):
        b, p = i // paths, i % paths
        first, last = b * contours + structure.contours[p], b * contours + structure.contours[p + 1]
        if structure.kinds[p] == STROKE:
            corners, radius = pens[i + 1] - pens[i], 0.5 * max(widths[b, p], 0.0)
            _fill_pen(outline.pens, pens[i], corners, sx, sy)
            edges = _turn_pen(vertices, ends[first], ends[last], corners, sx, sy, stops, turns)[0]
            if edges > 0:
                e = _add_stroke(
                    outline.pieces, e, vertices, outline.pens, edges, stops, turns, pens[i], corners, radius, p
                )
            else:
                e = _add_dot(outline.pieces, e, vertices, outline.pens, ends[first], pens[i], corners, radius, p)
        else:
            for contour in range(first, last):
                e = _add_loop(outline.pieces, e, vertices, ends[contour], ends[contour + 1], p)
        outline.firsts[i + 1] = e
    return finite, outline


@njit(cache=True, nogil=True)
def _pull_vertices(pieces, pens, first, last, moments, pulls):
    """Add each piece's pull to the vertices at the ends of its whole edge; returns the pull on the radius.

    Moving a boundary point by d changes the area by d cross the edge's direction, so a piece's two moments (the integrals
    of the upstream gradient, and of it times the place along the piece) are all that is needed.
    """
    total = 0.0
    for e in range(first, last):
        if moments[e, 0] == 0.0 and moments[e, 1] == 0.0:
            continue
        piece = pieces[e]
        dx, dy = piece.x1 - piece.x0, piece.y1 - piece.y0
        end = piece.s0 * moments[e, 0] + (piece.s1 - piece.s0) * moments[e, 1]
        start = moments[e, 0] - end
        pulls[piece.v0, 0] -= start * dy
        pulls[piece.v0, 1] += start * dx
        pulls[piece.v1, 0] -= end * dy
        pulls[piece.v1, 1] += end * dx
        if piece.k0 >= 0:
            total += start * (pens[piece.k0, 1] * dx - pens[piece.k0, 0] * dy)
            total += end * (pens[piece.k1, 1] * dx - pens[piece.k1, 0] * dy)
    return total


@njit(cache=True, nogil=True)
def _pull_contour(base, segments, closed, counts, at, sx, sy, pulls, v, grad):
    """Bring a contour's vertex pulls back to its control points, `_flatten_contour` transposed."""
    for segment in range(segments):
        a = base + 3 * segment
        d = base + _segment_corner(3, segment, segments, closed)
        for j in range(counts[at + segment]):
            w0, w1, w2, w3 = _weights(j, counts[at + segment])
            for k, scale in ((0, sx), (1, sy)):
                pull = pulls[v, k] * scale
                grad[a, k] += w0 * pull
                grad[a + 1, k] += w1 * pull
                grad[a + 2, k] += w2 * pull
                grad[d, k] += w3 * pull
            v += 1
    if not closed:
        grad[base + 3 * segments, 0] += pulls[v, 0] * sx
        grad[base + 3 * segments, 1] += pulls[v, 1] * sy
        v += 1
    return v


@njit(cache=True, nogil=True)
def pull_points(structure, outline, entry_pieces, entry_moments, sx, sy, grad_points, grad_widths):
    """Add to the gradients of points (B, N, 2) and widths (B, P), given moments of pieces, (N, 2) entries with (N,) pieces."""
    at, v, pieces = 0, 0, outline.pieces
    moments = np.zeros((len(pieces), 2))
    for entry in range(len(entry_moments)):
        moments[entry_pieces[entry], 0] += entry_moments[entry, 0]
        moments[entry_pieces[entry], 1] += entry_moments[entry, 1]
    pulls = np.zeros(outline.vertices.shape)
    paths = len(structure.kinds)
    for i in range(grad_widths.size):
        b, p = i // paths, i % paths
        radius = _pull_vertices(pieces, outline.pens, outline.firsts[i], outline.firsts[i + 1], moments, pulls)
        grad_widths[b, p] += 0.5 * radius
        base, closed = structure.points[p], structure.kinds[p] != STROKE
        for contour in range(structure.contours[p], structure.contours[p + 1]):
            segments = structure.segments[contour]
            if structure.kinds[p] == RECTANGLE:
                for j in range(4):
                    grad_points[b, base + (1 if j == 1 or j == 2 else 0), 0] += pulls[v + j, 0] * sx
                    grad_points[b, base + j // 2, 1] += pulls[v + j, 1] * sy
                v += 4
            else:
                v = _pull_contour(base, segments, closed, outline.counts, at, sx, sy, pulls, v, grad_points[b])
            at += segments
            base += 3 * segments
