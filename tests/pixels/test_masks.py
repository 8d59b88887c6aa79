"""Masks by brute force, and the number of groups that curves have."""

import numpy as np
import pytest

from runtime.errors import UserError
from runtime.pixels.masks import lattice_groups, mask_matrix, tap_sources
from runtime.pixels.orders import curve_order


def algorithm_2(order: np.ndarray, size: tuple[int, int], kernel: tuple[int, int], d: int, first: bool) -> np.ndarray:
    """The thesis' loop, line by line."""
    mask = np.zeros((kernel[0] * kernel[1], size[0] * size[1]), bool)
    generated = set()
    for r, c in zip(*np.divmod(order, size[1]), strict=True):
        for down in range(kernel[0]):
            for right in range(kernel[1]):
                if (r + d * (down - kernel[0] // 2), c + d * (right - kernel[1] // 2)) in generated:
                    mask[kernel[1] * down + right, size[1] * r + c] = True
        generated.add((r, c))
    if not first:
        mask[kernel[0] * kernel[1] // 2] = True
    return mask


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("kernel", "dilation"), [((3, 3), 1), ((3, 3), 2), ((5, 5), 1), ((3, 5), 3), ((1, 1), 1)])
@pytest.mark.parametrize("size", [(5, 4), (3, 6), (1, 3)])
def test_masks_are_those_of_the_loop(size: tuple, kernel: tuple, dilation: int, first: bool) -> None:
    pixels = size[0] * size[1]
    orders = [
        curve_order("s-curve", size, 5),
        curve_order("hilbert", size),
        np.random.default_rng(0).permutation(pixels),
    ]
    for order in orders:
        got = mask_matrix(order, size, kernel, dilation, first=first)
        assert np.array_equal(got, algorithm_2(order, size, kernel, dilation, first))


def test_every_pair_of_neighbours_is_read_one_way() -> None:
    size = (6, 7)
    mask = mask_matrix(np.random.default_rng(1).permutation(42), size, (3, 3), first=True)
    sources = tap_sources(size, (3, 3), 1)
    reads = {(p, s) for t in range(9) for p, s in enumerate(sources[t]) if mask[t, p]}
    neighbours = {(p, s) for t in range(9) if t != 4 for p, s in enumerate(sources[t]) if s >= 0}
    assert all(((p, s) in reads) != ((s, p) in reads) for p, s in neighbours)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("size", [(28, 28), (32, 32), (27, 30), (9, 8)])
def test_raster_scans_have_one_mask_and_s_curves_two(size: tuple[int, int], dilation: int, first: bool) -> None:
    for variant in range(8):
        for curve, count in (("raster", 1), ("s-curve", 2)):
            mask = mask_matrix(curve_order(curve, size, variant), size, (3, 3), dilation, first=first)
            groups = lattice_groups(mask, size, (3, 3), dilation)
            assert len(groups) == count


@pytest.mark.parametrize("size", [(6, 7), (4, 4), (1, 5), (1, 1)])
@pytest.mark.parametrize("name", ["raster", "s-curve"])
def test_groups_cover_all_positions_and_keep_every_mask_where_it_is_not_free(name: str, size: tuple) -> None:
    pixels = size[0] * size[1]
    order = curve_order(name, size, 3)
    for dilation in (1, 2):
        mask = mask_matrix(order, size, (3, 3), dilation, first=True)
        inside = tap_sources(size, (3, 3), dilation) >= 0
        groups = lattice_groups(mask, size, (3, 3), dilation)
        assert sorted(np.concatenate([group.positions for group in groups])) == list(range(pixels))
        for group in groups:
            wrong = (mask[:, group.positions] != group.taps[:, None]) & inside[:, group.positions]
            assert not wrong.any()
            row, column, *steps = group.lattice
            rows, columns = np.divmod(group.positions, size[1])
            assert set(rows) == set(range(row, size[0], steps[0]))
            assert set(columns) == set(range(column, size[1], steps[1]))


def test_orders_that_need_more_masks_have_no_groups() -> None:
    for order in (curve_order("hilbert", (28, 28)), np.random.default_rng(2).permutation(784)):
        mask = mask_matrix(order, (28, 28), (3, 3), first=False)
        assert lattice_groups(mask, (28, 28), (3, 3)) == []


def test_kernels_and_masks_that_fit_nothing_are_refused() -> None:
    order = curve_order("raster", (3, 3))
    with pytest.raises(UserError, match="odd kernel sides"):
        mask_matrix(order, (3, 3), (2, 3), first=True)
    with pytest.raises(UserError, match="dilation of at least 1"):
        mask_matrix(order, (3, 3), (3, 3), 0, first=True)
    with pytest.raises(UserError, match=r"expected shape \(9, 9\)"):
        lattice_groups(np.ones((9, 8), bool), (3, 3), (3, 3))
    with pytest.raises(UserError, match="permutation"):
        mask_matrix(np.zeros(9, np.int64), (3, 3), (3, 3), first=True)
