"""What one thread does: coverage of a pixel, its colours, and their gradients. Compiled for the CPU in tests.

A path's edges go from vertex to vertex of its segments: `vertices` (B, S, M, 2), of which the first `counts` (B, S) are
there; the last one of a segment leads to the first of segment `following` (S,).

Unlike the kernels on the CPU, nothing is accumulated from pixel to pixel: a pixel gathers the pieces of a path's edges
that lie in its row, within it or left of it, and integrates level slabs. Pieces that are left of it count for the
winding number alone.
"""

import math
from typing import NamedTuple

import numpy as np

from runtime.kernels.jit import inner
from runtime.vector.raster.kernels.pixel import _integrate_slabs, inside

PIECES = 24
"""Pieces of a path's edges that a pixel takes at most; others beyond are left out. A chain left of it is one."""

BREAKS = 3 + PIECES * (PIECES + 3) // 2
"""Heights between slabs at most."""

DEPTH = 32
"""Longest list of a tile whose coverages a pixel keeps on the way back; for a longer one it computes them anew."""

TILE = 16
"""Side of the squares of pixels that share a list of paths."""


class Shapes(NamedTuple):
    """Arrays that say what is drawn."""

    vertices: np.ndarray
    """(B, S, M, 2) float64, in picture pixels."""
    counts: np.ndarray
    """(B, S) int32: vertices of each segment."""
    following: np.ndarray
    """(S,) int32: the segment after each in its contour."""
    firsts: np.ndarray
    """(P + 1,) int32: first segment of each path."""
    evenodd: np.ndarray
    """(P,) int32: which paths' rule is even-odd."""
    colours: np.ndarray
    """(B, P, 4) float64."""
    background: np.ndarray
    """(B, 3) float64."""


class Lists(NamedTuple):
    """Which paths come near each tile, in the order in which they are drawn."""

    paths: np.ndarray
    """(B, T, P) int32."""
    lengths: np.ndarray
    """(B, T) int32."""


@inner
def edge_of(shapes, b, segment, i):
    """The ends of an edge: x0, y0, x1, y1."""
    v = shapes.vertices
    x0 = v[b, segment, i, 0]
    y0 = v[b, segment, i, 1]
    if i + 1 < shapes.counts[b, segment]:
        return x0, y0, v[b, segment, i + 1, 0], v[b, segment, i + 1, 1]
    after = shapes.following[segment]
    return x0, y0, v[b, after, 0, 0], v[b, after, 0, 1]


@inner
def bound(shapes, b, path):
    """The box of a path: x and y of its upper left and of its lower right corner."""
    left = np.inf
    top = np.inf
    right = -np.inf
    bottom = -np.inf
    for segment in range(shapes.firsts[path], shapes.firsts[path + 1]):
        for i in range(shapes.counts[b, segment]):
            x = shapes.vertices[b, segment, i, 0]
            y = shapes.vertices[b, segment, i, 1]
            left = min(left, x)
            right = max(right, x)
            top = min(top, y)
            bottom = max(bottom, y)
    return left, top, right, bottom


@inner
def list_paths(boxes, b, column, row, lists, tile):
    """Write which paths' boxes meet a tile."""
    count = 0
    left = column * TILE
    top = row * TILE
    for path in range(boxes.shape[1]):
        # The box of a path that is not finite meets none.
        if (
            boxes[b, path, 0] < left + TILE
            and boxes[b, path, 2] >= left
            and boxes[b, path, 1] < top + TILE
            and boxes[b, path, 3] >= top
        ):
            lists.paths[b, tile, count] = path
            count += 1
    lists.lengths[b, tile] = count


@inner
def _add(pieces, count, edge, s, t, own):
    """Add the part s to t of an edge to the pieces, unless it is empty or there is no room; returns their number."""
    if not s < t or count >= PIECES:
        return count
    x0, y0, x1, y1 = edge
    pieces[count].x0 = x0 + s * (x1 - x0)
    pieces[count].y0 = y0 + s * (y1 - y0)
    pieces[count].x1 = x0 + t * (x1 - x0)
    pieces[count].y1 = y0 + t * (y1 - y0)
    pieces[count].s = s
    pieces[count].t = t
    pieces[count].zeroth = 0.0
    pieces[count].first = 0.0
    pieces[count].borders = 0
    pieces[count].entry = own
    return count + 1


@inner
def _in_row(y0, y1):
    """Where an edge that is not level enters the row from 0 to 1 and leaves it, as parameters within 0 to 1."""
    scale = 1.0 / (y1 - y0)
    upper = (0.0 - y0) * scale
    lower = (1.0 - y0) * scale
    return max(0.0, min(upper, lower)), min(1.0, max(upper, lower))


@inner
def _aside(x0, x1, s, t):
    """The intervals of an edge's part s to t left of the pixel, and within it; empty ones end where they begin.

    An edge along the left border is within: it bounds what is right of it.
    """
    dx = x1 - x0
    if dx == 0.0:
        if x0 >= 0.0:
            return s, s, s, t
        return s, t, t, t
    left = (0.0 - x0) / dx
    right = (1.0 - x0) / dx
    if dx > 0.0:
        return s, min(t, left), max(s, left), min(t, right)
    return max(s, left), t, max(s, right), min(t, left)


@inner
def _seen_from(place, ends, swapped):
    """The ends of an edge, in pixels from a pixel's corner; with x and y exchanged on request."""
    x0, y0, x1, y1 = ends
    if swapped:
        return y0 - place[1], x0 - place[0], y1 - place[1], x1 - place[0]
    return x0 - place[0], y0 - place[1], x1 - place[0], y1 - place[1]


@inner
def gather(shapes, b, path, place, swapped, own, pieces):  # noqa: PLR0912
    """Gather the pieces of a path's edges in a pixel's row, or with x and y exchanged in its column.

    Args:
        shapes: what is drawn.
        b: the scene.
        path: the path.
        place: x and y of the pixel.
        swapped: whether x and y are exchanged, so that left means above.
        own: segment and number of the edge whose pieces within the pixel get entry 1; others have 0.
        pieces: (PIECES,) PIXEL_EDGE, written.

    Returns: number of pieces; the winding number that edges left of the pixel along its whole row add up to; the
    winding number left of the pixel half-way down; whether any piece lies within the pixel.
    """
    count = 0
    corner = 0
    middle = 0
    within = False
    # The piece left of the pixel that the next edge continues: pieces of a chain there count as one, from its first
    # height to its last, since what goes up and down again in between cancels.
    chain = -1
    for segment in range(shapes.firsts[path], shapes.firsts[path + 1]):
        if segment == shapes.firsts[path] or shapes.following[segment - 1] != segment:
            chain = -1
        for i in range(shapes.counts[b, segment]):
            x0, y0, x1, y1 = _seen_from(place, edge_of(shapes, b, segment, i), swapped)
            # A level edge bounds no length, but what is above it and below may differ.
            if y0 == y1 and 0.0 < y0 < 1.0 and min(x0, x1) < 1.0:
                if max(x0, x1) > 0.0:
                    within = True
                    chain = -1
                continue
            if y0 == y1 or max(y0, y1) <= 0.0 or min(y0, y1) >= 1.0 or min(x0, x1) >= 1.0:
                chain = -1
                continue
            way = 1 if y1 > y0 else -1
            s, t = _in_row(y0, y1)
            gone, past, begin, end = _aside(x0, x1, s, t)
            edge = (x0, y0, x1, y1)
            if gone < past:
                # Left of the pixel: along the whole row it is the same for all slabs.
                a = y0 + gone * (y1 - y0)
                c = y0 + past * (y1 - y0)
                if (a < 0.5) != (c < 0.5):
                    middle += way
                if gone == s and past == t and min(y0, y1) <= 0.0 and max(y0, y1) >= 1.0:
                    corner += way
                    chain = -1
                elif chain >= 0 and gone == 0.0:
                    pieces[chain].x1 = x0 + past * (x1 - x0)
                    pieces[chain].y1 = c
                else:
                    chain = count if count < PIECES else -1
                    count = _add(pieces, count, edge, gone, past, 0)
                if past < 1.0:
                    chain = -1
            else:
                chain = -1
            if begin < end:
                within = True
                mine = 1 if segment == own[0] and i == own[1] else 0
                count = _add(pieces, count, edge, begin, end, mine)
    return count, corner, middle, within


@inner
def cover(shapes, b, path, place, pieces, breaks):
    """Coverage of a pixel by a path: the exact area of what is filled."""
    count, corner, middle, within = gather(shapes, b, path, place, False, (-1, -1), pieces)
    # Without an edge in it, a pixel has one winding number everywhere.
    if not within:
        return inside(middle, shapes.evenodd[path])
    return _integrate_slabs(pieces[:count], corner, shapes.evenodd[path], 1.0, breaks)


@inner
def moments_of(shapes, b, path, own, place, pieces, breaks):
    """The moments of an edge's part in a pixel, see `kernels.pixel.PIXEL_EDGE`: steep by rows, flat by columns."""
    zeroth = 0.0
    first = 0.0
    for swapped in range(2):
        count, corner, _, within = gather(shapes, b, path, place, swapped == 1, own, pieces)
        if within:
            # Exchanging x and y mirrors the plane, so that the second pass changes sign.
            sign = -1.0 if swapped == 1 else 1.0
            _integrate_slabs(pieces[:count], corner, shapes.evenodd[path], sign, breaks)
            for k in range(count):
                if pieces[k].entry == 1:
                    zeroth += pieces[k].zeroth
                    first += pieces[k].first
    return zeroth, first


@inner
def near(boxes, b, path, place):
    """Whether a path's box meets a pixel or what is right of it in its row: elsewhere its coverage is 0."""
    return (
        boxes[b, path, 0] < place[0] + 1
        and boxes[b, path, 2] > place[0]
        and boxes[b, path, 1] < place[1] + 1
        and boxes[b, path, 3] > place[1]
    )


@inner
def composite(shapes, boxes, lists, b, tile, place, spaces, ends):
    """Colour of a pixel: paths of its tile's list from `ends[0]` to before `ends[1]`, over the background.

    Args:
        shapes: what is drawn.
        boxes: (B, P, 4) of each path.
        lists: paths of tiles.
        b: the scene.
        tile: the pixel's.
        place: x and y of the pixel.
        spaces: pieces and breaks.
        ends: positions in the list.
    """
    red = shapes.background[b, 0]
    green = shapes.background[b, 1]
    blue = shapes.background[b, 2]
    for k in range(ends[0], ends[1]):
        path = lists.paths[b, tile, k]
        if near(boxes, b, path, place):
            alpha = shapes.colours[b, path, 3] * cover(shapes, b, path, place, spaces[0], spaces[1])
            red += alpha * (shapes.colours[b, path, 0] - red)
            green += alpha * (shapes.colours[b, path, 1] - green)
            blue += alpha * (shapes.colours[b, path, 2] - blue)
    return red, green, blue


@inner
def shine(shapes, boxes, lists, b, tile, place, spaces, ends):
    """The share of light that passes paths of a tile's list; arguments as of `composite`."""
    share = 1.0
    for k in range(ends[0], ends[1]):
        path = lists.paths[b, tile, k]
        if near(boxes, b, path, place):
            share *= 1.0 - shapes.colours[b, path, 3] * cover(shapes, b, path, place, spaces[0], spaces[1])
    return share


@inner
def by_alpha(shapes, boxes, lists, b, entry, place, spaces, upstream):
    """The derivative by the alpha of a path in a pixel, and what of the gradient reaches its colour.

    Args:
        shapes: what is drawn.
        boxes: (B, P, 4) of each path.
        lists: paths of tiles.
        b: the scene.
        entry: the pixel's tile, and the path's position in its list.
        place: x and y of the pixel.
        spaces: pieces and breaks.
        upstream: (B, 3, H, W).
    """
    tile = entry[0]
    k = entry[1]
    path = lists.paths[b, tile, k]
    below = composite(shapes, boxes, lists, b, tile, place, spaces, (0, k))
    passes = shine(shapes, boxes, lists, b, tile, place, spaces, (k + 1, lists.lengths[b, tile]))
    y = place[1]
    x = place[0]
    change = 0.0
    for c in range(3):
        change += upstream[b, c, y, x] * (shapes.colours[b, path, c] - below[c])
    return passes * change, passes


@inner
def shares_of(shapes, boxes, lists, b, tile, place, spaces, shares):
    """Write a pixel's coverage by each path of its tile's list into `shares`; returns whether there is room for them.

    Arguments are as of `composite`.
    """
    length = lists.lengths[b, tile]
    if length > len(shares):
        return False
    for k in range(length):
        path = lists.paths[b, tile, k]
        shares[k] = 0.0
        if near(boxes, b, path, place):
            shares[k] = cover(shapes, b, path, place, spaces[0], spaces[1])
    return True


@inner
def by_alpha_of(shapes, lists, b, entry, place, shares, upstream):
    """What `by_alpha` returns, from coverages that are known; a path that covers nothing changes no sum."""
    tile = entry[0]
    k = entry[1]
    path = lists.paths[b, tile, k]
    red = shapes.background[b, 0]
    green = shapes.background[b, 1]
    blue = shapes.background[b, 2]
    for j in range(k):
        if shares[j] != 0.0:
            other = lists.paths[b, tile, j]
            alpha = shapes.colours[b, other, 3] * shares[j]
            red += alpha * (shapes.colours[b, other, 0] - red)
            green += alpha * (shapes.colours[b, other, 1] - green)
            blue += alpha * (shapes.colours[b, other, 2] - blue)
    passes = 1.0
    for j in range(k + 1, lists.lengths[b, tile]):
        if shares[j] != 0.0:
            passes *= 1.0 - shapes.colours[b, lists.paths[b, tile, j], 3] * shares[j]
    y = place[1]
    x = place[0]
    change = upstream[b, 0, y, x] * (shapes.colours[b, path, 0] - red)
    change += upstream[b, 1, y, x] * (shapes.colours[b, path, 1] - green)
    change += upstream[b, 2, y, x] * (shapes.colours[b, path, 2] - blue)
    return passes * change, passes


@inner
def share_and_change(shapes, boxes, lists, b, entry, place, memory, upstream):
    """A pixel's coverage by a path of its tile, and what `by_alpha` returns; zeros where it covers nothing.

    Args:
        shapes: what is drawn.
        boxes: (B, P, 4) of each path.
        lists: paths of tiles.
        b: the scene.
        entry: the pixel's tile, and the path's position in its list.
        place: x and y of the pixel.
        memory: pieces, breaks, coverages of `shares_of`, and whether these are there.
        upstream: (B, 3, H, W).
    """
    path = lists.paths[b, entry[0], entry[1]]
    share = 0.0
    if memory[3]:
        share = memory[2][entry[1]]
    elif near(boxes, b, path, place):
        share = cover(shapes, b, path, place, memory[0], memory[1])
    change = 0.0
    passes = 0.0
    if share != 0.0:
        if memory[3]:
            change, passes = by_alpha_of(shapes, lists, b, entry, place, memory[2], upstream)
        else:
            spaces = (memory[0], memory[1])
            change, passes = by_alpha(shapes, boxes, lists, b, entry, place, spaces, upstream)
    return share, change, passes


@inner
def edge_moments(shapes, boxes, lists, where, lanes, size, upstream, spaces):
    """The moments of one edge over every `lanes[1]`-th pixel of its box from `lanes[0]` on, times their gradients.

    Args:
        shapes: what is drawn.
        boxes: (B, P, 4) of each path.
        lists: paths of tiles.
        where: scene, path, segment and number of the edge.
        lanes: first pixel, and distance to the next.
        size: height and width of the picture.
        upstream: (B, 3, H, W).
        spaces: pieces and breaks.
    """
    b, path, segment, i = where
    x0, y0, x1, y1 = edge_of(shapes, b, segment, i)
    # On a card the floor is a number of floating point, too.
    left = max(int(math.floor(min(x0, x1))), 0)  # noqa: RUF046
    right = min(int(math.floor(max(x0, x1))), size[1] - 1)  # noqa: RUF046
    top = max(int(math.floor(min(y0, y1))), 0)  # noqa: RUF046
    bottom = min(int(math.floor(max(y0, y1))), size[0] - 1)  # noqa: RUF046
    zeroth = 0.0
    first = 0.0
    if left > right or top > bottom:
        return zeroth, first
    columns = right - left + 1
    across = (size[1] + TILE - 1) // TILE
    for n in range(lanes[0], columns * (bottom - top + 1), lanes[1]):
        place = (left + n % columns, top + n // columns)
        m0, m1 = moments_of(shapes, b, path, (segment, i), place, spaces[0], spaces[1])
        if m0 != 0.0 or m1 != 0.0:
            tile = place[1] // TILE * across + place[0] // TILE
            k = 0
            while lists.paths[b, tile, k] != path:
                k += 1
            change, _ = by_alpha(shapes, boxes, lists, b, (tile, k), place, spaces, upstream)
            grad = shapes.colours[b, path, 3] * change
            zeroth += grad * m0
            first += grad * m1
    return zeroth, first
