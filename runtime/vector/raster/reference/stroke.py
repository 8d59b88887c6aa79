"""Twins of `kernels.stroke`: the outline of one stroke with a round pen."""

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Node = tuple[int, int]
"""A vertex of the polyline, and a corner of the pen, not yet taken modulo the number of corners."""

WholeEdge = tuple[int, int, int, int, float, float]
"""Vertex at its start, at its end; pen corner at its start, at its end; the interval of it that a cut leaves."""


def count_corners(radius: float, tolerance: float) -> int:
    """Number of corners of a round pen's polygon, a multiple of 4: it stays within the tolerance of its circle."""
    # An inscribed polygon strays radius (pi / n)^2 / 2, one of the circle's perimeter less. 1e-4 limits n to 316. Of an
    # even number each corner has one opposite, for the way back.
    return max(4 * math.ceil(math.pi / 4 / math.sqrt(max(2 * tolerance / max(radius, 1e-9), 1e-4))), 8)


@lru_cache(maxsize=64)
def unit_pen(corners: int) -> Float[np.ndarray, "{corners} 2"]:
    """Corners of the regular polygon whose perimeter is the unit circle's, so that strokes keep their width."""
    angles = np.arange(corners) * (2 * math.pi / corners)
    scale = (math.pi / corners) / math.sin(math.pi / corners)
    return scale * np.stack((np.cos(angles), np.sin(angles)), -1)


def walk_polyline(vertices: Float[Tensor, "V 2"], count: int) -> tuple[list[int], list[int]]:
    """The vertex before each step that has a length and after the last; the pen corner that each step keeps to.

    The corner is that of `count` which lies farthest in the direction of the step's normal; corners are unwrapped, so
    that their differences are how far the pen is walked round. Without steps the one vertex is the first.
    """
    # How the pen is walked round is a whole number, which has no gradient.
    steps = (vertices[1:] - vertices[:-1]).detach()
    moving = [i for i in range(len(steps)) if steps[i].norm() > 1e-9]
    if not moving:
        return [0], []
    angles = torch.atan2(steps[moving, 1], steps[moving, 0])
    bends = angles.diff()
    # A bend is half a turn at most: its sign tells the inner side from the outer.
    bends = bends - 2 * math.pi * torch.round(bends / (2 * math.pi))
    angles = angles[0] + torch.cat((bends.new_zeros(1), bends.cumsum(0)))
    corners = torch.floor((angles - math.pi / 2) * count / (2 * math.pi) + 0.5).long().tolist()
    return [moving[0], *(i + 1 for i in moving)], corners


def measure_strokes(vertices: Float[Tensor, "V 2"], count: int) -> int:
    """The most edges that a stroke's outline may have, with a pen of `count` corners, and one to try a cut with."""
    corners = walk_polyline(vertices, count)[1]
    around = count + 2 * sum(abs(b - a) for a, b in pairwise(corners))
    return around + 2 * len(corners) + 1


def _steps(vertices: Float[Tensor, "V 2"], count: int) -> list[tuple[int, int, int]]:
    """Start, end and pen corner of each step of the outline: along the polyline and back, then the first once more."""
    stops, corners = walk_polyline(vertices, count)
    forth = [(stops[i], stops[i + 1], k) for i, k in enumerate(corners)]
    back = [(end, start, k + count // 2) for start, end, k in reversed(forth)]
    return [*forth, *back, *((start, end, k + count) for start, end, k in forth[:1])]


def _between(corner: int, after: int) -> list[int]:
    """Pen corners from one to another, both included."""
    return list(range(corner, after + 1) if after > corner else range(corner, after - 1, -1))


def stroke_outline(
    vertices: Float[Tensor, "V 2"], radius: Float[Tensor, ""], corners: Float[Tensor, "K 2"]
) -> Float[Tensor, "E 2"]:
    """Closed outline whose non-zero fill is the union of the polyline's steps, widened by radius * corners.

    Along a step the outline keeps to the pen's corner farthest in the normal's direction; at a vertex it walks round
    the pen. The winding number is the number of the polyline's parts under the pen: never negative. The kernel's
    outline, see `stroke_edges`, has the same fill.
    """
    count = len(corners)
    steps = _steps(vertices, count)
    if not steps:
        return vertices[0] + radius * corners
    nodes: list[Node] = []
    for (_, end, corner), (_, _, after) in pairwise(steps):
        nodes += [(end, k) for k in _between(corner, after)]
        nodes += [(end, after)] if after == corner else []
    # So that the outline begins where the first step does.
    nodes = [nodes[-1], *nodes[:-1]]
    return torch.stack([vertices[stop] + radius * corners[k % count] for stop, k in nodes])


def stroke_edges(
    vertices: Float[Tensor, "V 2"], radius: Float[Tensor, ""], corners: Float[Tensor, "K 2"]
) -> list[WholeEdge]:
    """The edges of a stroke's outline: those of `stroke_outline`, cut on the inner side of a bend where they meet.

    On the outer side of a bend, or where the two offset edges don't meet, the outline walks round the pen.
    """
    count = len(corners)
    steps = _steps(vertices, count)
    if not steps:
        return [(0, 0, k, (k + 1) % count, 0.0, 1.0) for k in range(count)]

    def ends(step: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
        offset = radius * corners[step[2] % count]
        return vertices[step[0]] + offset, vertices[step[1]] + offset

    edges: list[WholeEdge] = []
    begin = 0.0
    for i, (start, end, corner) in enumerate(steps[:-1]):
        after = steps[i + 1][2]
        k = corner % count
        # The inner side of a bend: the offset edges overlap, and what lies beyond the cut is a loop inside the stroke.
        if after < corner:
            places = intersection(*ends(steps[i]), *ends(steps[i + 1]))
            # Both offset edges must have something left of them, or the cut would turn the outline round.
            if begin < places[0] < 1 and 0 < places[1] < 1:
                edges.append((start, end, k, k, begin, places[0]))
                begin = places[1]
                continue
        edges.append((start, end, k, k, begin, 1.0))
        begin = 0.0
        around = _between(corner, after)
        edges += [(end, end, a % count, b % count, 0.0, 1.0) for a, b in pairwise(around)]
    return edges


def intersection(
    a0: Float[Tensor, "2"], a1: Float[Tensor, "2"], b0: Float[Tensor, "2"], b1: Float[Tensor, "2"]
) -> tuple[float, float]:
    """Where two lines cross, as parameters from a0 to a1 and from b0 to b1; -1 if they are parallel."""
    (ax, ay), (bx, by), (ox, oy) = ((end - start).tolist() for start, end in ((a0, a1), (b0, b1), (a0, b0)))
    determinant = ax * by - ay * bx
    if determinant == 0:
        return -1.0, -1.0
    return (ox * by - oy * bx) / determinant, (ox * ay - oy * ax) / determinant


def build_strokes(
    vertices: Float[Tensor, "V 2"], radius: Float[Tensor, ""], corners: Float[Tensor, "K 2"]
) -> tuple[Float[Tensor, "E 2"], Float[Tensor, "E 2"]]:
    """Starts and ends of a stroke's edges, as cuts leave them."""
    starts, ends = [], []
    for v0, v1, k0, k1, begin, end in stroke_edges(vertices, radius, corners):
        a = vertices[v0] + radius * corners[k0]
        b = vertices[v1] + radius * corners[k1]
        starts.append(a + begin * (b - a))
        ends.append(a + end * (b - a))
    return torch.stack(starts), torch.stack(ends)
