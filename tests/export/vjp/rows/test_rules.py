"""The rules on rows against the operators that they stand for, in float64 where that is possible."""

import pytest
import torch
from torch.nn import functional as F

from export.vjp.rows.layout import Rows, to_map, to_rows
from export.vjp.rows.rules import RowRules, _tiles, group_norm, group_norm_backward
from export.vjp.trace import aten, convolution, convolution_gradient

ALL = [0, 0, 0, 0]


def close(found: torch.Tensor, expected: torch.Tensor, relative: float = 2e-5) -> None:
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= relative * float(expected.abs().max())


@pytest.mark.parametrize("size", [(8, 12), (7, 10), (24, 32)])
@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "pads"),
    [
        ((16, 20), (3, 3), [1, 1], [1, 1, 1, 1]),
        ((20, 16), (3, 3), [1, 1], [0, 1, 2, 0]),
        ((20, 4), (3, 3), [1, 1], [1, 1, 1, 1]),
        ((3, 20), (3, 3), [1, 1], [1, 1, 1, 1]),
        ((6, 5), (1, 1), [1, 1], ALL),
        ((6, 5), (3, 3), [2, 2], [0, 1, 0, 1]),
        ((6, 5), (4, 4), [2, 2], [1, 1, 1, 1]),
        ((6, 5), (2, 2), [2, 2], ALL),
        ((6, 5), (1, 1), [2, 2], ALL),
        ((6, 5), (3, 3), [3, 3], [1, 1, 1, 1]),
    ],
)
def test_convolutions_and_their_gradients(size, channels, kernel, stride, pads) -> None:
    x, weight, bias = (
        torch.randn(2, channels[0], *size),
        torch.randn(channels[1], channels[0], *kernel),
        torch.randn(channels[1]),
    )
    offset = torch.randn(1, 1, channels[0])
    image = x + offset.reshape(1, -1, 1, 1)
    image = image.double().requires_grad_()
    expected = F.conv2d(F.pad(image, pads), weight.double(), bias.double(), stride)
    rules, rows = RowRules(), to_rows(x)
    rows = Rows(rows.values, rows.size, offset)
    found = rules.call(convolution, (rows, weight, bias, stride, pads), {})
    close(to_map(found), expected.detach().float())
    cotangent = torch.randn(expected.shape)
    (slope,) = torch.autograd.grad(expected, image, cotangent.double())
    found = rules.call(convolution_gradient, (to_rows(cotangent), weight, list(size), stride, pads), {})
    close(to_map(found) if isinstance(found, Rows) else found, slope.float())


def test_winograd_is_taken_where_it_pays() -> None:
    wide, narrow = torch.empty(16, 16, 3, 3), torch.empty(16, 8, 3, 3)
    assert _tiles((8, 8), wide, [1, 1], [1] * 4)
    assert not _tiles((8, 8), narrow, [1, 1], [1] * 4)
    assert not _tiles((8, 6), wide, [1, 1], [1] * 4)
    assert not _tiles((8, 8), wide, [2, 2], [1] * 4)
    assert not _tiles((8, 8), wide, [1, 1], [0, 1, 0, 1])


@pytest.mark.parametrize("offset", [False, True])
def test_group_normalization(offset: bool) -> None:
    x, weight, bias = 1.0 + torch.randn(2, 8, 4, 8), torch.randn(8), torch.randn(8)
    moved = torch.randn(1, 1, 8) if offset else None
    image = x if moved is None else x + moved.reshape(1, -1, 1, 1)
    image = image.double().requires_grad_()
    expected = F.group_norm(image, 4, weight.double(), bias.double(), 1e-6)
    rows = Rows(to_rows(x).values, (4, 8), moved)
    y, mean, rstd = group_norm(rows, weight, bias, None, None, None, 4, 1e-6)
    close(to_map(y), expected.detach().float())
    cotangent = torch.randn(expected.shape)
    (slope,) = torch.autograd.grad(expected, image, cotangent.double())
    found = group_norm_backward(to_rows(cotangent), rows, mean, rstd, weight, None, None, None, 4, None)[0]
    close(to_map(found), slope.float())


def test_a_constant_map_is_normalized_to_the_bias() -> None:
    rows = to_rows(torch.full((1, 4, 4, 4), 1000.0))
    y = group_norm(rows, torch.ones(4), torch.arange(4.0), None, None, None, 2, 1e-6)[0]
    assert torch.isfinite(y.values).all()


def test_pointwise_operators_stay_rows_and_others_become_maps() -> None:
    rules, x = RowRules(), torch.randn(1, 4, 8, 8)
    y = rules.call(aten.silu.default, (to_rows(x),), {})
    torch.testing.assert_close(to_map(y), F.silu(x))
    slope = rules.call(aten.silu_backward.default, (to_rows(torch.ones_like(x)), to_rows(x)), {})
    s = torch.sigmoid(x)
    torch.testing.assert_close(to_map(slope), s * (1 + x * (1 - s)))
    twice = rules.call(aten.mul.Tensor, (Rows(to_rows(x).values, (8, 8), torch.ones(1, 1, 4)), 2.0), {})
    torch.testing.assert_close(to_map(twice), 2 * x + 2)
    total = rules.call(aten.add.Tensor, (twice, twice), {})
    torch.testing.assert_close(to_map(total), 4 * x + 4)
    assert torch.equal(rules.call(aten.cat.default, ([to_rows(x), to_rows(x)], 1), {}), torch.cat([x, x], 1))
    torch.testing.assert_close(rules.call(aten.mean.dim, (to_rows(x), [2, 3]), {}), x.mean((2, 3)))


def test_a_shuffle_takes_and_gives_rows() -> None:
    rules, image = RowRules(), torch.randn(2, 3, 32, 32)
    rows = rules.call(aten.pixel_unshuffle.default, (image, 4), {})
    assert isinstance(rows, Rows)
    assert torch.equal(to_map(rows), F.pixel_unshuffle(image, 4))
    assert torch.equal(rules.call(aten.pixel_shuffle.default, (rows, 4), {}), image)
    assert torch.equal(rules.call(aten.pixel_unshuffle.default, (image, 1), {}), image)
