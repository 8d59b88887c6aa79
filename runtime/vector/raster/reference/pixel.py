"""Twins of `kernels.pixel`: the fill rule applied exactly within one pixel."""

from itertools import pairwise

import numpy as np
from jaxtyping import Float64

from runtime.vector.raster.kernels.cells import ENTER_LEFT, EXIT_LEFT

_ASIDE = 1e-7
"""How far from an edge, in pixels, winding numbers on its two sides are taken."""


def inside(winding: int, evenodd: bool) -> float:
    """1.0 where the winding number is inside, 0.0 where outside."""
    return float(winding % 2 if evenodd else winding != 0)


def _left_winding(edges: np.ndarray, corner: int, y: float) -> int:
    """Winding number at the pixel's left border at height y, that of its upper left corner being given."""
    enters = (edges["borders"] & ENTER_LEFT > 0) & (edges["y0"] < y)
    exits = (edges["borders"] & EXIT_LEFT > 0) & (edges["y1"] < y)
    # Below an edge that goes right the winding number is lower by one than above it.
    return corner - int(enters.sum()) + int(exits.sum())


def _crossings(edges: np.ndarray, y: float) -> list[tuple[float, int]]:
    """Where a level line crosses edges, from left to right: x, and 1 for downward edges, -1 for upward ones."""
    down = edges["y1"] > edges["y0"]
    crossed = edges[(edges["y0"] < y) != (edges["y1"] < y)]
    x = crossed["x0"] + (y - crossed["y0"]) / (crossed["y1"] - crossed["y0"]) * (crossed["x1"] - crossed["x0"])
    ways = np.where(down[(edges["y0"] < y) != (edges["y1"] < y)], 1, -1)
    return sorted(zip(x.tolist(), ways.tolist(), strict=True))


def _intersections(edges: np.ndarray) -> list[tuple[int, float]]:
    """The edge and the place on it, from 0 to 1, of every intersection of two edges."""
    places = []
    for i, a in enumerate(edges):
        for j, b in enumerate(edges):
            ax, ay, bx, by = a["x1"] - a["x0"], a["y1"] - a["y0"], b["x1"] - b["x0"], b["y1"] - b["y0"]
            determinant = ax * by - ay * bx
            if i == j or determinant == 0:
                continue
            ox, oy = b["x0"] - a["x0"], b["y0"] - a["y0"]
            s, t = (ox * by - oy * bx) / determinant, (ox * ay - oy * ax) / determinant
            if 0 < s < 1 and 0 < t < 1:
                places.append((i, float(s)))
    return places


def pixel_area(edges: np.ndarray, corner: int, evenodd: bool) -> float:
    """Filled area of a pixel, given a path's edges in it and the winding number at its upper left corner.

    Between two heights at which nothing ends or crosses, the filled region is a row of trapezoids: its area is the
    height times the filled length half-way.

    Args:
        edges: (n,) of dtype `kernels.pixel.PIXEL_EDGE`.
        corner: winding number.
        evenodd: whether the path's rule is even-odd.
    """
    heights = {0.0, 1.0, *edges["y0"].tolist(), *edges["y1"].tolist()}
    heights |= {float(edges["y0"][i] + s * (edges["y1"][i] - edges["y0"][i])) for i, s in _intersections(edges)}
    breaks = sorted(height for height in heights if 0 <= height <= 1)
    area = 0.0
    for top, bottom in pairwise(breaks):
        middle = (top + bottom) / 2
        winding = _left_winding(edges, corner, middle)
        left = 0.0
        for place, way in _crossings(edges, middle):
            # Rounding may put a place a little outside the pixel.
            x = min(max(place, 0.0), 1.0)
            area += (bottom - top) * (x - left) * inside(winding, evenodd)
            winding += way
            left = x
        area += (bottom - top) * (1 - left) * inside(winding, evenodd)
    return area


def _winding_at(edges: np.ndarray, corner: int, x: float, y: float) -> int:
    """Winding number at a place in the pixel."""
    return _left_winding(edges, corner, y) + sum(way for place, way in _crossings(edges, y) if place < x)


def pixel_moments(edges: np.ndarray, corner: int, evenodd: bool) -> Float64[np.ndarray, "n 2"]:
    """Each edge's moments: integrals over its parameter of weight, and of weight times parameter.

    The weight of a place on an edge is `inside` on the side of the higher winding number, less `inside` on the other
    side. It is constant between intersections. For edges in general position.
    """
    moments = np.zeros((len(edges), 2))
    intersections = _intersections(edges)
    for i, edge in enumerate(edges):
        ax, ay = edge["x1"] - edge["x0"], edge["y1"] - edge["y0"]
        length = float(np.hypot(ax, ay))
        if length == 0:
            continue
        stops = sorted([0.0, *(s for j, s in intersections if j == i), 1.0])
        for begin, end in pairwise(stops):
            middle = (begin + end) / 2
            x, y = edge["x0"] + middle * ax, edge["y0"] + middle * ay
            # This way the winding number is the higher one, whatever the edge's direction: right of a downward edge.
            aside_x, aside_y = _ASIDE * ay / length, -_ASIDE * ax / length
            right, left = (
                inside(_winding_at(edges, corner, x + sign * aside_x, y + sign * aside_y), evenodd) for sign in (1, -1)
            )
            first, last = (float(edge["s"] + place * (edge["t"] - edge["s"])) for place in (begin, end))
            moments[i] += (right - left) * (last - first) * np.array((1, (first + last) / 2))
    return moments
