"""Compiled: the outlines of strokes with a round pen, a regular polygon of `reference.stroke.count_corners` corners.

Along a step of the polyline the outline keeps to the pen's corner farthest in the normal's direction; at a vertex it
walks round the pen. On the inner side of a bend the two offset edges are cut where they meet, which drops a loop
inside the stroke. Each cut edge remembers its interval on the whole edge, whose ends depend linearly on one polyline
vertex and one pen corner each, so that gradients are exact without differentiating the cut.
"""

import math
from typing import NamedTuple

import numpy as np

from runtime.kernels.jit import entry, inlined, inner
from runtime.vector.raster.kernels.outline import FIRST, LAST, STROKE


class Polylines(NamedTuple):
    """All contours flattened."""

    firsts: np.ndarray
    """(B * S + 1,) first vertex of each segment."""
    vertices: np.ndarray
    """(V, 2) in picture pixels."""
    scale: tuple[float, float]
    """x and y, of the picture to the canvas."""


class Pens(NamedTuple):
    """The pens of all paths of all scenes; a path that is no stroke has none."""

    firsts: np.ndarray
    """(B * P + 1,) first corner of each path's pen."""
    corners: np.ndarray
    """(U, 2) corners, scaled to the picture, for a radius of 1."""
    radii: np.ndarray
    """(B * P,) in canvas pixels."""


class Walk(NamedTuple):
    """Working space for one stroke at a time: the steps of its polyline that have a length."""

    stops: np.ndarray
    """(V + 1,) int64: the vertex before each step, and the one after the last."""
    corners: np.ndarray
    """(V + 1,) int64: pen corner that each step keeps to, unwrapped."""


class _Stroke(NamedTuple):
    """One stroke."""

    path: int
    """Counted through all scenes."""
    pen: int
    """First corner of its pen."""
    corners: int
    """Corners of its pen."""
    steps: int
    """Steps of its polyline; 0 for a dot."""


@inner
def _walk_polyline(polylines, v, end, corners, walk):
    """Fill in the walk from vertex v to before `end`; returns the number of steps, and room for the outline's edges."""
    vertices = polylines.vertices
    scale = polylines.scale
    stops = walk.stops
    steps = 0
    angle = 0.0
    room = corners
    stops[0] = v
    for i in range(v + 1, end):
        # The pen is round on the canvas, and an ellipse in a picture of another aspect: angles are those of the canvas.
        dx = (vertices[i, 0] - vertices[i - 1, 0]) / scale[0]
        dy = (vertices[i, 1] - vertices[i - 1, 1]) / scale[1]
        # A step shorter than 1e-9 pixels has a direction of rounding errors alone.
        if dx * dx + dy * dy <= 1e-18:
            continue
        new = math.atan2(dy, dx)
        if steps > 0:
            # The nearest turn: a bend is half a turn at most, and its sign says which side is the inner one.
            bend = new - angle
            new = angle + bend - 2.0 * math.pi * np.rint(bend / (2.0 * math.pi))
        else:
            stops[0] = i - 1
        angle = new
        # The corner nearest to the normal, a quarter turn from the step. Unwrapped, corners tell how far to walk.
        walk.corners[steps] = int(np.floor((angle - math.pi / 2) * corners / (2.0 * math.pi) + 0.5))
        if steps > 0:
            # Both ways each bend is cut or walked round, so twice at most. The two caps together are one pen.
            room += 2 * abs(walk.corners[steps] - walk.corners[steps - 1])
        steps += 1
        stops[steps] = i
    # One more than needed: a cut tries the next edge before it is known to stay.
    return steps, room + 2 * steps + 1


@inlined
def measure_strokes(structure, polylines, pens, walk, rooms):
    """Write room for the edges of each stroke into (B * P,) `rooms`.

    Twin: `reference.stroke.measure_strokes`, of one stroke.
    """
    paths = structure.paths
    contours = structure.contours
    for path in range(len(rooms)):
        p = path % len(structure.kinds)
        base = path // len(structure.kinds) * len(structure.controls)
        if structure.kinds[p] == STROKE:
            begin = polylines.firsts[base + contours[paths[p]]]
            end = polylines.firsts[base + contours[paths[p] + 1]]
            rooms[path] = _walk_polyline(polylines, begin, end, pens.firsts[path + 1] - pens.firsts[path], walk)[1]


@inner
def _set_whole(edge, vertices, pens, stroke, start, end):
    """Make an edge the whole one from a start to an end, a vertex and a pen corner each."""
    radius = pens.radii[stroke.path]
    v0, k0 = start
    v1, k1 = end
    edge.x0 = vertices[v0, 0] + radius * pens.corners[k0, 0]
    edge.y0 = vertices[v0, 1] + radius * pens.corners[k0, 1]
    edge.x1 = vertices[v1, 0] + radius * pens.corners[k1, 0]
    edge.y1 = vertices[v1, 1] + radius * pens.corners[k1, 1]
    edge.s0 = 0.0
    edge.s1 = 1.0
    edge.mark = 0
    edge.path = stroke.path
    edge.v0 = v0
    edge.v1 = v1
    edge.k0 = k0
    edge.k1 = k1


@inner
def _intersect(a, b, after):
    """Where two whole edges cross: parameters on both, or -1 if not beyond parameter `after` of the first."""
    ax = a.x1 - a.x0
    ay = a.y1 - a.y0
    bx = b.x1 - b.x0
    by = b.y1 - b.y0
    determinant = ax * by - ay * bx
    if determinant == 0.0:
        return -1.0, -1.0
    s = ((b.x0 - a.x0) * by - (b.y0 - a.y0) * bx) / determinant
    t = ((b.x0 - a.x0) * ay - (b.y0 - a.y0) * ax) / determinant
    # A cut before the one at the edge's start would leave an interval that runs backwards.
    if after < s < 1.0 and 0.0 < t < 1.0:
        return s, t
    return -1.0, -1.0


@inner
def _corner_at(walk, i, stroke):
    """Pen corner, unwrapped, of outline step i: along the polyline, back on its other side, then as at the start."""
    steps = stroke.steps
    if i < steps:
        return walk.corners[i]
    if i < 2 * steps:
        return walk.corners[2 * steps - 1 - i] + stroke.corners // 2
    return walk.corners[0] + stroke.corners


@inlined
def _stop_at(walk, i, stroke):
    """Polyline vertex where outline step i begins."""
    return walk.stops[i] if i <= stroke.steps else walk.stops[2 * stroke.steps - i]


@inlined
def _add_stroke(edges, e, vertices, pens, walk, stroke):
    """Write the edges of one stroke; returns the next free edge."""
    first = e
    start = 0.0
    meet_x = 0.0
    meet_y = 0.0
    # At both ends of the polyline the corner grows by half a pen, so a cap is never an inner side: no cut joins the
    # last edge to the first, and step i + 2 exists wherever a cut is tried.
    for i in range(2 * stroke.steps):
        corner = _corner_at(walk, i, stroke)
        after = _corner_at(walk, i + 1, stroke)
        v0 = _stop_at(walk, i, stroke)
        v1 = _stop_at(walk, i + 1, stroke)
        # Unwrapped corners can be negative; the modulo, as Python's, is not.
        k = stroke.pen + corner % stroke.corners
        edge = edges[e]
        _set_whole(edge, vertices, pens, stroke, (v0, k), (v1, k))
        s = -1.0
        t = -1.0
        if after < corner:  # the inner side of a bend
            v2 = _stop_at(walk, i + 2, stroke)
            n = stroke.pen + after % stroke.corners
            _set_whole(edges[e + 1], vertices, pens, stroke, (v1, n), (v2, n))
            s, t = _intersect(edge, edges[e + 1], start)
        # Before the start of the edge moves to the last cut, as s counts along the whole edge.
        next_x = edge.x0 + s * (edge.x1 - edge.x0)
        next_y = edge.y0 + s * (edge.y1 - edge.y0)
        if start > 0.0:
            edge.x0 = meet_x
            edge.y0 = meet_y
            edge.s0 = start
        e += 1
        start = 0.0
        if s > 0.0:
            # The next edge starts at the very same numbers: a gap of one rounding would leave the contour open.
            edge.x1 = next_x
            edge.y1 = next_y
            edge.s1 = s
            start = t
            meet_x = next_x
            meet_y = next_y
            continue
        way = 1 if after > corner else -1
        while corner != after:
            a = stroke.pen + corner % stroke.corners
            b = stroke.pen + (corner + way) % stroke.corners
            _set_whole(edges[e], vertices, pens, stroke, (v1, a), (v1, b))
            corner += way
            e += 1
    edges[first].mark |= FIRST
    edges[e - 1].mark |= LAST
    return e


@inlined
def _add_dot(edges, e, vertices, pens, v, stroke):
    """Write the edges of a stroke of no length: its pen. Returns the next free edge."""
    for k in range(stroke.corners):
        corner = stroke.pen + k
        after = stroke.pen + (k + 1) % stroke.corners
        _set_whole(edges[e + k], vertices, pens, stroke, (v, corner), (v, after))
    edges[e].mark |= FIRST
    edges[e + stroke.corners - 1].mark |= LAST
    return e + stroke.corners


@inlined
def stroke_edges(structure, polylines, pens, walk, ranges, edges):
    """Write the edges of all strokes, and the end of each one's range.

    Twin: `reference.stroke.stroke_edges`, of one stroke.

    Args:
        structure: the layout.
        polylines: of all paths.
        pens: of all strokes.
        walk: working space.
        ranges: (B * P, 2) first edge of each path, and the one after its last.
        edges: (E,) EDGE, written.
    """
    paths = structure.paths
    contours = structure.contours
    for path in range(len(ranges)):
        p = path % len(structure.kinds)
        base = path // len(structure.kinds) * len(structure.controls)
        if structure.kinds[p] != STROKE:
            continue
        begin = polylines.firsts[base + contours[paths[p]]]
        end = polylines.firsts[base + contours[paths[p] + 1]]
        pen = pens.firsts[path]
        corners = pens.firsts[path + 1] - pen
        steps = _walk_polyline(polylines, begin, end, corners, walk)[0]
        stroke = _Stroke(path, pen, corners, steps)
        # Room that cuts leave over lies beyond the range's end. It belongs to no path.
        if steps > 0:
            ranges[path, 1] = _add_stroke(edges, ranges[path, 0], polylines.vertices, pens, walk, stroke)
        else:
            ranges[path, 1] = _add_dot(edges, ranges[path, 0], polylines.vertices, pens, begin, stroke)


@entry
def build_strokes(structure, polylines, pens, ranges):
    """Room for the edges of all paths, in which those of strokes are written; those of fills are `close_loops`'.

    Twin: `reference.stroke.build_strokes`, of one stroke.

    Args:
        structure: the layout.
        polylines: of all paths.
        pens: of all strokes.
        ranges: (B * P, 2) first vertex of each path, and the one after its last; overwritten with ranges of edges.
    """
    vertices = len(polylines.vertices)
    # One working space for all strokes, one after another: none has more vertices than all have together.
    walk = Walk(np.empty(vertices + 1, np.int64), np.empty(vertices + 1, np.int64))
    rooms = ranges[:, 1] - ranges[:, 0]
    measure_strokes(structure, polylines, pens, walk, rooms)
    total = 0
    for path in range(len(ranges)):
        ranges[path, 0] = total
        total += rooms[path]
        ranges[path, 1] = total
    edges = np.empty(total, structure.no_edges.dtype)
    stroke_edges(structure, polylines, pens, walk, ranges, edges)
    return edges
