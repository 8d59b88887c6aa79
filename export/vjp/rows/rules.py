"""The rules of `export.vjp.rules` on rows: how ONNX Runtime's CPU kernels run a convolutional network fastest.

3x3 convolutions are Winograd's, forward and backward with one transformed kernel; others gather rows and multiply.
Nothing is transposed between, and biases are carried along until a normalization takes them in. Means are those of
x, variances those of x^2 minus that of x, as in ONNX Runtime's own normalizations.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from export.vjp.rows.layout import TILE, Rows, look_up, pixels, sum_rows, tiled, to_map, to_rows
from export.vjp.rows.winograd import TAPS, Transforms, backward_transforms, forward_transforms
from export.vjp.rules import RULES, Rule
from export.vjp.trace import aten, convolution, convolution_gradient, group_means, mix_twice, product

LEAST_CHANNELS = 16
"""Of input and output, from which on tiles pay."""

FEW = 32
"""Tiles of 4x4 below which there are more of 2x2: fewer rows than these make slow products of large kernels."""

_POINTWISE = (aten.silu.default, aten.silu_backward.default, aten.gelu.default, aten.relu.default, aten.sub.Tensor)

_BEGINNINGS = (convolution, convolution_gradient, aten.pixel_unshuffle.default)
"""Operators that may turn a map into rows."""

_PHASES = [4 * (2 * qy + py) + 2 * qx + px for py in (0, 1) for px in (0, 1) for qy in (0, 1) for qx in (0, 1)]
"""Place of each phase of a tile, in the order of rows, in a tile that is read line by line."""


class RowRules:
    """The rules for one pass through a graph; what is transformed of a kernel is kept for its second use."""

    def __init__(self) -> None:
        """Begin without kernels."""
        self._kernels: dict[tuple[int, int], Tensor] = {}
        self._rules: dict[Any, Rule] = {
            convolution: self.convolution,
            convolution_gradient: self.convolution_gradient,
            aten.native_group_norm.default: group_norm,
            aten.native_group_norm_backward.default: group_norm_backward,
            aten.add.Tensor: add,
            aten.mul.Tensor: multiply,
            aten.silu_backward.default: silu_backward,
            aten.pixel_unshuffle.default: unshuffle,
            aten.pixel_shuffle.default: shuffle,
        }

    def call(self, target: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what an operator gives, on rows where there is a rule for it, else on maps."""
        maps = [arg for arg in args if isinstance(arg, Rows)]
        if target in self._rules and (maps or target in _BEGINNINGS):
            found = self._rules[target](*args, **kwargs)
            if found is not NotImplemented:
                return found
        elif target in _POINTWISE and maps and all(isinstance(arg, Rows | float | int) for arg in args):
            values = [arg.whole if isinstance(arg, Rows) else arg for arg in args]
            return maps[0].with_values(RULES.get(target, target)(*values, **kwargs))
        args = tree_map(lambda arg: to_map(arg) if isinstance(arg, Rows) else arg, args)
        return RULES.get(target, target)(*args, **kwargs)

    def convolution(self, x: Any, weight: Tensor, bias: Tensor | None, stride: list[int], pads: list[int]) -> Any:
        """Return the convolution, its bias as an offset."""
        outputs, inputs, *kernel = weight.shape
        if not isinstance(x, Rows):
            if kernel != [TAPS, TAPS]:
                return NotImplemented
            x = to_rows(x)
        offset = None if bias is None else bias.reshape(1, 1, -1)
        if kernel == [1, 1] and stride == [1, 1] and pads == [0] * 4:
            matrix = weight.reshape(outputs, inputs).t()
            if x.offset is not None:
                moved = product(x.offset, matrix)
                offset = moved if offset is None else offset + moved
            return Rows(product(x.values, matrix), x.size, offset)
        if _tiles(x.size, weight, stride, pads):
            matrices = forward_transforms(_side(x.size))
            return Rows(tiles(x, self._kernel(weight, matrices), matrices), x.size, offset)
        return Rows(*direct(x, weight.permute(2, 3, 1, 0), stride, pads), offset)

    def convolution_gradient(
        self, gradient: Any, weight: Tensor, size: list[int], stride: list[int], pads: list[int]
    ) -> Any:
        """Return the gradient by the input."""
        outputs, inputs, *kernel = weight.shape
        if not isinstance(gradient, Rows):
            if kernel != [TAPS, TAPS]:
                return NotImplemented
            gradient = to_rows(gradient)
        whole = (int(size[0]), int(size[1]))
        if kernel == [1, 1] and stride == [1, 1] and pads == [0] * 4:
            return Rows(product(gradient.whole, weight.reshape(outputs, inputs)), whole)
        if _tiles(whole, weight, stride, pads):
            matrices = backward_transforms(_side(whole))
            return Rows(tiles(gradient, self._kernel(weight, matrices).transpose(1, 2), matrices), whole)
        if stride == [1, 1]:
            around = [k - 1 - p for k, p in zip((kernel[1],) * 2 + (kernel[0],) * 2, pads, strict=True)]
            return Rows(*direct(gradient, weight.flip(2, 3).permute(2, 3, 0, 1), [1, 1], around))
        if stride == [2, 2] and tiled(whole) and min(kernel) > 1:
            return Rows(strided_gradient(gradient, weight, whole, pads), whole)
        return NotImplemented

    def _kernel(self, weight: Tensor, matrices: Transforms) -> Tensor:
        """Return Winograd's transform of a kernel, (n^2, C, K) for windows of n x n."""
        key = id(weight), len(matrices.kernel)
        if key not in self._kernels:
            outputs, inputs = weight.shape[:2]
            taps = weight.permute(2, 3, 1, 0).reshape(TAPS**2, inputs * outputs)
            self._kernels[key] = _apply(matrices.kernel, taps).reshape(-1, inputs, outputs)
        return self._kernels[key]


def _side(size: tuple[int, int]) -> int:
    """Return the side of the tiles for a map of a size."""
    return 4 if size[0] * size[1] >= FEW * TILE**2 else 2


def _tiles(size: tuple[int, int], weight: Tensor, stride: list[int], pads: list[int]) -> bool:
    wide = min(weight.shape[:2]) >= LEAST_CHANNELS
    return wide and tiled(size) and list(weight.shape[2:]) == [TAPS] * 2 and stride == [1, 1] and pads == [1] * 4


def tiles(x: Rows, kernel: Tensor, matrices: Transforms) -> Tensor:
    """Return the rows of a 3x3 convolution by Winograd's tiles: look up windows, transform, multiply, transform back.

    Args:
        x: the input, (B, R, C).
        kernel: transformed, (n^2, C, K).
        matrices: forward or backward, for windows of n x n.
    """
    side, (inputs, outputs) = len(matrices.tile), kernel.shape[1:]
    window, count = len(matrices.window), x.size[0] * x.size[1] // side**2
    # tiles of 2x2 are numbered as rows are: first by their place in a tile of 4x4
    places = np.arange(window)[:, None, None] - 1 + side * np.arange(TILE // side)[:, None]
    y, columns = (places + TILE * np.arange(length // TILE) for length in x.size)
    windows = look_up(x.whole, x.size, y[:, None, :, None, :, None], columns[None, :, None, :, None, :])
    windows = windows.reshape(-1, window**2, count * inputs)
    values = _apply(matrices.window, windows).reshape(-1, window**2, count, inputs)
    products = product(values, kernel).reshape(-1, window**2, count * outputs)
    order = _PHASES if side == TILE else None
    return _apply(matrices.tile, products, order).reshape(-1, side**2 * count, outputs)


def _apply(matrix: np.ndarray, x: Tensor, order: list[int] | None = None) -> Tensor:
    """Return a matrix applied along both axes of what is flattened into the second last axis of x."""
    return mix_twice(matrix.reshape(-1).tolist(), len(matrix), order or list(range(len(matrix) ** 2)), x)


def direct(x: Rows, kernel: Tensor, stride: list[int], pads: list[int]) -> tuple[Tensor, tuple[int, int]]:
    """Return rows and size of a convolution: look up what a place hears of, then multiply, or the other way round.

    Args:
        x: the input.
        kernel: (kh, kw, C, K).
        stride: by rows and columns.
        pads: left, right, top, bottom.
    """
    down, across, inputs, outputs = (int(side) for side in kernel.shape)
    height = (x.size[0] + pads[2] + pads[3] - down) // stride[0] + 1
    width = (x.size[1] + pads[0] + pads[1] - across) // stride[1] + 1
    y, columns = pixels((height, width))
    y = y[..., None, None] * stride[0] - pads[2] + np.arange(down)[:, None]
    columns = columns[..., None, None] * stride[1] - pads[0] + np.arange(across)
    size, taps, rows = (height, width), down * across, x.size[0] * x.size[1]
    if outputs >= inputs or outputs > LEAST_CHANNELS:
        heard = look_up(x.whole, x.size, y, columns).reshape(-1, height * width, taps * inputs)
        return product(heard, kernel.reshape(taps * inputs, outputs)), size
    products = product(x.whole, kernel.permute(2, 0, 1, 3).reshape(inputs, taps * outputs))
    return _gather_taps(products.reshape(-1, rows, taps, outputs), x.size, y, columns, size), size


def _gather_taps(products: Tensor, size: tuple[int, int], y: np.ndarray, x: np.ndarray, out: tuple[int, int]) -> Tensor:
    """Return for each place of the output the sum of its taps' products, (B, R', K), of products (B, R, taps, K)."""
    taps, outputs = products.shape[2:]
    parts = []
    for tap in range(taps):
        down, across = divmod(tap, x.shape[-1])
        parts.append(look_up(products[:, :, tap], size, y[..., down : down + 1, :], x[..., across : across + 1]))
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total.reshape(-1, out[0] * out[1], outputs)


def strided_gradient(gradient: Rows, weight: Tensor, size: tuple[int, int], pads: list[int]) -> Tensor:
    """Return the rows of the input gradient of a convolution of stride 2: each parity of pixels has its own taps."""
    outputs, inputs, down, across = (int(side) for side in weight.shape)
    ys, xs = pixels(size)
    parts = []
    for py, px in np.ndindex(2, 2):
        rows = [tap for tap in range(down) if (py + pads[2] - tap) % 2 == 0]
        columns = [tap for tap in range(across) if (px + pads[0] - tap) % 2 == 0]
        y = (ys[py : py + 1, ..., None, None] + pads[2] - np.array(rows)[:, None]) // 2
        x = (xs[:, px : px + 1, ..., None, None] + pads[0] - np.array(columns)) // 2
        taps = weight[:, :, rows[0] :: 2, columns[0] :: 2].permute(2, 3, 0, 1)
        heard = look_up(gradient.whole, gradient.size, y, x)
        heard = heard.reshape(-1, size[0] * size[1] // 4, len(rows) * len(columns) * outputs)
        parts.append(product(heard, taps.reshape(-1, inputs)))
    return torch.cat(parts, 1)


def unshuffle(x: Any, factor: int) -> Any:
    """Return the pixel-unshuffle of a map as rows."""
    if isinstance(x, Rows) or factor == 1 or x.ndim != 4:
        return NotImplemented if factor > 1 or isinstance(x, Rows) else x
    return to_rows(x, factor)


def shuffle(x: Any, factor: int) -> Any:
    """Return the pixel-shuffle of rows as a map."""
    return to_map(x, factor) if isinstance(x, Rows) and factor > 1 else x


def add(a: Any, b: Any) -> Any:
    """Return a sum of maps of one size, offsets apart."""
    if not (isinstance(a, Rows) and isinstance(b, Rows)) or a.size != b.size:
        return NotImplemented
    offsets = [offset for offset in (a.offset, b.offset) if offset is not None]
    return Rows(a.values + b.values, a.size, sum(offsets[1:], offsets[0]) if offsets else None)


def multiply(a: Any, b: Any) -> Any:
    """Return a map times a number."""
    if isinstance(a, Rows) and isinstance(b, int | float):
        return Rows(a.values * b, a.size, None if a.offset is None else a.offset * b)
    return NotImplemented


def silu_backward(gradient: Any, x: Any) -> Any:
    """Return g (y + s (1 - y)), y = x s, s = sigmoid(x)."""
    if not isinstance(gradient, Rows) or not isinstance(x, Rows):
        return NotImplemented
    values = x.whole
    s = torch.sigmoid(values)
    y = values * s
    return gradient.with_values((y + s * (1.0 - y)) * gradient.whole)


def group_norm(
    x: Any, weight: Tensor | None, bias: Tensor | None, _n: Any, _c: Any, _hw: Any, groups: int, eps: float
) -> Any:
    """Return what the rule on maps does, but mean and reciprocal deviation for each channel, (B, 1, C)."""
    if weight is None or bias is None:
        return NotImplemented
    count = int(x.values.shape[1])
    total, squares = sum_rows(x.values), sum_rows(x.values * x.values)
    if x.offset is not None:  # sums of x + o from those of x
        squares = squares + x.offset * (2.0 * total + count * x.offset)
        total = total + count * x.offset
    mean, square = group_means(total, groups, count), group_means(squares, groups, count)
    rstd = (torch.relu(square - mean * mean) + eps).rsqrt()
    factor = rstd * weight
    centre = mean if x.offset is None else mean - x.offset
    return Rows(x.values * factor + (bias - centre * factor), x.size), mean, rstd


def group_norm_backward(
    gradient: Any,
    x: Any,
    mean: Tensor,
    rstd: Tensor,
    weight: Tensor | None,
    _n: Any,
    _c: Any,
    _hw: Any,
    groups: int,
    _mask: Any,
) -> Any:
    """Return h - mean(h) - x' mean(h x'), where h is g w rstd and x' is x normalized."""
    if weight is None or not isinstance(x, Rows):
        return NotImplemented
    gradient = gradient if isinstance(gradient, Rows) else to_rows(gradient)
    count = int(x.values.shape[1])
    scaled = gradient.whole * (rstd * weight)
    total, product_sum = sum_rows(scaled), sum_rows(scaled * x.values)
    centre = mean if x.offset is None else mean - x.offset
    slope = group_means(product_sum - centre * total, groups, count) * (rstd * rstd)
    summand = group_means(total, groups, count) - centre * slope
    return Rows(scaled - (x.values * slope + summand), x.size), None, None
