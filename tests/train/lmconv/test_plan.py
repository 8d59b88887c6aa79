"""The masked convolution as a sum of convolutions: every tap of every position once, and fewer products."""

import numpy as np
import pytest

from runtime.pixels.masks import lattice_groups, mask_matrix, tap_sources
from runtime.pixels.orders import curve_order, parse_orders
from train.lmconv.plan import share_taps


def area(taps: np.ndarray, kernel: tuple[int, int]) -> int:
    rows, columns = np.nonzero(taps.reshape(kernel))
    return int((np.ptp(rows) + 1) * (np.ptp(columns) + 1))


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("kernel", [(3, 3), (5, 5), (3, 5)])
@pytest.mark.parametrize("which", range(8))
def test_shared_taps_and_the_rest_are_the_mask(which: int, kernel: tuple[int, int], dilation: int, first: bool) -> None:
    size = (8, 10)
    mask = mask_matrix(parse_orders(f"s-curve:{which}", size)[0], size, kernel, dilation, first=first)
    known = tap_sources(size, kernel, dilation) >= 0
    groups = lattice_groups(mask, size, kernel, dilation)
    counts = np.zeros(mask.shape, int)
    for group in share_taps(groups, size, kernel):
        counts[:, group.positions] += group.taps[:, None]
    assert np.array_equal(counts * known, (mask & known).astype(int))


def test_an_s_curve_computes_five_taps_where_groups_apart_compute_six() -> None:
    size, kernel = (28, 28), (3, 3)
    mask = mask_matrix(parse_orders("s-curve:0", size)[0], size, kernel, first=False)
    groups = lattice_groups(mask, size, kernel)
    shared = share_taps(groups, size, kernel)
    products = [sum(area(g.taps, kernel) * len(g.positions) for g in found) for found in (groups, shared)]
    assert products == [6 * 28 * 28, 5 * 28 * 28]
    assert len(shared[0].positions) == 28 * 28  # the row above, of all positions, first


def test_a_single_group_shares_with_none() -> None:
    size, kernel = (6, 6), (3, 3)
    mask = mask_matrix(curve_order("raster", size), size, kernel, first=False)
    groups = lattice_groups(mask, size, kernel)
    assert share_taps(groups, size, kernel) is groups
