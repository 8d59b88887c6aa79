"""Compiled: the outlines of strokes with a round pen, `runtime.vector.raster.reference.stroke_outline`.

One difference: on the inner side of a turn the two offset edges are cut where they meet, which drops a loop inside
the stroke. Each cut edge remembers its span on the whole edge, whose ends depend linearly on one polyline vertex and
one pen corner each, so that gradients are exact without differentiating the cut.
"""

import math

import numpy as np

from runtime.vector.raster.kernels.jit import entry, inner
from runtime.vector.raster.kernels.outline import FIRST, LAST, STROKE


@inner
def _turn_pen(vertices, v, end, corners, scale, stops, turns):
    """Polyline vertices that differ, and for each edge between them the pen corner it keeps to, unwrapped.

    Returns the number of edges, and room for the pieces of the whole outline.
    """
    edges, angle, pieces = 0, 0.0, corners
    stops[0] = v
    for i in range(v + 1, end):
        dx, dy = (vertices[i, 0] - vertices[i - 1, 0]) / scale[0], (vertices[i, 1] - vertices[i - 1, 1]) / scale[1]
        if dx * dx + dy * dy <= 1e-18:
            continue
        new = math.atan2(dy, dx)
        if edges > 0:
            turn = new - angle
            new = angle + turn - 2.0 * math.pi * np.rint(turn / (2.0 * math.pi))
        else:
            stops[0] = i - 1
        angle = new
        turns[edges] = int(np.floor((angle - math.pi / 2) * corners / (2.0 * math.pi) + 0.5))
        if edges > 0:
            pieces += 2 * abs(turns[edges] - turns[edges - 1])
        edges += 1
        stops[edges] = i
    # One more than needed: a cut tries the next edge before it is known to be kept.
    return edges, pieces + 2 * edges + 1


@entry
def measure_strokes(structure, firsts, vertices, pens, scale, stops, turns, rooms):
    """Write room for the pieces of each stroke.

    Args:
        structure: the layout.
        firsts: see `outline.count_pieces`.
        vertices: see `outline.flatten`.
        pens: (B * P + 1,) first pen corner of each path.
        scale: x and y.
        stops: (V + 1,) working space.
        turns: (V + 1,) working space.
        rooms: (B * P,) written.
    """
    kinds, paths, contours, corners = structure
    for path in range(len(rooms)):
        p, base = path % len(kinds), path // len(kinds) * len(corners)
        if kinds[p] == STROKE:
            begin, end = firsts[base + contours[paths[p]]], firsts[base + contours[paths[p] + 1]]
            rooms[path] = _turn_pen(vertices, begin, end, pens[path + 1] - pens[path], scale, stops, turns)[1]


@inner
def _add_whole(piece, vertices, pens, v0, v1, k0, k1, radius, path):
    """Make a piece the edge from pen corner k0 at vertex v0 to pen corner k1 at vertex v1."""
    piece.x0, piece.y0 = vertices[v0, 0] + radius * pens[k0, 0], vertices[v0, 1] + radius * pens[k0, 1]
    piece.x1, piece.y1 = vertices[v1, 0] + radius * pens[k1, 0], vertices[v1, 1] + radius * pens[k1, 1]
    piece.s0, piece.s1, piece.mark, piece.path = 0.0, 1.0, 0, path
    piece.v0, piece.v1, piece.k0, piece.k1 = v0, v1, k0, k1


@inner
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


@inner
def _turn_at(turns, i, edges, corners):
    """Pen corner, unwrapped, of outline edge i: along the polyline, back on its other side, then as at the start."""
    if i < edges:
        return turns[i]
    return turns[2 * edges - 1 - i] + corners // 2 if i < 2 * edges else turns[0] + corners


@inner
def _stop_at(stops, i, edges):
    """Polyline vertex where outline edge i begins."""
    return stops[i] if i <= edges else stops[2 * edges - i]


@inner
def _add_stroke(pieces, e, vertices, pens, edges, stops, turns, pen, corners, radius, path):
    """The pieces of one stroke; returns the next free piece."""
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


@inner
def _add_dot(pieces, e, vertices, pens, v, pen, corners, radius, path):
    """The pieces of a stroke of no length: its pen. Returns the next free piece."""
    for k in range(corners):
        _add_whole(pieces[e + k], vertices, pens, v, v, pen + k, pen + (k + 1) % corners, radius, path)
    pieces[e].mark |= FIRST
    pieces[e + corners - 1].mark |= LAST
    return e + corners


@entry
def add_strokes(structure, firsts, vertices, pens, corners, radii, scale, stops, turns, ranges, pieces):
    """Write the pieces of all strokes, and the end of each one's range.

    Args:
        structure: the layout.
        firsts: see `outline.count_pieces`.
        vertices: see `outline.flatten`.
        pens: (B * P + 1,) first pen corner of each path.
        corners: (U, 2) the pens' corners, scaled to the picture, for a radius of 1.
        radii: (B * P,) in canvas pixels.
        scale: x and y.
        stops: (V + 1,) working space.
        turns: (V + 1,) working space.
        ranges: (B * P, 2) of pieces, see `outline.add_loops`.
        pieces: (E,) PIECE, written.
    """
    kinds, paths, contours, segments = structure
    for path in range(len(ranges)):
        p, base = path % len(kinds), path // len(kinds) * len(segments)
        if kinds[p] != STROKE:
            continue
        begin, end = firsts[base + contours[paths[p]]], firsts[base + contours[paths[p] + 1]]
        pen, count, radius, e = pens[path], pens[path + 1] - pens[path], radii[path], ranges[path, 0]
        edges = _turn_pen(vertices, begin, end, count, scale, stops, turns)[0]
        if edges > 0:
            e = _add_stroke(pieces, e, vertices, corners, edges, stops, turns, pen, count, radius, path)
        else:
            e = _add_dot(pieces, e, vertices, corners, begin, pen, count, radius, path)
        ranges[path, 1] = e
