"""Generation orders: which pixel is drawn after which.

An order of an H x W picture is an int64 array (H W,) of flat pixel indices W r + c, the first to be generated first.
A curve has eight variants: variant v flips the rows of the path where v & 1, the columns where v & 2, and is, where
v & 4, the path of the W x H picture transposed (the list of Thesis Fig. 8.1).
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runtime.errors import UserError

Order = NDArray[np.int64]
Size = tuple[int, int]

VARIANTS = 8
"""Variants of each curve: four flips, with and without transposition."""


def _raster(height: int, width: int) -> Order:
    """Return the order row by row, each from left to right."""
    return np.arange(height * width, dtype=np.int64)


def _s_curve(height: int, width: int) -> Order:
    """Return the order row by row, in alternating directions: neighbours in the order are neighbours in the picture."""
    grid = np.arange(height * width, dtype=np.int64).reshape(height, width)
    grid[1::2] = grid[1::2, ::-1].copy()
    return grid.reshape(-1)


def _hilbert(height: int, width: int) -> Order:
    """Return a generalized Hilbert curve over any rectangle.

    Neighbours in the order are neighbours in the picture, but for one diagonal step where the longer side is odd and
    the shorter even. Source: J. Cerveny, "Generalized Hilbert space-filling curve" (Thesis 8.4).
    """
    along, across = ((0, width), (height, 0)) if width >= height else ((height, 0), (0, width))
    return np.array([width * r + c for r, c in _walk((0, 0), along, across)], dtype=np.int64)


def _walk(start: Size, along: Size, across: Size) -> Iterator[Size]:
    """Yield the cells (r, c) of the rectangle that two vectors span from `start`, to the far end of `along`."""
    (r, c), length, breadth = start, abs(sum(along)), abs(sum(across))
    step, side = _sign(along), _sign(across)
    if breadth == 1 or length == 1:
        move = step if breadth == 1 else side
        yield from ((r + i * move[0], c + i * move[1]) for i in range(max(length, breadth)))
        return
    half, half_across = (along[0] // 2, along[1] // 2), (across[0] // 2, across[1] // 2)
    # A long rectangle is halved along its length alone, so that its parts come near to squares.
    if 2 * length > 3 * breadth:
        # An even half where there is a choice: odd ones lead to diagonal steps.
        if abs(sum(half)) % 2 and length > 2:
            half = _add(half, step)
        yield from _walk(start, half, across)
        yield from _walk(_add(start, half), _add(along, half, -1), across)
        return
    if abs(sum(half_across)) % 2 and breadth > 2:
        half_across = _add(half_across, side)
    # Hilbert's three strokes: across by a half, along the whole, and back, to the far end on the side of the start.
    yield from _walk(start, half_across, half)
    yield from _walk(_add(start, half_across), along, _add(across, half_across, -1))
    last = _add(_add(start, _add(along, step, -1)), _add(half_across, side, -1))
    yield from _walk(last, _add((0, 0), half_across, -1), _add(half, along, -1))


def _add(a: Size, b: Size, factor: int = 1) -> Size:
    return a[0] + factor * b[0], a[1] + factor * b[1]


def _sign(vector: Size) -> Size:
    return int(np.sign(vector[0])), int(np.sign(vector[1]))


CURVES: dict[str, Callable[[int, int], Order]] = {"raster": _raster, "s-curve": _s_curve, "hilbert": _hilbert}
"""The curves by their names on a command line."""


def curve_order(curve: str, size: Size, variant: int = 0) -> Order:
    """Return one variant of a curve over a picture.

    Args:
        curve: `raster`, `s-curve` or `hilbert`.
        size: height and width of the picture.
        variant: in [0, 8).

    Raises:
        UserError: where there is no such curve, size or variant.
    """
    height, width = size
    if height < 1 or width < 1:
        raise UserError(f"order: expected a picture of at least 1 x 1 pixel, got {height} x {width}")
    if curve not in CURVES or not 0 <= variant < VARIANTS:
        raise UserError(f"order: expected one of {', '.join(CURVES)} and a variant 0 to 7, got {curve}:{variant}")
    transposed = bool(variant & 4)
    path = CURVES[curve](width, height) if transposed else CURVES[curve](height, width)
    # The transposed picture has W rows of H pixels: its rows are columns of this one.
    rows, columns = np.divmod(path, height)[::-1] if transposed else np.divmod(path, width)
    rows = height - 1 - rows if variant & 1 else rows
    columns = width - 1 - columns if variant & 2 else columns
    return rows * width + columns


def parse_orders(text: str, size: Size) -> list[Order]:
    """Return the orders that a command line names, as `s-curve:8` or `raster,hilbert:3`.

    Args:
        text: names separated by commas; a name is a curve (its variant 0), or a curve, a colon and 0 to 7 for one
            variant or 8 for all eight.
        size: height and width of the picture.

    Raises:
        UserError: where a name is not that of an order.
    """
    orders: list[Order] = []
    for name in text.split(","):
        curve, _, number = name.strip().partition(":")
        if curve not in CURVES or not (number or "0").isdigit() or int(number or "0") > VARIANTS:
            raise UserError(
                f"orders '{text}': expected names as raster, s-curve:0 to s-curve:7, s-curve:8 for all eight, or "
                f"hilbert, separated by commas, got '{name.strip()}'"
            )
        variants = range(VARIANTS) if int(number or "0") == VARIANTS else [int(number or "0")]
        orders += [curve_order(curve, size, variant) for variant in variants]
    return orders


def check_order(order: ArrayLike, size: Size) -> Order:
    """Return a copy of an order as an int64 array (H W,), checked to be a permutation.

    Raises:
        UserError: where an index is missing, out of range or repeated.
    """
    height, width = size
    array = np.asarray(order)
    if array.shape != (height * width,) or not np.issubdtype(array.dtype, np.integer):
        raise UserError(
            f"order: expected {height * width} whole numbers, one a pixel of {height} x {width}, "
            f"got {array.dtype} of shape {array.shape}; flatten it row by row"
        )
    # Unsigned indices beyond int64 become negative here, which the next line refuses.
    array = array.astype(np.int64)
    outside = array[(array < 0) | (array >= height * width)]
    if len(outside):
        raise UserError(f"order: expected pixel indices in [0, {height * width}), got {outside[0]}")
    counts = np.bincount(array, minlength=height * width)
    # There are as many indices as pixels: where one comes twice, another is missing.
    if counts.max() > 1:
        twice, missing = counts.argmax(), counts.argmin()
        raise UserError(
            f"order: expected each of {height * width} pixels once, got pixel {twice} {counts.max()} times and pixel "
            f"{missing} never; an order is a permutation"
        )
    return array


def ranks(order: Order) -> Order:
    """Return the inverse permutation (H W,): when each pixel is generated."""
    places = np.empty_like(order)
    places[order] = np.arange(len(order), dtype=order.dtype)
    return places


def maximum_context_order(path: Order, hidden: NDArray[np.bool_]) -> Order:
    """Return the path with the observed pixels moved before the hidden ones, both in the path's sequence.

    Every hidden pixel is then drawn from all that is observed (Thesis 2.3).

    Args:
        path: an order.
        hidden: true where a pixel is hidden, as `runtime.pixels.regions.hidden_region` returns it.
    """
    is_hidden = hidden.reshape(-1)[path]
    return np.concatenate((path[~is_hidden], path[is_hidden]))


def rank_by_context(orders: Sequence[Order], hidden: NDArray[np.bool_]) -> list[int]:
    """Return the indices of orders: the later they generate the hidden pixels, the earlier they are in the list.

    Equal ones keep their sequence. The list begins with the maximum-context orders of the region and ends with the
    adversarial order of Thesis 2.6.3.
    """
    lateness = [int(ranks(order)[hidden.reshape(-1)].sum()) for order in orders]
    return sorted(range(len(orders)), key=lambda i: -lateness[i])
