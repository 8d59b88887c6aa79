"""Three implementations of the locally masked convolution against each other and against a loop over pixels."""

import numpy as np
import pytest
import torch

from runtime.errors import UserError
from runtime.pixels.orders import curve_order
from tests.tolerance import FLOAT32_ROUNDING, VJP_FLOAT32
from train.lmconv.layer import LayerMask, LocallyMaskedConv2d, use_method

SIZES = [(6, 7), (5, 4), (8, 8)]
ORDERS = ["raster:0", *(f"s-curve:{v}" for v in range(8)), "hilbert:0", "hilbert:6", "random"]


def order_of(name: str, size: tuple[int, int]) -> np.ndarray:
    if name == "random":
        return np.random.default_rng(3).permutation(size[0] * size[1])
    curve, variant = name.split(":")
    return curve_order(curve, size, int(variant))


def layer_of(dilation: int, first: bool, kernel: int = 3) -> LocallyMaskedConv2d:
    torch.manual_seed(0)
    layer = LocallyMaskedConv2d(5, 4, kernel, dilation, first=first, mask_conditioning=True)
    torch.nn.init.normal_(layer.mask_weight)
    return layer


def results(layer: LocallyMaskedConv2d, mask: LayerMask, x: torch.Tensor) -> list[torch.Tensor]:
    """Value, and vector-Jacobian products with respect to input, weight, bias and mask weight."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = layer(x, mask)
    slope = torch.linspace(-1, 1, y.numel()).view(y.shape).sin().to(y.dtype)
    return [y, *torch.autograd.grad(y, [x, layer.weight, layer.bias, layer.mask_weight], slope)]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ORDERS)
def test_the_three_agree(name: str, size: tuple[int, int], dilation: int, first: bool) -> None:
    mask = LayerMask.of(order_of(name, size), size, (3, 3), dilation, first=first)
    layer = layer_of(dilation, first)
    x = torch.randn(2, 5, *size)
    expected = results(use_method(layer, "plain"), mask, x)
    for method in ("saved", "grouped"):
        for layout in (torch.contiguous_format, torch.channels_last):
            got = results(use_method(layer, method), mask, x.contiguous(memory_format=layout))
            for a, b in zip(expected, got, strict=True):
                assert torch.allclose(a, b, atol=10 * FLOAT32_ROUNDING, rtol=VJP_FLOAT32), (method, layout)


@pytest.mark.parametrize("name", ["s-curve:1", "s-curve:6", "random"])
def test_the_plain_one_is_a_loop_over_pixels(name: str) -> None:
    size, order = (4, 5), order_of(name, (4, 5))
    layer = use_method(layer_of(2, True, kernel=5).double(), "plain")
    x = torch.randn(1, 5, *size, dtype=torch.float64)
    y = layer(x, LayerMask.of(order, size, (5, 5), 2, first=True))
    seen: set[tuple[int, int]] = set()
    for r, c in np.stack(np.divmod(order, size[1]), 1).tolist():
        expected = layer.bias.detach().clone()
        for a in range(5):
            for b in range(5):
                source = r + 2 * (a - 2), c + 2 * (b - 2)
                if source in seen:
                    expected += layer.weight[:, :, a, b] @ x[0, :, source[0], source[1]]
                    expected += layer.mask_weight[:, 5 * a + b]
        assert torch.allclose(y[0, :, r, c], expected, atol=1e-12)
        seen.add((r, c))


@pytest.mark.parametrize("kernel", [1, 5])
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (2, 9), (7, 3)])
@pytest.mark.parametrize("name", ["s-curve:0", "s-curve:5", "raster:7", "random"])
def test_other_kernels_and_slim_pictures(name: str, size: tuple[int, int], kernel: int) -> None:
    for first in (True, False):
        mask = LayerMask.of(order_of(name, size), size, (kernel, kernel), 1, first=first)
        layer = layer_of(1, first, kernel).double()
        x = torch.randn(2, 5, *size, dtype=torch.float64)
        expected = results(use_method(layer, "plain"), mask, x)
        for a, b in zip(expected, results(use_method(layer, "grouped"), mask, x), strict=True):
            assert torch.allclose(a, b, atol=1e-10)


@pytest.mark.parametrize("name", ["s-curve:0", "s-curve:4", "hilbert:0"])
def test_under_autocast_it_computes_in_bfloat16_and_sums_gradients_in_float32(name: str) -> None:
    size = (8, 8)
    mask = LayerMask.of(order_of(name, size), size, (3, 3), 1, first=False)
    layer = layer_of(1, False)
    x = torch.randn(2, 5, *size).contiguous(memory_format=torch.channels_last)
    expected = results(layer, mask, x)
    with torch.autocast("cpu", torch.bfloat16):
        got = results(layer, mask, x)
    assert got[0].dtype == torch.bfloat16 and got[2].dtype == torch.float32
    laid = got[0].transpose(2, 3) if mask.turned else got[0]
    assert laid.is_contiguous(memory_format=torch.channels_last)
    assert mask.turned == (name == "s-curve:4")
    for a, b in zip(expected, got, strict=True):
        assert float((a - b).detach().norm() / a.detach().norm()) < 0.01


def test_masks_of_another_size_are_named() -> None:
    mask = LayerMask.of(curve_order("raster", (4, 4)), (4, 4), (3, 3), 1, first=True)
    with pytest.raises(UserError, match="over 4 x 5 pixels, got 3 x 3 over 4 x 4"):
        layer_of(1, True)(torch.zeros(1, 5, 4, 5), mask)
    with pytest.raises(UserError, match=r"expected shape \(9, 20\)"):
        LayerMask.from_matrix(np.ones((9, 16), bool), (4, 5), (3, 3), 1)
