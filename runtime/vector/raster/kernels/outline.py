"""Compiled: from control points to straight edges in picture pixels, and gradients of edges back to them.

To the kernels every contour is a list of cubic segments whose controls may be any coordinates of any points: a
rectangle's sides and a stroke's last point are segments with four equal controls, which have one edge.
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from runtime.kernels.jit import entry, inner, stamp_of
from runtime.vector.raster.kernels.limits import MAX_EDGES, STRAIGHT

STROKE = 2
FIRST, LAST = 1, 2
"""Marks of an edge that opens and of one that closes its contour."""

STAMP = stamp_of(Path(__file__).parent)
"""A field of `EDGE`, an array of which is in the arguments of every entry kernel that calls into another file."""

EDGE = np.dtype(
    [
        *((name, np.float64) for name in ("x0", "y0", "x1", "y1", "s0", "s1")),
        *((name, np.int32) for name in ("v0", "v1", "k0", "k1", "mark", "path", "low", "high", STAMP)),
    ],
    align=True,
)
"""An edge, which may be what a cut has left of a whole one: its ends in picture pixels; the interval s0 to s1 that it
is of the whole edge; the vertex at the start and at the end of the whole edge, and the pen corner of each (-1: none);
FIRST and LAST; its path, counted through all scenes; the first and last band that it touches; nothing (`STAMP`)."""


class Structure(NamedTuple):
    """A layout as int64 arrays."""

    kinds: np.ndarray
    """(P,) `Kind` of each path."""
    paths: np.ndarray
    """(P + 1,) first contour of each path."""
    contours: np.ndarray
    """(C + 1,) first segment of each contour."""
    controls: np.ndarray
    """(S, 4, 2) the points that give x and y of each segment's control points."""
    no_edges: np.ndarray
    """(0,) EDGE: gives kernels the dtype to make edges of, and their signatures the stamp."""


class View(NamedTuple):
    """How a canvas becomes a picture."""

    scale: tuple[float, float]
    """x and y, of the picture to the canvas."""
    tolerance: float
    """Largest distance between curve and chord in canvas pixels."""
    size: tuple[int, int]
    """Height and width of the picture in pixels."""


class Outline(NamedTuple):
    """The edges of all paths of all scenes, and how they follow from the points."""

    firsts: np.ndarray
    """(B * S + 1,) int64: first vertex of each segment, and last of all V, the number of vertices."""
    pens: np.ndarray
    """(U, 2) corners of all strokes' pens, scaled to the picture, for a radius of 1."""
    edges: np.ndarray
    """(E,) EDGE."""


@inner
def count_edges(controls, points, tolerance, firsts):
    """Write the first vertex of each segment of each scene, and last of all the number of vertices.

    Twin: `reference.outline.count_edges`, of one segment.

    Args:
        controls: see `Structure`.
        points: (B, N, 2) in canvas pixels.
        tolerance: largest distance between curve and chord in canvas pixels.
        firsts: (B * S + 1,) int64, written.
    """
    at = 0
    total = 0
    for b in range(len(points)):
        for segment in range(len(controls)):
            bend = 0.0
            for k in range(2):
                square = 0.0
                for axis in range(2):
                    x = points[b, controls[segment, k, axis], axis]
                    y = points[b, controls[segment, k + 1, axis], axis]
                    z = points[b, controls[segment, k + 2, axis], axis]
                    square += (x - 2.0 * y + z) ** 2
                bend = max(bend, square)
            # A chord over 1/n of a cubic strays at most 1 / (8 n^2) of its largest second derivative, which is 6 times
            # its largest second difference: so `off` is n^2.
            off = 0.75 * math.sqrt(bend) / tolerance
            count = 1
            if off >= STRAIGHT:
                # Limited while still a float: the squares of far points can overflow to infinity, which has no integer.
                count = max(int(np.ceil(math.sqrt(min(off, float(MAX_EDGES) ** 2)))), 2)
            firsts[at] = total
            total += count
            at += 1
    firsts[at] = total


@inner
def _steps(count):
    """Parameter of vertex 1 less that of vertex 0, and the other vertices' step: `reference.outline.vertex_weights`."""
    # Never a division by zero, as count is 1 or more. At 1 there are no other vertices, and the step has no effect.
    step = 1.0 / (count - 2 + math.sqrt(2.0))
    return step * math.sqrt(0.5), step


@inner
def flatten(controls, points, firsts, scale, vertices):
    """Write the vertices (V, 2) of all segments, `scale` (x, y) times the canvas.

    Twin: `reference.outline.flatten`, of one contour.
    """
    at = 0
    for b in range(len(points)):
        for segment in range(len(controls)):
            first = firsts[at]
            last = firsts[at + 1]
            at += 1
            start, step = _steps(last - first)
            for axis in range(2):
                p0 = points[b, controls[segment, 0, axis], axis] * scale[axis]
                p1 = points[b, controls[segment, 1, axis], axis] * scale[axis]
                p2 = points[b, controls[segment, 2, axis], axis] * scale[axis]
                p3 = points[b, controls[segment, 3, axis], axis] * scale[axis]
                # The end is the next segment's start; a stroke's last point is a segment of its own.
                vertices[first, axis] = p0
                # The curve as a polynomial, less step^2 / 12 of its second derivative.
                c2 = 3.0 * (p0 - 2.0 * p1 + p2)
                c3 = p3 - p0 + 3.0 * (p1 - p2)
                c1 = 3.0 * (p1 - p0) - step * step / 2.0 * c3
                c0 = p0 - step * step / 6.0 * c2
                for v in range(first + 1, last):
                    t = start + (v - first - 1) * step
                    vertices[v, axis] = c0 + t * (c1 + t * (c2 + t * c3))


@inner
def flatten_backward(controls, firsts, grad_vertices, scale, grad_points):
    """Add the vertices' gradients (V, 2) to those of the points (B, N, 2): `flatten` transposed.

    Twin: `reference.outline.flatten_backward`, of one segment.
    """
    at = 0
    for b in range(len(grad_points)):
        for segment in range(len(controls)):
            first = firsts[at]
            last = firsts[at + 1]
            at += 1
            start, step = _steps(last - first)
            for axis in range(2):
                g0 = 0.0
                g1 = 0.0
                g2 = 0.0
                g3 = 0.0
                # These sums are the gradients by the coefficients c0 to c3 of `flatten`.
                for v in range(first + 1, last):
                    t = start + (v - first - 1) * step
                    grad = grad_vertices[v, axis]
                    g0 += grad
                    g1 += t * grad
                    g2 += t * t * grad
                    g3 += t * t * t * grad
                # `flatten` takes a part of c2 from c0 and a part of c3 from c1.
                g2 -= step * step / 6.0 * g0
                g3 -= step * step / 2.0 * g1
                p0 = grad_vertices[first, axis] + g0 - 3.0 * g1 + 3.0 * g2 - g3
                p1 = 3.0 * (g1 - 2.0 * g2 + g3)
                p2 = 3.0 * (g2 - g3)
                # Segments share points, so the order of these sums counts: it is that of the scenes and segments.
                grad_points[b, controls[segment, 0, axis], axis] += p0 * scale[axis]
                grad_points[b, controls[segment, 1, axis], axis] += p1 * scale[axis]
                grad_points[b, controls[segment, 2, axis], axis] += p2 * scale[axis]
                grad_points[b, controls[segment, 3, axis], axis] += g3 * scale[axis]


@entry
def close_loops(structure, firsts, vertices, ranges, edges):
    """Write the edges of all fills: of each contour from vertex to vertex and back to the first.

    Twin: `reference.outline.close_loops`, of one path.

    Args:
        structure: the layout.
        firsts: see `Outline`.
        vertices: see `flatten`.
        ranges: (B * P, 2) first edge of each path, and the one after its last.
        edges: (E,) EDGE, written.
    """
    for path in range(len(ranges)):
        p = path % len(structure.kinds)
        base = path // len(structure.kinds) * len(structure.controls)
        if structure.kinds[p] == STROKE:
            continue
        e = ranges[path, 0]
        for contour in range(structure.paths[p], structure.paths[p + 1]):
            begin = firsts[base + structure.contours[contour]]
            end = firsts[base + structure.contours[contour + 1]]
            for i in range(begin, end):
                j = i + 1 if i + 1 < end else begin
                edge = edges[e]
                edge.x0 = vertices[i, 0]
                edge.y0 = vertices[i, 1]
                edge.x1 = vertices[j, 0]
                edge.y1 = vertices[j, 1]
                edge.s0 = 0.0
                edge.s1 = 1.0
                edge.path = path
                edge.v0 = i
                edge.v1 = j
                edge.k0 = -1
                edge.k1 = -1
                edge.mark = (FIRST if i == begin else 0) | (LAST if j == begin else 0)
                e += 1


@inner
def edges_backward(outline, entries, moments, grad_vertices, grad_radii):
    """Add each edge's gradient to the ends of its whole edge (V, 2), and to its radius (B * P,).

    Moving a boundary point by d changes the area by d cross the edge's direction, so an edge's two moments (the
    integrals of the upstream gradient, and of it times the place along the edge) are all that is needed. `moments`
    (N, 2) belong to the edges `entries` (N,). An edge in several bands has an entry in each; they are added in the
    order of the bands, on one thread.

    Twin: `reference.outline.edges_backward`.
    """
    # One thread: edges share vertices, so several would race, and the order of the sums would differ between runs.
    for k in range(len(entries)):
        if moments[k, 0] == 0.0 and moments[k, 1] == 0.0:
            continue
        edge = outline.edges[entries[k]]
        # The direction of what a cut has left, because the moments are over that part's own parameter.
        dx = edge.x1 - edge.x0
        dy = edge.y1 - edge.y0
        # Place t is place p = s0 + (s1 - s0) t of the whole edge, and moves by p with its end, by 1 - p with its start.
        # s0 and s1 are constants: a cut moves along the edge, which changes no area.
        end = edge.s0 * moments[k, 0] + (edge.s1 - edge.s0) * moments[k, 1]
        start = moments[k, 0] - end
        grad_vertices[edge.v0, 0] -= start * dy
        grad_vertices[edge.v0, 1] += start * dx
        grad_vertices[edge.v1, 0] -= end * dy
        grad_vertices[edge.v1, 1] += end * dx
        if edge.k0 >= 0:
            # A stroke's end is vertex + radius * corner: by the radius it moves along the pen's corner.
            pens = outline.pens
            grad_radii[edge.path] += start * (pens[edge.k0, 1] * dx - pens[edge.k0, 0] * dy)
            grad_radii[edge.path] += end * (pens[edge.k1, 1] * dx - pens[edge.k1, 0] * dy)
