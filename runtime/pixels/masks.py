"""Local masks: which neighbours of a pixel a kernel may read under a generation order (Thesis 2.4, Algorithm 2).

Notation: a kernel of k1 x k2 taps, both odd, with dilation d; tap t = k2 a + b reads the pixel at row
r + d (a - k1 // 2), column c + d (b - k2 // 2). A mask matrix is (k1 k2, H W) booleans: row t, column W r + c.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.errors import UserError
from runtime.pixels.orders import Order, Size, check_order, ranks

Mask = NDArray[np.bool_]
Kernel = tuple[int, int]


def _tap_offsets(kernel: Kernel, dilation: int) -> list[Size]:
    """Return the row and column offset of each tap."""
    rows, columns = kernel
    return [(dilation * (a - rows // 2), dilation * (b - columns // 2)) for a in range(rows) for b in range(columns)]


def _check_kernel(kernel: Kernel, dilation: int) -> None:
    if min(kernel) < 1 or kernel[0] % 2 == 0 or kernel[1] % 2 == 0 or dilation < 1:
        raise UserError(f"mask: expected odd kernel sides and a dilation of at least 1, got {kernel} and {dilation}")


def tap_sources(size: Size, kernel: Kernel, dilation: int) -> Order:
    """Return (k1 k2, H W) flat indices of the pixel that each tap reads at each position, -1 where it reads padding.

    Raises:
        UserError: where a side of the kernel is even or the dilation below 1.
    """
    _check_kernel(kernel, dilation)
    height, width = size
    rows, columns = np.divmod(np.arange(height * width, dtype=np.int64), width)
    sources = []
    for down, right in _tap_offsets(kernel, dilation):
        r, c = rows + down, columns + right
        inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
        sources.append(np.where(inside, width * r + c, -1))
    return np.stack(sources)


def mask_matrix(order: Order, size: Size, kernel: Kernel, dilation: int = 1, *, first: bool) -> Mask:
    """Return the mask matrix (k1 k2, H W) of a layer: true where a tap reads what was generated before.

    Args:
        order: a permutation (H W,).
        size: height and width of the picture.
        kernel: k1 and k2, odd.
        dilation: distance of neighbouring taps in pixels.
        first: whether the layer reads the picture itself, so that the centre is hidden; later ones may read it.

    Raises:
        UserError: where the order is no permutation, a side of the kernel is even, or the dilation below 1.

    Source: Thesis Algorithm 2; repeating the rows for each input channel is left to the layer.
    """
    when = ranks(check_order(order, size))
    sources = tap_sources(size, kernel, dilation)
    # NumPy reads the last pixel at an index of -1, which is padding here; the first condition drops that.
    mask = (sources >= 0) & (when[sources] < when)
    # Features at a place come from earlier pixels only, so that later layers may read them (lines 13-15).
    mask[kernel[0] * kernel[1] // 2] = not first
    return mask


def check_mask(mask: Mask, size: Size, kernel: Kernel) -> Mask:
    """Return the mask matrix, checked.

    Raises:
        UserError: where its shape is not that of a kernel over the picture.
    """
    expected = (kernel[0] * kernel[1], size[0] * size[1])
    if tuple(mask.shape) != expected:
        raise UserError(
            f"mask: expected shape {expected} for a {kernel[0]} x {kernel[1]} kernel over {size[0]} x {size[1]} "
            f"pixels, got {tuple(mask.shape)}; make it with mask_matrix"
        )
    return mask


@dataclass(frozen=True)
class Group:
    """Positions that share one mask.

    Attributes:
        taps: (k1 k2,) booleans; a tap that reads padding at every one of the positions is false.
        positions: (n,) flat indices, ascending: all pixels (row + i row_step, column + j column_step) of the picture.
        lattice: row and column of the first position, and the steps to the next ones.
    """

    taps: Mask
    positions: Order
    lattice: tuple[int, int, int, int]


def lattice_groups(mask: Mask, size: Size, kernel: Kernel, dilation: int = 1) -> list[Group]:
    """Return few groups of positions with one mask each, which cover all positions; empty where that takes too many.

    A tap that reads padding reads zero: its mask is free there. So raster scans have one group at any size and
    dilation, S-curves two, alternate rows or columns. Lattices of steps 1 or 2 are tried.

    Raises:
        UserError: where the mask matrix has another shape.
    """
    check_mask(mask, size, kernel)
    inside = tap_sources(size, kernel, dilation) >= 0
    # Coarse first: the fewer groups, the fewer and larger are the products that they take.
    for steps in ((1, 1), (2, 1), (1, 2), (2, 2)):
        if groups := _groups_of_steps(mask & inside, inside, size, steps):
            return groups
    return []


def _groups_of_steps(mask: Mask, inside: Mask, size: Size, steps: Size) -> list[Group]:
    """Return one group for each phase of a lattice, or none where a phase needs two masks."""
    grid = np.arange(size[0] * size[1], dtype=np.int64).reshape(size)
    groups = []
    for row in range(min(steps[0], size[0])):
        for column in range(min(steps[1], size[1])):
            positions = grid[row :: steps[0], column :: steps[1]].reshape(-1)
            read = np.logical_or.reduce(mask[:, positions], axis=1)
            hidden = np.logical_or.reduce((~mask & inside)[:, positions], axis=1)
            # One position reads through a tap that another one must not: no mask serves both.
            if (read & hidden).any():
                return []
            groups.append(Group(read, positions, (row, column, *steps)))
    return groups
