"""Closed forms of what autograd records: normalizations, activations and convolutions, forward and backward.

Each rule has the arguments and results of the ATen operator of its name, and uses operators that every runtime has.
It gives gradients by the input only: a frozen network has no others. Letters: B batch, C channels of the input, K of
the output, G groups, kh kw sizes of a kernel.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from export.vjp.trace import aten, convolution, convolution_gradient, zero_pad

Rule = Callable[..., Any]


def group_norm(
    x: Float[Tensor, "B C ..."],
    weight: Float[Tensor, " C"] | None,
    bias: Float[Tensor, " C"] | None,
    _n: Any,
    _c: Any,
    _hw: Any,
    groups: int,
    eps: float,
) -> tuple[Float[Tensor, "B C ..."], Float[Tensor, "B G"], Float[Tensor, "B G"]]:
    """Return the normalized x, and means and reciprocal deviations of each group."""
    # Written out, as ONNX' own GroupNormalization gives no mean and no deviation, which the backward reads.
    cells = x.reshape(x.shape[0], groups, -1)
    mean = cells.mean(2, keepdim=True)
    centred = cells - mean
    # The centred square, not E[x^2] - E[x]^2: that difference cancels where the mean is large.
    rstd = ((centred * centred).mean(2, keepdim=True) + eps).rsqrt()
    y = (centred * rstd).reshape(x.shape)
    # Factors are one a channel, not one a group: they are applied after the groups are undone.
    sides = (-1, *[1] * (x.ndim - 2))
    y = y if weight is None else y * weight.reshape(sides)
    y = y if bias is None else y + bias.reshape(sides)
    return y, mean.squeeze(2), rstd.squeeze(2)


def group_norm_backward(
    gradient: Float[Tensor, "B C ..."],
    x: Float[Tensor, "B C ..."],
    mean: Float[Tensor, "B G"],
    rstd: Float[Tensor, "B G"],
    weight: Float[Tensor, " C"] | None,
    _n: Any,
    _c: Any,
    _hw: Any,
    groups: int,
    _mask: Any,
) -> tuple[Float[Tensor, "B C ..."], None, None]:
    """Return rstd (g w - mean(g w) - x' mean(g w x')), where x' is x normalized and means are those of a group."""
    scaled = gradient if weight is None else gradient * weight.reshape(-1, *[1] * (x.ndim - 2))
    # The factors come first: means are over a whole group, whose channels have different factors.
    scaled = scaled.reshape(x.shape[0], groups, -1)
    normal = (x.reshape(x.shape[0], groups, -1) - mean.unsqueeze(2)) * rstd.unsqueeze(2)
    # Mean and deviation depend on x too; the two subtracted terms are their part of the gradient.
    inside = scaled - scaled.mean(2, keepdim=True) - normal * (scaled * normal).mean(2, keepdim=True)
    return (inside * rstd.unsqueeze(2)).reshape(x.shape), None, None


def layer_norm(
    x: Float[Tensor, "..."],
    shape: list[int],
    weight: Float[Tensor, "..."] | None,
    bias: Float[Tensor, "..."] | None,
    eps: float,
) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."], Float[Tensor, "..."]]:
    """Return the normalized x, and means and reciprocal deviations over the last axes."""
    axes = tuple(range(-len(shape), 0))
    mean = x.mean(axes, keepdim=True)
    centred = x - mean
    # The mean of squared differences, for the same reason as in `group_norm`.
    rstd = ((centred * centred).mean(axes, keepdim=True) + eps).rsqrt()
    y = centred * rstd
    y = y if weight is None else y * weight
    return y if bias is None else y + bias, mean, rstd


def layer_norm_backward(
    gradient: Float[Tensor, "*shape"],
    x: Float[Tensor, "*shape"],
    shape: list[int],
    mean: Float[Tensor, "..."],
    rstd: Float[Tensor, "..."],
    weight: Float[Tensor, "..."] | None,
    *_rest: Any,
) -> tuple[Float[Tensor, "*shape"], None, None]:
    """Return the closed form of `group_norm_backward`, over the last axes."""
    axes = tuple(range(-len(shape), 0))
    scaled = gradient if weight is None else gradient * weight
    normal = (x - mean) * rstd
    inside = scaled - scaled.mean(axes, keepdim=True) - normal * (scaled * normal).mean(axes, keepdim=True)
    return inside * rstd, None, None


def silu_backward(gradient: Float[Tensor, "*shape"], x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return g (s + y (1 - s)), where s = sigmoid(x) and y = x s come from the forward pass."""
    # The emitter merges equal nodes: this sigmoid and x s are the forward pass' own and cost nothing.
    s = torch.sigmoid(x)
    return gradient * (s + x * s * (1.0 - s))


def sigmoid_backward(gradient: Float[Tensor, "*shape"], y: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return g y (1 - y)."""
    return gradient * (y * (1.0 - y))


def tanh_backward(gradient: Float[Tensor, "*shape"], y: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return g (1 - y^2)."""
    return gradient * (1.0 - y * y)


def gelu_backward(
    gradient: Float[Tensor, "*shape"], x: Float[Tensor, "*shape"], *, approximate: str = "none"
) -> Float[Tensor, "*shape"]:
    """Return g (P(x) + x p(x)) of the normal distribution, or the derivative of its approximation by a tanh."""
    if approximate == "none":
        # ONNX has no derivative of Gelu, so it is made of Erf and Exp, which every backend has.
        area = 0.5 * (1.0 + torch.erf(x * math.sqrt(0.5)))
        return gradient * (area + x * (torch.exp(-0.5 * x * x) * (1.0 / math.sqrt(2.0 * math.pi))))
    k, c = math.sqrt(2.0 / math.pi), 0.044715
    t = torch.tanh(k * (x + c * x * x * x))
    return gradient * (0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * (k * (1.0 + 3.0 * c * x * x)))


def softmax_backward(
    gradient: Float[Tensor, "*shape"], y: Float[Tensor, "*shape"], axis: int, _dtype: Any
) -> Float[Tensor, "*shape"]:
    """Return y (g - sum(g y))."""
    # The form without the Jacobian: that would be N x N for each row of an attention.
    product = gradient * y
    return product - y * product.sum(axis, keepdim=True)


def safe_softmax(x: Float[Tensor, "*shape"], axis: int, _dtype: Any = None) -> Float[Tensor, "*shape"]:
    """Return the softmax; no row of an image network is masked as a whole."""
    # ATen's operator gives zeros, not NaN, for a row of -inf alone: a guard that would cost nodes and never act.
    return torch.softmax(x, axis)


def select_backward(
    gradient: Float[Tensor, "..."], sizes: Sequence[int | torch.SymInt], axis: int, index: int
) -> Float[Tensor, "..."]:
    """Return zeros with the gradient at one place of an axis."""
    axis %= len(sizes)
    size: Any = sizes[axis]  # a symbol where the axis is the batch: it must stay one
    index %= size
    # `F.pad` counts pairs from the last axis, so the axes behind this one need a pair of zeros each.
    before = 2 * (len(sizes) - 1 - axis)
    return zero_pad(gradient.unsqueeze(axis), [0] * before + [index, size - 1 - index])


def slice_backward(
    gradient: Float[Tensor, "..."], sizes: Sequence[int | torch.SymInt], axis: int, start: int, end: int, step: int
) -> Float[Tensor, "..."]:
    """Return zeros with the gradient in a range of an axis."""
    if step != 1:
        raise ValueError(f"a slice with the step {step}: expected 1, for which there is a rule")
    axis %= len(sizes)
    size: Any = sizes[axis]  # a symbol where the axis is the batch: it must stay one
    # An open end is recorded as the greatest int64.
    end = min(end, size)
    return zero_pad(gradient, [0] * (2 * (len(sizes) - 1 - axis)) + [start, size - end])


def plain_convolution(
    x: Float[Tensor, "B C H W"],
    weight: Float[Tensor, "K C kh kw"],
    bias: Float[Tensor, " K"] | None,
    stride: list[int],
    pads: list[int],
) -> Float[Tensor, "B K h w"]:
    """Return the convolution; it pads by itself where both sides of each axis agree, else a Pad comes first."""
    # Conv takes no negative padding, and PyTorch's takes one number an axis; all else is a Pad in front.
    if pads[0] == pads[1] >= 0 and pads[2] == pads[3] >= 0:
        return F.conv2d(x, weight, bias, stride, (pads[2], pads[0]))
    return F.conv2d(zero_pad(x, pads), weight, bias, stride)


def plain_convolution_gradient(
    gradient: Float[Tensor, "B K h w"],
    weight: Float[Tensor, "K C kh kw"],
    size: list[int],
    stride: list[int],
    pads: list[int],
) -> Float[Tensor, "B C H W"]:
    """Return a convolution of the gradient by the kernel, flipped and transposed.

    With a stride, each phase of the input has its own taps of the kernel: output q - t depends on input i by tap
    a + s t, where i + pad = s q + a. One convolution computes all phases; its channels are then moved to their places.
    """
    (height, width), (kh, kw) = size, weight.shape[2:]
    down, across = stride
    taps = (-(-kh // down), -(-kw // across))
    # A kernel that the stride does not divide gets zero taps, so that every phase has equally many.
    weight = zero_pad(weight, [0, taps[1] * across - kw, 0, taps[0] * down - kh])
    outputs, inputs = weight.shape[:2]
    kernel = weight.reshape(outputs, inputs, taps[0], down, taps[1], across).flip(2, 4)
    # Channels before phases: pixel_shuffle reads its channels in this order (CRD in ONNX).
    kernel = kernel.permute(1, 3, 5, 0, 2, 4).reshape(inputs * down * across, outputs, *taps)
    # Cells of each phase that are needed to reach the last row and column of the unpadded input.
    counts = ((height - 1 + pads[2]) // down + 1, (width - 1 + pads[0]) // across + 1)
    # May be negative, where the forward pass has padded beyond what the input needs; the rows are then cut off.
    behind = [count - side for count, side in zip(counts, gradient.shape[2:], strict=True)]
    edges = [taps[1] - 1, behind[1], taps[0] - 1, behind[0]]
    crop = (pads[0], pads[2])
    if stride == [1, 1]:  # what would be exported off is not computed
        edges = [edges[0] - crop[0], edges[1], edges[2] - crop[1], edges[3]]
        return plain_convolution(gradient, kernel, None, [1, 1], edges)
    # Transposed convolutions take three times as long in ONNX Runtime as these convolutions of the flipped kernel.
    phases = plain_convolution(gradient, kernel, None, [1, 1], edges)
    # DepthToSpace has one block size for both axes.
    if down == across:
        full = F.pixel_shuffle(phases, down)
    else:
        full = phases.reshape(-1, inputs, down, across, *counts).permute(0, 1, 4, 2, 5, 3)
        # -1 stands for the batch, the only size that is free.
        full = full.reshape(-1, inputs, counts[0] * down, counts[1] * across)
    # What lies in front is the gradient at padded zeros; what lies behind are phases that the last cell has too many.
    return full[:, :, crop[1] : crop[1] + height, crop[0] : crop[0] + width]


def convolution_backward(
    gradient: Float[Tensor, "B K h w"],
    x: Float[Tensor, "B C H W"],
    weight: Float[Tensor, "_ _ kh kw"],
    _sizes: Any,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    _output_padding: list[int],
    groups: int,
    _mask: Any,
) -> tuple[Float[Tensor, "B C H W"], None, None]:
    """Return the input gradient of a convolution that is grouped, dilated or transposed."""
    if transposed:
        # Transposed and plain convolution are each other's backward, with the same weight and geometry.
        return aten.convolution(gradient, weight, None, stride, padding, dilation, False, [0, 0], groups), None, None
    sizes = [
        (side - 1) * s - 2 * p + d * (k - 1) + 1
        for side, s, p, d, k in zip(gradient.shape[2:], stride, padding, dilation, weight.shape[2:], strict=True)
    ]
    # Without a stride the backward is a plain convolution by the flipped kernel, which ONNX Runtime runs faster.
    if all(s == 1 for s in stride):
        outputs, inputs = weight.shape[:2]
        # Within each group inputs and outputs change places; Conv wants the outputs first, all groups in one axis.
        kernel = weight.reshape(groups, outputs // groups, inputs, *weight.shape[2:]).transpose(1, 2)
        kernel = kernel.reshape(groups * inputs, outputs // groups, *weight.shape[2:]).flip(2, 3)
        around = [d * (k - 1) - p for d, k, p in zip(dilation, weight.shape[2:], padding, strict=True)]
        return F.conv2d(gradient, kernel, None, 1, around, dilation, groups), None, None
    # A stride drops rows and columns at the far edge; their gradient is zero, which output padding adds.
    rest = [side - size for side, size in zip(x.shape[2:], sizes, strict=True)]
    return aten.convolution(gradient, weight, None, stride, padding, dilation, True, rest, groups), None, None


RULES: Mapping[Callable[..., Any], Rule] = {
    aten.native_group_norm.default: group_norm,
    aten.native_group_norm_backward.default: group_norm_backward,
    aten.native_layer_norm.default: layer_norm,
    aten.native_layer_norm_backward.default: layer_norm_backward,
    aten.silu_backward.default: silu_backward,
    aten.sigmoid_backward.default: sigmoid_backward,
    aten.tanh_backward.default: tanh_backward,
    aten.gelu_backward.default: gelu_backward,
    aten._softmax_backward_data.default: softmax_backward,
    aten._safe_softmax.default: safe_softmax,
    aten.select_backward.default: select_backward,
    aten.slice_backward.default: slice_backward,
    aten.convolution_backward.default: convolution_backward,
    # A view fails on strides that the closed forms have changed; reshape never does.
    aten.view.default: torch.reshape,
    aten._unsafe_view.default: torch.reshape,
    convolution: plain_convolution,
    convolution_gradient: plain_convolution_gradient,
}
"""The rule for each operator; one without a rule stays as it is."""
