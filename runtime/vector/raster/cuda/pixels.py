"""What one thread does: boxes, tiles' lists, a pixel's colour, and gradients. Compiled for the CPU in tests."""

import math
from typing import NamedTuple

import numpy as np

from runtime.kernels.jit import inner
from runtime.vector.raster.cuda.coverage import Shapes, cover, moments_of

DEPTH = 32
"""Coverages that a pixel keeps on the way back: a longer list of a tile is gone through in stretches of so many."""

STARTS = 64
"""Stretches for which a pixel keeps what lies below them; for those beyond it composites anew."""

TILE = 16
"""Side of the squares of pixels that share a list of paths."""


class Lists(NamedTuple):
    """Which paths come near each tile, in the order in which they are drawn."""

    paths: np.ndarray
    """(B, T, P) int32."""
    lengths: np.ndarray
    """(B, T) int32."""


class Picture(NamedTuple):
    """What is drawn, and where it lies."""

    shapes: Shapes
    boxes: np.ndarray
    """(B, P, 4) of each path."""
    lists: Lists


class Spot(NamedTuple):
    """A pixel."""

    b: int
    """Its scene."""
    tile: int
    x: int
    y: int


@inner
def bound(shapes, b, path):
    """The box of a path: x and y of its upper left and of its lower right corner."""
    left = np.inf
    top = np.inf
    right = -np.inf
    bottom = -np.inf
    for e in range(shapes.ranges[b, path], shapes.ranges[b, path + 1]):
        x = shapes.edges[b, e, 0]
        y = shapes.edges[b, e, 1]
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
def near(boxes, spot, path):
    """Whether a path's box meets a pixel: elsewhere its coverage is 0."""
    return (
        boxes[spot.b, path, 0] < spot.x + 1
        and boxes[spot.b, path, 2] > spot.x
        and boxes[spot.b, path, 1] < spot.y + 1
        and boxes[spot.b, path, 3] > spot.y
    )


@inner
def _over(picture, spot, spaces, ends, colour):
    """A colour with paths of a tile's list over it, from position `ends[0]` to before `ends[1]`."""
    shapes = picture.shapes
    red, green, blue = colour
    for k in range(ends[0], ends[1]):
        path = picture.lists.paths[spot.b, spot.tile, k]
        if near(picture.boxes, spot, path):
            alpha = shapes.colours[spot.b, path, 3] * cover(shapes, spot.b, path, (spot.x, spot.y), spaces)
            red += alpha * (shapes.colours[spot.b, path, 0] - red)
            green += alpha * (shapes.colours[spot.b, path, 1] - green)
            blue += alpha * (shapes.colours[spot.b, path, 2] - blue)
    return red, green, blue


@inner
def _paper(picture, b):
    """The colour of the background."""
    ground = picture.shapes.background
    return ground[b, 0], ground[b, 1], ground[b, 2]


@inner
def composite(picture, spot, spaces, count):
    """Colour of a pixel: the first `count` paths of its tile's list over the background.

    Args:
        picture: what is drawn.
        spot: the pixel.
        spaces: working space: pieces and breaks, see `coverage`.
        count: how many.
    """
    return _over(picture, spot, spaces, (0, count), _paper(picture, spot.b))


@inner
def by_alpha(picture, spot, spaces, k, upstream):
    """The derivative of a pixel's gradient by the alpha of the path at position k of its tile's list.

    `upstream` (B, 3, H, W) is the gradient of the picture; others are as of `composite`.
    """
    shapes = picture.shapes
    path = picture.lists.paths[spot.b, spot.tile, k]
    below = composite(picture, spot, spaces, k)
    change = 0.0
    for c in range(3):
        change += upstream[spot.b, c, spot.y, spot.x] * (shapes.colours[spot.b, path, c] - below[c])
    # What paths above leave of it.
    for j in range(k + 1, picture.lists.lengths[spot.b, spot.tile]):
        other = picture.lists.paths[spot.b, spot.tile, j]
        if near(picture.boxes, spot, other):
            share = cover(shapes, spot.b, other, (spot.x, spot.y), spaces)
            change *= 1.0 - shapes.colours[spot.b, other, 3] * share
    return change


@inner
def keep_starts(picture, spot, spaces, starts):
    """Write the colour that lies below each stretch of a tile's list, as far as there is room in `starts` (STARTS, 3).

    Other arguments are as of `composite`.
    """
    colour = _paper(picture, spot.b)
    stretches = (picture.lists.lengths[spot.b, spot.tile] + DEPTH - 1) // DEPTH
    for n in range(min(stretches, len(starts))):
        if n > 0:
            colour = _over(picture, spot, spaces, ((n - 1) * DEPTH, n * DEPTH), colour)
        for c in range(3):
            starts[n, c] = colour[c]


@inner
def cover_stretch(picture, spot, spaces, n, shares):
    """Write a pixel's coverages by the n-th stretch of its tile's list into `shares` (DEPTH,); see `composite`."""
    first = n * DEPTH
    for k in range(first, min(first + DEPTH, picture.lists.lengths[spot.b, spot.tile])):
        path = picture.lists.paths[spot.b, spot.tile, k]
        shares[k - first] = 0.0
        if near(picture.boxes, spot, path):
            shares[k - first] = cover(picture.shapes, spot.b, path, (spot.x, spot.y), spaces)


@inner
def below_stretch(picture, spot, spaces, n, starts):
    """The colour below the n-th stretch of a tile's list: what `keep_starts` has left, or composited anew."""
    if n < len(starts):
        return starts[n, 0], starts[n, 1], starts[n, 2]
    return composite(picture, spot, spaces, n * DEPTH)


@inner
def stretch_change(picture, spot, k, shares, start, upstream):
    """What `by_alpha` gives, from coverages at hand, but for the paths above.

    Args:
        picture: what is drawn.
        spot: the pixel.
        k: position in its tile's list.
        shares: coverages by the position's stretch.
        start: colour below the stretch.
        upstream: (B, 3, H, W).
    """
    colours = picture.shapes.colours
    first = k // DEPTH * DEPTH
    red, green, blue = start
    for j in range(first, k):
        # A path that covers nothing changes no sum.
        if shares[j - first] != 0.0:
            other = picture.lists.paths[spot.b, spot.tile, j]
            alpha = colours[spot.b, other, 3] * shares[j - first]
            red += alpha * (colours[spot.b, other, 0] - red)
            green += alpha * (colours[spot.b, other, 1] - green)
            blue += alpha * (colours[spot.b, other, 2] - blue)
    path = picture.lists.paths[spot.b, spot.tile, k]
    change = upstream[spot.b, 0, spot.y, spot.x] * (colours[spot.b, path, 0] - red)
    change += upstream[spot.b, 1, spot.y, spot.x] * (colours[spot.b, path, 1] - green)
    change += upstream[spot.b, 2, spot.y, spot.x] * (colours[spot.b, path, 2] - blue)
    return change


@inner
def position_of(lists, b, tile, path):
    """Where a path stands in a tile's list, which is in their order; -1 where it does not."""
    low = 0
    high = lists.lengths[b, tile]
    while low < high:
        middle = (low + high) // 2
        if lists.paths[b, tile, middle] < path:
            low = middle + 1
        else:
            high = middle
    if low < lists.lengths[b, tile] and lists.paths[b, tile, low] == path:
        return low
    return -1


@inner
def sum_parts(boxes, lists, parts, where, lanes, across):
    """The sums of a path's parts over every `lanes[1]`-th tile of its box from `lanes[0]` on.

    Args:
        boxes: (B, P, 4) of each path.
        lists: paths of tiles.
        parts: (B, T, P, 4) gradients by colours, by position in each tile's list.
        where: scene and path.
        lanes: first tile, and distance to the next.
        across: tiles in a row.
    """
    b, path = where
    red = 0.0
    green = 0.0
    blue = 0.0
    alpha = 0.0
    # A box that is not finite meets no tile: a comparison with a number that is none is false.
    if boxes[b, path, 0] <= boxes[b, path, 2] and boxes[b, path, 1] <= boxes[b, path, 3]:
        down = lists.lengths.shape[1] // across
        left = _within(boxes[b, path, 0] / TILE, across)
        right = _within(boxes[b, path, 2] / TILE, across)
        top = _within(boxes[b, path, 1] / TILE, down)
        bottom = _within(boxes[b, path, 3] / TILE, down)
        columns = right - left + 1
        for n in range(lanes[0], columns * (bottom - top + 1), lanes[1]):
            tile = (top + n // columns) * across + left + n % columns
            k = position_of(lists, b, tile, path)
            if k >= 0:
                red += parts[b, tile, k, 0]
                green += parts[b, tile, k, 1]
                blue += parts[b, tile, k, 2]
                alpha += parts[b, tile, k, 3]
    return red, green, blue, alpha


@inner
def _within(value, count):
    """The floor of a coordinate, or the nearest of the whole numbers below `count`."""
    # On a card the floor is a number of floating point, too.
    return np.int64(math.floor(min(max(value, 0.0), count - 1.0)))


@inner
def edge_moments(picture, where, lanes, size, upstream, spaces):
    """The moments of one edge over every `lanes[1]`-th pixel of its box from `lanes[0]` on, times their gradients.

    Args:
        picture: what is drawn.
        where: scene and edge.
        lanes: first pixel, and distance to the next.
        size: height and width of the picture.
        upstream: (B, 3, H, W).
        spaces: pieces and breaks.
    """
    b, e = where
    shapes = picture.shapes
    path = shapes.places[b, e, 0]
    x0 = shapes.edges[b, e, 0]
    y0 = shapes.edges[b, e, 1]
    x1 = shapes.edges[b, e, 2]
    y1 = shapes.edges[b, e, 3]
    zeroth = 0.0
    first = 0.0
    # Also false for numbers that are none.
    if not (max(x0, x1) >= 0.0 and max(y0, y1) >= 0.0 and min(x0, x1) < size[1] and min(y0, y1) < size[0]):
        return zeroth, first
    left = _within(min(x0, x1), size[1])
    top = _within(min(y0, y1), size[0])
    columns = _within(max(x0, x1), size[1]) - left + 1
    rows = _within(max(y0, y1), size[0]) - top + 1
    across = (size[1] + TILE - 1) // TILE
    for n in range(lanes[0], columns * rows, lanes[1]):
        x = left + n % columns
        y = top + n // columns
        m0, m1 = moments_of(shapes, b, path, e, (x, y), spaces)
        tile = y // TILE * across + x // TILE
        k = position_of(picture.lists, b, tile, path)
        if k >= 0 and (m0 != 0.0 or m1 != 0.0):
            change = by_alpha(picture, Spot(b, tile, x, y), spaces, k, upstream)
            grad = shapes.colours[b, path, 3] * change
            zeroth += grad * m0
            first += grad * m1
    return zeroth, first
