"""Closed forms against autograd in float64, and against finite differences where autograd could share a mistake."""

import pytest
import torch
from torch.nn import functional as F

from export.vjp import rules
from export.vjp.trace import aten

CLOSE = {"atol": 1e-10, "rtol": 1e-8}


def gradient_of(function, x: torch.Tensor, cotangent: torch.Tensor) -> torch.Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(function(x), x, cotangent)[0]


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(2, 6, 5, 4), (3, 6, 7)])
def test_group_normalization(affine: bool, shape: tuple[int, ...]) -> None:
    x, weight, bias = 3.0 + 2.0 * draw(*shape), draw(6, seed=1), draw(6, seed=2)
    weight, bias = (weight, bias) if affine else (None, None)
    y, mean, rstd = rules.group_norm(x, weight, bias, 2, 6, 20, 3, 1e-5)
    torch.testing.assert_close(y, F.group_norm(x, 3, weight, bias, 1e-5), **CLOSE)
    cotangent = draw(*shape, seed=3)
    found = rules.group_norm_backward(cotangent, x, mean, rstd, weight, 2, 6, 20, 3, None)[0]
    expected = gradient_of(lambda x: F.group_norm(x, 3, weight, bias, 1e-5), x, cotangent)
    torch.testing.assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("affine", [True, False])
def test_layer_normalization(affine: bool) -> None:
    x, weight, bias = 3.0 + 2.0 * draw(2, 5, 8), draw(8, seed=1), draw(8, seed=2)
    weight, bias = (weight, bias) if affine else (None, None)
    y, mean, rstd = rules.layer_norm(x, [8], weight, bias, 1e-5)
    torch.testing.assert_close(y, F.layer_norm(x, (8,), weight, bias), **CLOSE)
    cotangent = draw(2, 5, 8, seed=3)
    found = rules.layer_norm_backward(cotangent, x, [8], mean, rstd, weight, bias, None)[0]
    torch.testing.assert_close(found, gradient_of(lambda x: F.layer_norm(x, (8,), weight, bias), x, cotangent), **CLOSE)


@pytest.mark.parametrize(
    ("rule", "function"),
    [
        (rules.silu_backward, F.silu),
        (rules.gelu_backward, F.gelu),
        (lambda g, x: rules.gelu_backward(g, x, approximate="tanh"), lambda x: F.gelu(x, approximate="tanh")),
        (lambda g, x: rules.sigmoid_backward(g, torch.sigmoid(x)), torch.sigmoid),
        (lambda g, x: rules.tanh_backward(g, torch.tanh(x)), torch.tanh),
        (lambda g, x: rules.softmax_backward(g, torch.softmax(x, -1), -1, None), lambda x: torch.softmax(x, -1)),
    ],
)
def test_activations_by_central_differences(rule, function) -> None:
    x, cotangent, direction = 3.0 * draw(4, 9), draw(4, 9, seed=1), draw(4, 9, seed=2)
    step = 1e-6
    slope = ((function(x + step * direction) - function(x - step * direction)) / (2 * step) * cotangent).sum()
    assert float((rule(cotangent, x) * direction).sum()) == pytest.approx(float(slope), rel=1e-7)


def test_an_activation_far_out_has_no_slope_and_no_nan() -> None:
    x = torch.tensor([-200.0, 200.0])
    assert torch.equal(rules.silu_backward(torch.ones(2), x), torch.tensor([0.0, 1.0]))
    assert torch.equal(rules.gelu_backward(torch.ones(2), x), torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 1], [2, 0, 1, 2]])
@pytest.mark.parametrize("stride", [[1, 1], [2, 2], [3, 2], [4, 4]])
@pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (4, 4), (5, 2)])
def test_the_input_gradient_of_a_convolution(pads: list[int], stride: list[int], kernel: tuple[int, int]) -> None:
    x, weight = draw(2, 3, 9, 11), draw(4, 3, *kernel, seed=1)

    def convolve(x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(F.pad(x, pads), weight, stride=stride)

    torch.testing.assert_close(rules.plain_convolution(x, weight, None, stride, pads), convolve(x), **CLOSE)
    cotangent = draw(*convolve(x).shape, seed=2)
    found = rules.plain_convolution_gradient(cotangent, weight, [9, 11], stride, pads)
    torch.testing.assert_close(found, gradient_of(convolve, x, cotangent), **CLOSE)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("groups", "dilation"), [(6, 1), (2, 1), (1, 2), (3, 2)])
def test_grouped_and_dilated_convolutions(stride: int, groups: int, dilation: int) -> None:
    x, weight = draw(2, 6, 12, 12), draw(12, 6 // groups, 3, 3, seed=1)
    said = ([stride] * 2, [1, 1], [dilation] * 2)
    cotangent = draw(*F.conv2d(x, weight, None, *said, groups).shape, seed=2)
    found = rules.convolution_backward(cotangent, x, weight, None, *said, False, [0, 0], groups, None)[0]
    torch.testing.assert_close(
        found, gradient_of(lambda x: F.conv2d(x, weight, None, *said, groups), x, cotangent), **CLOSE
    )


def test_a_transposed_convolution() -> None:
    x, weight = draw(2, 4, 5, 5), draw(4, 3, 3, 3, seed=1)
    said = ([2, 2], [1, 1], [1, 1])
    cotangent = draw(2, 3, 9, 9, seed=2)
    found = rules.convolution_backward(cotangent, x, weight, None, *said, True, [0, 0], 1, None)[0]
    expected = gradient_of(lambda x: aten.convolution(x, weight, None, *said, True, [0, 0], 1), x, cotangent)
    torch.testing.assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("index", [0, 2, -1])
def test_selections_and_slices(index: int) -> None:
    x = draw(2, 4, 5)
    cotangent = draw(2, 5, seed=1)
    found = rules.select_backward(cotangent, [2, 4, 5], 1, index)
    assert torch.equal(found, gradient_of(lambda x: x.select(1, index), x, cotangent))
    part = draw(2, 4, 2, seed=2)
    found = rules.slice_backward(part, [2, 4, 5], -1, 1, 3, 1)
    assert torch.equal(found, gradient_of(lambda x: x[..., 1:3], x, part))
    with pytest.raises(ValueError, match="a slice with the step 2: expected 1"):
        rules.slice_backward(part, [2, 4, 5], -1, 0, 4, 2)
