"""Orders are permutations and paths; variants are the eight symmetries; user orders are refused by name."""

import numpy as np
import pytest

from runtime.errors import UserError
from runtime.pixels.orders import (
    CURVES,
    check_order,
    curve_order,
    maximum_context_order,
    parse_orders,
    rank_by_context,
    ranks,
)
from runtime.pixels.regions import hidden_region

SIZES = [(1, 1), (1, 5), (6, 1), (2, 2), (4, 4), (5, 7), (7, 4), (9, 9), (28, 28), (6, 32)]


def steps(order: np.ndarray, width: int) -> np.ndarray:
    """Greatest coordinate difference of neighbours in the order, and the sum of both."""
    moves = np.abs(np.diff(np.stack(np.divmod(order, width), 1), axis=0))
    return moves.sum(1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("curve", CURVES)
def test_every_variant_is_a_permutation(curve: str, size: tuple[int, int]) -> None:
    for variant in range(8):
        order = curve_order(curve, size, variant)
        assert order.dtype == np.int64
        assert np.array_equal(np.sort(order), np.arange(size[0] * size[1]))
        assert np.array_equal(order[ranks(order)], np.arange(len(order)))


@pytest.mark.parametrize("size", SIZES)
def test_s_curves_and_hilbert_curves_move_to_neighbours(size: tuple[int, int]) -> None:
    for variant in range(8):
        assert (steps(curve_order("s-curve", size, variant), size[1]) == 1).all()
        jumps = steps(curve_order("hilbert", size, variant), size[1])
        assert (jumps == 1).sum() >= len(jumps) - 1 and (jumps <= 2).all()  # one diagonal where an odd side forces it


def test_small_orders_are_what_the_figures_show() -> None:
    assert curve_order("s-curve", (2, 3)).tolist() == [0, 1, 2, 5, 4, 3]
    assert curve_order("s-curve", (2, 3), 1).tolist() == [3, 4, 5, 2, 1, 0]
    assert curve_order("s-curve", (2, 3), 2).tolist() == [2, 1, 0, 3, 4, 5]
    assert curve_order("s-curve", (2, 3), 4).tolist() == [0, 3, 4, 1, 2, 5]
    assert curve_order("hilbert", (2, 2)).tolist() == [0, 2, 3, 1]
    first = curve_order("hilbert", (4, 4))
    assert (first[0], first[-1]) == (0, 3)  # from one corner to the next one


@pytest.mark.parametrize("curve", ["s-curve", "raster", "hilbert"])
def test_the_eight_variants_differ(curve: str) -> None:
    assert len({curve_order(curve, (28, 28), v).tobytes() for v in range(8)}) == 8


def test_names_on_a_command_line() -> None:
    size = (4, 5)
    assert len(parse_orders("s-curve:8", size)) == 8
    assert np.array_equal(parse_orders("hilbert", size)[0], curve_order("hilbert", size, 0))
    both = parse_orders("raster, s-curve:3", size)
    assert np.array_equal(both[1], curve_order("s-curve", size, 3))


@pytest.mark.parametrize("text", ["spiral", "s-curve:9", "s-curve:-1", "", "raster,,hilbert", "s-curve:one"])
def test_names_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="expected names as raster, s-curve:0"):
        parse_orders(text, (4, 4))


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([0, 1, 2, 2], "pixel 2 2 times and pixel 3 never"),
        ([0, 1, 2, 4], r"in \[0, 4\), got 4"),
        ([0, 1, 2, -1], "got -1"),
        ([0, 1, 2], "4 whole numbers"),
        ([[0, 1], [2, 3]], "flatten it"),
        ([0.0, 1.0, 2.0, 3.0], "float64"),
    ],
)
def test_orders_that_are_no_permutation(order: list, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_order(order, (2, 2))


def test_a_picture_without_pixels_has_no_order() -> None:
    with pytest.raises(UserError, match="at least 1 x 1"):
        curve_order("raster", (0, 3))


@pytest.mark.parametrize("region", ["top", "left", "bottom", "right", "centre"])
def test_maximum_context_orders_draw_the_hidden_pixels_last_along_the_path(region: str) -> None:
    hidden = hidden_region(region, (6, 5))
    path = curve_order("s-curve", (6, 5), 3)
    order = maximum_context_order(path, hidden)
    flags = hidden.reshape(-1)[order]
    assert np.array_equal(np.sort(order), np.arange(30))
    assert not flags[: (~hidden).sum()].any() and flags[(~hidden).sum() :].all()
    for part in (order[flags], order[~flags]):
        assert (np.diff(ranks(path)[part]) > 0).all()


@pytest.mark.parametrize("region", ["top", "left", "bottom", "right"])
def test_two_s_curves_have_the_whole_context_of_a_half_and_the_last_has_none(region: str) -> None:
    size = (8, 8)
    hidden, orders = hidden_region(region, size), parse_orders("s-curve:8", size)
    ranking = rank_by_context(orders, hidden)
    whole = [i for i in ranking if np.array_equal(maximum_context_order(orders[i], hidden), orders[i])]
    assert ranking[:2] == whole
    assert hidden.reshape(-1)[orders[ranking[-1]][: hidden.sum()]].all()


def test_regions_cover_their_part() -> None:
    assert hidden_region("top", (4, 2)).tolist() == [[True] * 2] * 2 + [[False] * 2] * 2
    assert hidden_region("centre", (8, 8)).sum() == 16
    own = np.zeros((3, 3), bool)
    own[1, 1] = True
    assert np.array_equal(hidden_region(own, (3, 3)), own)


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ("middle", "one of top, left, bottom, right, centre, got 'middle'"),
        (np.ones((4, 4), bool), "hides everything"),
        (np.zeros((4, 4), bool), "hides nothing"),
        (np.ones((4, 5), bool), r"shape \(4, 4\)"),
        (np.ones((4, 4)), "got float64"),
    ],
)
def test_regions_that_are_none(region: str | np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        hidden_region(region, (4, 4))
