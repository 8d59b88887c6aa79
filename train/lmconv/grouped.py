"""The locally masked convolution as ordinary convolutions, one for each group of positions that share a mask.

The groups of raster scans and S-curves are lattices: all pixels, or alternate rows or columns. Each is a strided
convolution with only those rows and columns of the kernel that its mask leaves: nothing is unfolded, and half of the
products are never made. Where the dilation is a multiple of the lattice's step, a lattice reads itself alone. Orders
with many masks (Hilbert curves, permutations) are computed tap by tap: gather the positions whose mask leaves the tap,
multiply, add.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from runtime.pixels.masks import Group, Kernel, Mask, lattice_groups, tap_sources
from runtime.pixels.orders import Size


@dataclass(frozen=True)
class Axis:
    """One axis of a strided convolution that computes some lines of the picture.

    The convolution reads the lines `source`, pads by `padding` on both ends and may also compute lines that are not
    asked for: of its outputs, `count` from `skip` on are the lattice's.
    """

    taps: slice
    """Rows (or columns) of the kernel that are used."""
    lines: slice
    """The lattice's lines in the picture."""
    source: slice
    """The lines that are read: all, or the lattice's."""
    stride: int
    dilation: int
    count: int
    """Number of the lattice's lines."""
    padding: int
    skip: int
    outputs: int
    """Lines that the convolution computes."""

    @classmethod
    def of(cls, live: Sequence[int], length: int, taps: int, dilation: int, first: int, step: int) -> "Axis":
        """Return an axis: `live` are the indices of used kernel lines, of `taps`; `length` is the picture's."""
        low, high = min(live), max(live)
        count = (length - first + step - 1) // step
        lines, source = slice(first, None, step), slice(None)
        if step > 1 and dilation % step == 0:
            length, source, first, dilation, step = count, lines, 0, dilation // step, 1
        start = first + dilation * (low - taps // 2)
        end = first + step * (count - 1) + dilation * (high - taps // 2)
        padding = max(0, -start, end - (length - 1))
        padding += -(start + padding) % step
        outputs = (length + 2 * padding - dilation * (high - low) - 1) // step + 1
        used, skip = slice(low, high + 1), (start + padding) // step
        return cls(used, lines, source, step, dilation, count, padding, skip, outputs)

    @property
    def kept(self) -> slice:
        """The lattice's lines among the convolution's outputs."""
        return slice(self.skip, self.skip + self.count)


@dataclass(frozen=True)
class Lattice:
    """One group of positions as a strided convolution; `axes` is None where its mask leaves no tap."""

    taps: Tensor
    """(k1, k2) of 0 and 1: the mask that the group shares."""
    group: Group
    axes: tuple[Axis, Axis] | None


@dataclass(frozen=True)
class Tap:
    """One tap of the kernel and the positions whose mask leaves it; None where these are all, at the centre."""

    row: int
    column: int
    positions: Tensor | None
    """(n,) flat indices of outputs."""
    sources: Tensor | None
    """(n,) flat indices of the inputs that they read."""


@dataclass(frozen=True)
class Plan:
    """How to compute a layer: strided convolutions, or, where there are none, tap by tap."""

    lattices: tuple[Lattice, ...]
    taps: tuple[Tap, ...]

    @classmethod
    def of(cls, mask: Mask, size: Size, kernel: Kernel, dilation: int, device: torch.device) -> "Plan":
        """Return the plan of a mask matrix (k1 k2, H W)."""
        if groups := lattice_groups(mask, size, kernel, dilation):
            return cls(tuple(_lattice(g, size, kernel, dilation, device) for g in groups), ())
        return cls((), _taps(mask, size, kernel, dilation, device))


def _lattice(group: Group, size: Size, kernel: Kernel, dilation: int, device: torch.device) -> Lattice:
    assert group.lattice is not None
    taps = group.taps.reshape(kernel)
    row, column, row_step, column_step = group.lattice
    axes = None
    if taps.any():
        rows, columns = taps.any(1).nonzero()[0].tolist(), taps.any(0).nonzero()[0].tolist()
        axes = (
            Axis.of(rows, size[0], kernel[0], dilation, row, row_step),
            Axis.of(columns, size[1], kernel[1], dilation, column, column_step),
        )
    return Lattice(torch.from_numpy(taps).float().to(device), group, axes)


def _taps(mask: Mask, size: Size, kernel: Kernel, dilation: int, device: torch.device) -> tuple[Tap, ...]:
    sources = tap_sources(size, kernel, dilation)
    taps = []
    for tap in range(len(mask)):
        positions = (mask[tap] & (sources[tap] >= 0)).nonzero()[0]
        if len(positions) == mask.shape[1]:
            taps.append(Tap(*divmod(tap, kernel[1]), None, None))
        elif len(positions):
            here, there = (torch.from_numpy(p).to(device) for p in (positions, sources[tap][positions]))
            taps.append(Tap(*divmod(tap, kernel[1]), here, there))
    return tuple(taps)


def _layout(x: Tensor) -> torch.memory_format:
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


class _LatticeConv2d(torch.autograd.Function):
    """Strided convolutions over the lattices of a plan, each written to its lines of one output."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, plan: Plan) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.plan = plan
        y = _empty((len(x), len(weight), *x.shape[2:]), x)
        bias = bias.to(x.dtype)
        for lattice in plan.lattices:
            rows, columns = _lines(lattice)
            if lattice.axes is None:
                y[:, :, rows, columns] = bias[:, None, None]
                continue
            part = torch.ops.aten.convolution(_read(x, lattice), _live(weight, lattice, x), bias, *_arguments(lattice))
            y[:, :, rows, columns] = part[:, :, lattice.axes[0].kept, lattice.axes[1].kept]
        return y

    @staticmethod
    def backward(ctx, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        plan, (want_x, want_weight, want_bias, _) = ctx.plan, ctx.needs_input_grad
        x_slope, weight_slope, bias_slope = None, None, None
        if want_weight:
            weight_slope = torch.zeros_like(weight)
        for lattice in plan.lattices:
            if lattice.axes is None or not (want_x or want_weight):
                continue
            part, read, live = _outputs_slope(slope, lattice, x), _read(x, lattice), _live(weight, lattice, x)
            want = (want_x, want_weight, False)
            x_part, w_part, _ = torch.ops.aten.convolution_backward(part, read, live, None, *_arguments(lattice), want)
            del part, read
            if want_x:
                x_slope = _gather_slope(x_slope, x_part, lattice, x)
            if weight_slope is not None:
                used = lattice.axes[0].taps, lattice.axes[1].taps
                weight_slope[:, :, used[0], used[1]].addcmul_(w_part.to(weight.dtype), lattice.taps[used].to(weight))
        if want_x and x_slope is None:
            x_slope = torch.zeros_like(x)
        if want_bias:
            bias_slope = slope.sum((0, 2, 3)).to(weight.dtype)
        return x_slope, weight_slope, bias_slope, None


def _empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Return memory of a shape, in the precision and layout of another picture."""
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=_layout(like))


def _read(x: Tensor, lattice: Lattice) -> Tensor:
    """Return the lines of the input that a lattice's convolution reads."""
    rows, columns = lattice.axes
    return x[:, :, rows.source, columns.source].contiguous(memory_format=_layout(x))


def _gather_slope(total: Tensor | None, part: Tensor, lattice: Lattice, x: Tensor) -> Tensor:
    """Return the gradient of the input with a lattice's part added to the lines that it read."""
    rows, columns = lattice.axes
    if total is None:
        if part.shape == x.shape:
            return part
        total = _empty(x.shape, x).zero_()
    total[:, :, rows.source, columns.source].add_(part)
    return total


def _lines(lattice: Lattice) -> tuple[slice, slice]:
    row, column, row_step, column_step = lattice.group.lattice
    return slice(row, None, row_step), slice(column, None, column_step)


def _live(weight: Tensor, lattice: Lattice, x: Tensor) -> Tensor:
    """Return the used rows and columns of the kernel, masked, in the input's precision and layout."""
    used = lattice.axes[0].taps, lattice.axes[1].taps
    live = weight[:, :, used[0], used[1]] * lattice.taps[used].to(weight)
    return live.to(x.dtype).contiguous(memory_format=_layout(x))


def _arguments(lattice: Lattice) -> tuple:
    """Return stride, padding, dilation, and the constants of `aten.convolution`."""
    rows, columns = lattice.axes
    padding, dilation = [rows.padding, columns.padding], [rows.dilation, columns.dilation]
    return [rows.stride, columns.stride], padding, dilation, False, [0, 0], 1


def _outputs_slope(slope: Tensor, lattice: Lattice, like: Tensor) -> Tensor:
    """Return the gradient with respect to all lines that a lattice's convolution computed: zero for unused ones."""
    rows, columns = lattice.axes
    mine = slope[:, :, rows.lines, columns.lines]
    if (rows.outputs, columns.outputs) == (rows.count, columns.count):
        return mine.contiguous(memory_format=_layout(like))
    part = _empty((*slope.shape[:2], rows.outputs, columns.outputs), like).zero_()
    part[:, :, rows.kept, columns.kept] = mine
    return part


class _TapConv2d(torch.autograd.Function):
    """The convolution tap by tap: gather the inputs that a tap may read, multiply, add to the outputs."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, plan: Plan) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.plan = plan
        rows = _rows(x)
        y = bias.to(weight.dtype).repeat(*rows.shape[:2], 1)
        for tap in plan.taps:
            product = _take(rows, tap.sources) @ weight[:, :, tap.row, tap.column].T.to(x.dtype)
            _add(y, tap.positions, product)
        return _picture(y.to(x.dtype), x)

    @staticmethod
    def backward(ctx, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        rows, slopes = _rows(x), _rows(slope)
        x_slope = torch.zeros(rows.shape, dtype=weight.dtype, device=x.device)
        weight_slope = torch.zeros_like(weight)
        for tap in ctx.plan.taps:
            mine = _take(slopes, tap.positions)
            matrix = weight[:, :, tap.row, tap.column]
            if ctx.needs_input_grad[0]:
                _add(x_slope, tap.sources, mine @ matrix.to(mine.dtype))
            read = _take(rows, tap.sources)
            weight_slope[:, :, tap.row, tap.column] = (mine.flatten(0, 1).T @ read.flatten(0, 1)).to(weight.dtype)
        return _picture(x_slope.to(x.dtype), x), weight_slope, slope.sum((0, 2, 3), dtype=weight.dtype), None


def _rows(x: Tensor) -> Tensor:
    """Return (B, H W, C) of (B, C, H, W)."""
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, x.shape[1])


def _picture(rows: Tensor, like: Tensor) -> Tensor:
    """Return (B, C, H, W) of (B, H W, C), in the layout of another picture."""
    return rows.view(len(rows), *like.shape[2:], -1).permute(0, 3, 1, 2).contiguous(memory_format=_layout(like))


def _take(rows: Tensor, indices: Tensor | None) -> Tensor:
    return rows if indices is None else rows.index_select(1, indices)


def _add(rows: Tensor, indices: Tensor | None, values: Tensor) -> None:
    """Add values to rows in the rows' precision, where bfloat16 products are summed in float32."""
    values = values.to(rows.dtype)
    rows.add_(values) if indices is None else rows.index_add_(1, indices, values)


def grouped_conv2d(x: Tensor, weight: Tensor, bias: Tensor, plan: Plan) -> Tensor:
    """Return (B, C_out, H, W), the masked convolution of (B, C_in, H, W), in the input's precision and layout.

    Args:
        x: (B, C_in, H, W), float32, float64 or bfloat16; fastest with channels last in memory.
        weight: (C_out, C_in, k1, k2), of the precision in which gradients are summed.
        bias: (C_out,).
        plan: which positions share a mask.
    """
    function = _LatticeConv2d if plan.lattices else _TapConv2d
    return function.apply(x, weight, bias, plan)
