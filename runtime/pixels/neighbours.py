"""Tables of neighbours: where a sampler finds what a kernel reads, in a cache with a row for each position.

Row 0 of a cache is zero, row 1 + p belongs to pixel p. A tap that its mask hides points to row 0. The centre is not
among the taps: what a position reads of itself does not come from a cache.
"""

import numpy as np
from numpy.typing import NDArray

from runtime.pixels.masks import mask_matrix, tap_sources
from runtime.pixels.orders import Order, Size

Rows = NDArray[np.int64]


def neighbour_rows(order: Order, size: Size, kernel: int, dilation: int) -> Rows:
    """Return (H W, T) rows of the pixels that each of the T taps but the centre reads at each pixel; 0 where hidden.

    Args:
        order: a permutation (H W,).
        size: height and width of the picture.
        kernel: side of the kernel, odd.
        dilation: distance of neighbouring taps.

    Raises:
        UserError: where the order is no permutation, the kernel's side is even or the dilation below 1.

    Source: Thesis Algorithm 2.
    """
    sides = (kernel, kernel)
    # Layers differ in the centre only, which is taken out below: one table serves all of a dilation.
    mask, sources = mask_matrix(order, size, sides, dilation, first=True), tap_sources(size, sides, dilation)
    rows = np.where(mask, sources + 1, 0)
    return np.ascontiguousarray(np.delete(rows, kernel * kernel // 2, axis=0).T)


def compact_rows(rows: Rows, chosen: Order) -> Rows:
    """Return the tables of some pixels, (n, T), whose rows count those pixels alone: 1 + place in `chosen`.

    Args:
        rows: (H W, T) as `neighbour_rows` gives them.
        chosen: (n,) pixels, of which each reads none but others among them.
    """
    # Row 0 stays 0, so that hidden taps still read zeros.
    places = np.zeros(len(rows) + 1, np.int64)
    places[chosen + 1] = np.arange(1, len(chosen) + 1)
    return places[rows[chosen]]
