"""The locally masked convolution as ordinary convolutions, one for each group of positions that share a mask.

The groups of raster scans and S-curves are lattices: all pixels, or alternate rows or columns. Each is a strided
convolution with only those rows and columns of the kernel that its mask leaves: nothing is unfolded, and half of the
products are never made. What all groups share, as the row above under an S-curve, is one convolution over the whole
picture where that saves products. Where the dilation is a multiple of the lattice's step, a lattice reads itself alone.
Alternate columns are alternate rows of the picture turned about its diagonal, which is how they are computed: rows lie
together in memory. Orders with many masks (Hilbert curves, permutations) are computed tap by tap: gather the positions
whose mask leaves the tap, multiply, add.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np
import torch
from torch import Tensor

from runtime.pixels.masks import Group, Kernel, Mask, lattice_groups, tap_sources
from runtime.pixels.orders import Size

ALL = slice(None)


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
    shift: int = 0
    """Lines from an output to its input where lines that would read padding alone are left out, else 0."""

    @classmethod
    def of(
        cls, live: Sequence[int], length: int, taps: int, dilation: int, first: int, step: int, *, trim: bool
    ) -> "Axis":
        """Return an axis.

        Args:
            live: the indices of used kernel lines.
            length: of the picture.
            taps: how many lines the kernel has.
            dilation: between them.
            first: the lattice's first line.
            step: between the lattice's lines.
            trim: leave out lines that would read padding alone; they are then not the lattice's.
        """
        low, high = min(live), max(live)
        if trim and low == high and step == 1:
            offset = dilation * (low - taps // 2)
            count = length - abs(offset)
            lines, source = (slice(start, start + count) for start in (max(0, -offset), max(0, offset)))
            return cls(slice(low, high + 1), lines, source, 1, 1, count, 0, 0, count, offset)
        count = (length - first + step - 1) // step
        lines, source = slice(first, None, step), slice(None)
        if step > 1 and (dilation % step == 0 or low == high == taps // 2):
            length, source, first, dilation, step = count, lines, 0, max(1, dilation // step), 1
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
    """One group of positions as a strided convolution."""

    taps: Tensor
    """0 and 1 for the used rows and columns of the kernel: the mask that the group shares."""
    whole: bool
    """Whether they are all 1."""
    rows: Axis
    columns: Axis

    @property
    def lines(self) -> tuple[slice, slice, slice, slice]:
        """Index of the group's positions in the picture."""
        return ALL, ALL, self.rows.lines, self.columns.lines

    @property
    def kept(self) -> tuple[slice, slice, slice, slice]:
        """Index of the group's positions in the convolution's output."""
        return ALL, ALL, self.rows.kept, self.columns.kept

    @property
    def source(self) -> tuple[slice, slice, slice, slice]:
        """Index of what the convolution reads in its input."""
        return ALL, ALL, self.rows.source, self.columns.source

    @property
    def used(self) -> tuple[slice, slice, slice, slice]:
        """Index of the used taps in the weights."""
        return ALL, ALL, self.rows.taps, self.columns.taps

    @property
    def arguments(self) -> tuple:
        """Stride, padding, dilation, and the constants of `aten.convolution`."""
        rows, columns = self.rows, self.columns
        padding, dilation = [rows.padding, columns.padding], [rows.dilation, columns.dilation]
        return [rows.stride, columns.stride], padding, dilation, False, [0, 0], 1


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
    """How to compute a layer: the sum of strided convolutions, or, where there are none, tap by tap."""

    lattices: tuple[Lattice, ...]
    """Those of the fewest products; where these are not `apart`, the first is of all positions, to which others add."""
    apart: tuple[Lattice, ...]
    """One for each group of positions: more products and fewer passes over memory, which is what half precision wants,
    in which a product costs an eighth."""
    taps: tuple[Tap, ...]
    turned: bool = False
    """Whether the convolutions are of the picture and the kernel with rows and columns exchanged."""

    @classmethod
    def of(cls, mask: Mask, size: Size, kernel: Kernel, dilation: int, device: torch.device) -> "Plan":
        """Return the plan of a mask matrix (k1 k2, H W)."""
        if groups := lattice_groups(mask, size, kernel, dilation):
            if turned := groups[0].lattice is not None and groups[0].lattice[2:] == (1, 2):
                groups = [_turn(g, size, kernel) for g in groups]
                size, kernel = (size[1], size[0]), (kernel[1], kernel[0])
            apart = tuple(_lattice(group, size, kernel, dilation, device) for group in groups)
            shared = share_taps(groups, size, kernel)
            if shared is groups:
                return cls(apart, apart, (), turned)
            lattices = tuple(_lattice(g, size, kernel, dilation, device, trim=True) for g in shared)
            return cls(lattices, apart, (), turned)
        return cls((), (), _taps(mask, size, kernel, dilation, device))

    def lattices_for(self, x: Tensor) -> tuple[Lattice, ...]:
        """Return the convolutions that are faster in a picture's precision."""
        return self.apart if x.dtype in (torch.bfloat16, torch.float16) else self.lattices


def share_taps(groups: list[Group], size: Size, kernel: Kernel) -> list[Group]:
    """Return groups with the same sum of fewer products: one of all positions has taps that were in each group.

    A group costs its positions times the smallest rectangle of the kernel around its taps. The new one, if any, comes
    first, as its backward pass takes most memory; groups that are left without taps are gone.
    """
    grids = [group.taps.reshape(kernel) for group in groups]
    common = np.logical_and.reduce(grids)
    rows, columns = (list(combinations(range(side + 1), 2)) for side in kernel)
    best, cost = groups, sum(_cost(group.taps, kernel) * len(group.positions) for group in groups)
    everywhere = np.arange(size[0] * size[1], dtype=np.int64)
    for (top, bottom), (left, right) in product(rows, columns) if len(groups) > 1 else ():
        if not common[top:bottom, left:right].all():
            continue
        shared = np.zeros(kernel, bool)
        shared[top:bottom, left:right] = True
        rest = [replace(g, taps=g.taps & ~shared.reshape(-1)) for g in groups]
        rest = [Group(shared.reshape(-1), everywhere, (0, 0, 1, 1)), *(g for g in rest if g.taps.any())]
        if (found := sum(_cost(group.taps, kernel) * len(group.positions) for group in rest)) < cost:
            best, cost = rest, found
    return best


def _cost(taps: Mask, kernel: Kernel) -> int:
    """Return the area of the smallest rectangle around taps."""
    live = np.argwhere(taps.reshape(kernel))
    return int(np.prod(np.ptp(live, axis=0) + 1)) if len(live) else 1


def _turn(group: Group, size: Size, kernel: Kernel) -> Group:
    """Return a group of positions with rows and columns of the picture and the kernel exchanged."""
    assert group.lattice is not None
    row, column, row_step, column_step = group.lattice
    positions = np.sort(group.positions % size[1] * size[0] + group.positions // size[1])
    return Group(group.taps.reshape(kernel).T.reshape(-1), positions, (column, row, column_step, row_step))


def _lattice(
    group: Group, size: Size, kernel: Kernel, dilation: int, device: torch.device, *, trim: bool = False
) -> Lattice:
    """Return a group's convolution; a mask that leaves no tap becomes the centre with a weight of zero."""
    assert group.lattice is not None
    row, column, row_step, column_step = group.lattice
    live = np.argwhere(group.taps.reshape(kernel)) if group.taps.any() else np.array([[kernel[0] // 2, kernel[1] // 2]])
    rows = Axis.of(live[:, 0].tolist(), size[0], kernel[0], dilation, row, row_step, trim=trim)
    columns = Axis.of(live[:, 1].tolist(), size[1], kernel[1], dilation, column, column_step, trim=trim)
    taps = torch.from_numpy(group.taps.reshape(kernel)[rows.taps, columns.taps])
    return Lattice(taps.float().to(device), bool(taps.all()), rows, columns)


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
    """Strided convolutions over the lattices of a plan, each written or added to its lines of one output."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, plan: Plan) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.plan = plan
        bias, lattices = bias.to(x.dtype), plan.lattices_for(x)
        overlap = lattices is not plan.apart
        y = _everywhere(x, weight, bias, lattices[0]) if overlap else _empty((len(x), len(weight), *x.shape[2:]), x)
        for lattice in lattices[1:] if overlap else lattices:
            live = _live(weight, lattice, x)
            part = torch.ops.aten.convolution(_read(x, lattice), live, None if overlap else bias, *lattice.arguments)
            if overlap:
                y[lattice.lines] += part[lattice.kept]
            else:
                y[lattice.lines] = part[lattice.kept]
        return y

    @staticmethod
    def backward(ctx, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        want_x, want_weight, want_bias, _ = ctx.needs_input_grad
        x_slope = weight_slope = None
        for of_x, of_weight in _passes(want_x, want_weight, x):
            for lattice in ctx.plan.lattices_for(x):
                x_part, w_part = _slopes(slope, x, weight, lattice, (of_x, of_weight, False))
                if of_x:
                    x_slope = _gather_slope(x_slope, x_part, lattice, x)
                del x_part
                if of_weight:
                    weight_slope = torch.zeros_like(weight) if weight_slope is None else weight_slope
                    weight_slope[lattice.used].add_(_mask(w_part.to(weight.dtype), lattice))
        bias_slope = slope.sum((0, 2, 3)).to(weight.dtype) if want_bias else None
        return x_slope, weight_slope, bias_slope, None


def _everywhere(x: Tensor, weight: Tensor, bias: Tensor, lattice: Lattice) -> Tensor:
    """Return the convolution of a lattice of all positions, and the bias where that would read padding alone.

    With channels last and one row of taps, the pictures of a batch are read as one tall picture: nothing is copied, and
    the rows that read a neighbouring picture are those that should read padding.
    """
    live, rows, columns = _live(weight, lattice, x), lattice.rows, lattice.columns
    if _layout(x) == torch.channels_last and rows.shift and columns.outputs == columns.count == x.shape[3]:
        arguments = replace(lattice, rows=replace(rows, padding=abs(rows.shift))).arguments
        tall = torch.ops.aten.convolution(_tall(x), live, bias, *arguments)
        tall = tall.narrow(2, rows.shift + abs(rows.shift), len(x) * x.shape[2])
        y = tall.permute(0, 2, 3, 1).view(len(x), *x.shape[2:], -1).permute(0, 3, 1, 2)
    else:
        part = torch.ops.aten.convolution(_read(x, lattice), live, bias, *lattice.arguments)
        y = _empty((len(x), len(weight), *x.shape[2:]), x)
        y[lattice.lines] = part[lattice.kept]
    _fill_outside(y, lattice.lines, bias)
    return y


def _tall(x: Tensor) -> Tensor:
    """Return (1, C, B H, W), a view of (B, C, H, W) with channels last."""
    return x.permute(0, 2, 3, 1).reshape(1, -1, x.shape[3], x.shape[1]).permute(0, 3, 1, 2)


def _passes(want_x: bool, want_weight: bool, x: Tensor) -> list[tuple[bool, bool]]:
    """Return which gradients to compute together: in half precision, where weights' weigh more, each on its own."""
    together = [(want_x, want_weight)]
    apart = [(want_x, False), (False, want_weight)]
    return [p for p in (apart if x.dtype in (torch.bfloat16, torch.float16) else together) if any(p)]


def _slopes(
    slope: Tensor, x: Tensor, weight: Tensor, lattice: Lattice, want: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor]:
    """Return a lattice's gradients of what it read and of the used taps, or None for what is not wanted."""
    part, read, live = _outputs_slope(slope, lattice, x), _read(x, lattice), _live(weight, lattice, x)
    x_part, w_part, _ = torch.ops.aten.convolution_backward(part, read, live, None, *lattice.arguments, want)
    return x_part, w_part


def _fill_outside(y: Tensor, index: tuple[slice, ...], value: Tensor) -> None:
    """Write a value, one a channel, to the lines before and after those of an index whose steps are 1."""
    for axis in (2, 3):
        start, stop, _ = index[axis].indices(y.shape[axis])
        for first, count in ((0, start), (stop, y.shape[axis] - stop)):
            y.narrow(axis, first, count).copy_(value[:, None, None])


def _empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Return memory of a shape, in the precision and layout of another picture."""
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=_layout(like))


def _read(x: Tensor, lattice: Lattice) -> Tensor:
    """Return the lines of the input that a lattice's convolution reads."""
    return x[lattice.source].contiguous(memory_format=_layout(x))


def _live(weight: Tensor, lattice: Lattice, x: Tensor) -> Tensor:
    """Return the used rows and columns of the kernel, masked, in the input's precision and layout."""
    live = _mask(weight[lattice.used], lattice)
    return live.to(x.dtype).contiguous(memory_format=_layout(x))


def _mask(used: Tensor, lattice: Lattice) -> Tensor:
    """Return used rows and columns of the kernel with zeros where the mask is."""
    return used if lattice.whole else used * lattice.taps.to(used)


def _gather_slope(total: Tensor | None, part: Tensor, lattice: Lattice, x: Tensor) -> Tensor:
    """Return the gradient of the input with a lattice's part added to the lines that it read."""
    if total is None:
        if part.shape == x.shape:
            return part
        total = _empty(tuple(x.shape), x)
        if all(lines.step in (None, 1) for lines in lattice.source):
            _fill_outside(total, lattice.source, x.new_zeros(x.shape[1]))
            total[lattice.source] = part
            return total
        total.zero_()
    total[lattice.source].add_(part)
    return total


def _outputs_slope(slope: Tensor, lattice: Lattice, like: Tensor) -> Tensor:
    """Return the gradient with respect to all lines that a lattice's convolution computed: zero for unused ones."""
    rows, columns = lattice.rows, lattice.columns
    mine = slope[lattice.lines]
    if (rows.outputs, columns.outputs) == (rows.count, columns.count):
        return mine.contiguous(memory_format=_layout(like))
    part = _empty((*slope.shape[:2], rows.outputs, columns.outputs), like).zero_()
    part[lattice.kept] = mine
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
    """Return (B, C_out, H, W), the masked convolution of (B, C_in, H, W), in the input's precision.

    Where the plan is turned, the result lies in memory column by column, channels last, and a picture that does not is
    copied. Otherwise it has the layout of the input.

    Args:
        x: (B, C_in, H, W), float32, float64 or bfloat16; fastest with channels last in memory.
        weight: (C_out, C_in, k1, k2), of the precision in which gradients are summed.
        bias: (C_out,).
        plan: which positions share a mask.
    """
    if not plan.lattices:
        return _TapConv2d.apply(x, weight, bias, plan)
    if not plan.turned:
        return _LatticeConv2d.apply(x, weight, bias, plan)
    x = x.transpose(2, 3).contiguous(memory_format=torch.channels_last)
    return _LatticeConv2d.apply(x, weight.transpose(2, 3), bias, plan).transpose(2, 3)
