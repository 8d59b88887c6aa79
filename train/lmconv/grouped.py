"""The locally masked convolution as ordinary convolutions, one for each group of positions that share a mask.

Nothing is unfolded, and half of the products are never made; `train.lmconv.plan` says which are. Orders with many masks
are computed tap by tap: gather the positions whose mask leaves the tap, multiply, add.
"""

from dataclasses import replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from train.lmconv.plan import Lattice, Plan, is_half


def _layout(x: Float[Tensor, "_ _ _ _"]) -> torch.memory_format:
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


class _LatticeConv2d(torch.autograd.Function):
    """Strided convolutions over the lattices of a plan, each written or added to its lines of one output."""

    @staticmethod
    def forward(
        ctx, x: Float[Tensor, "B C H W"], weight: Float[Tensor, "D C k1 k2"], bias: Float[Tensor, " D"], plan: Plan
    ) -> Float[Tensor, "B D H W"]:
        ctx.save_for_backward(x, weight)
        ctx.plan = plan
        bias, lattices = bias.to(x.dtype), plan.lattices_for(x)
        overlap = lattices is not plan.apart
        y = _everywhere(x, weight, bias, lattices[0]) if overlap else _empty((len(x), len(weight), *x.shape[2:]), x)
        for lattice in lattices[1:] if overlap else lattices:
            live = _live(weight, lattice, x)
            part = torch.ops.aten.convolution(_read(x, lattice), live, None if overlap else bias, *lattice.arguments)
            if overlap:
                y[lattice.lines] += part[lattice.valid]
            else:
                # Lattices that lie apart write each line once, so the memory needs no zeros first.
                y[lattice.lines] = part[lattice.valid]
        return y

    @staticmethod
    def backward(ctx, slope: Float[Tensor, "B D H W"]) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        want_x, want_weight, want_bias, _ = ctx.needs_input_grad
        x_slope = weight_slope = None
        for of_x, of_weight in _passes(want_x, want_weight, x):
            for lattice in ctx.plan.lattices_for(x):
                x_part, w_part = _slopes(slope, x, weight, lattice, (of_x, of_weight, False))
                if x_part is not None:
                    x_slope = _gather_slope(x_slope, x_part, lattice, x)
                # The largest of the temporaries: freed before the gradient of the weights is made.
                del x_part
                if w_part is not None:
                    weight_slope = torch.zeros_like(weight) if weight_slope is None else weight_slope
                    # A tap may be in several lattices; what a mask hides was multiplied by zero and gets no gradient.
                    weight_slope[lattice.used].add_(_mask(w_part.to(weight.dtype), lattice))
        bias_slope = slope.sum((0, 2, 3)).to(weight.dtype) if want_bias else None
        return x_slope, weight_slope, bias_slope, None


def _everywhere(
    x: Float[Tensor, "B C H W"], weight: Float[Tensor, "D C k1 k2"], bias: Float[Tensor, " D"], lattice: Lattice
) -> Float[Tensor, "B D H W"]:
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
        y[lattice.lines] = part[lattice.valid]
    _fill_outside(y, lattice.lines, bias)
    return y


def _tall(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "1 C B*H W"]:
    """Return pictures, channels last, as one tall picture: a view."""
    return x.permute(0, 2, 3, 1).reshape(1, -1, x.shape[3], x.shape[1]).permute(0, 3, 1, 2)


def _passes(want_x: bool, want_weight: bool, x: Float[Tensor, "B C H W"]) -> list[tuple[bool, bool]]:
    """Return which gradients to compute together: in half precision, where weights' weigh more, each on its own."""
    # float32 shares the reading of the slope between both.
    passes = [(want_x, False), (False, want_weight)] if is_half(x) else [(want_x, want_weight)]
    return [needed for needed in passes if any(needed)]


def _slopes(
    slope: Float[Tensor, "B D H W"],
    x: Float[Tensor, "B C H W"],
    weight: Float[Tensor, "D C k1 k2"],
    lattice: Lattice,
    want: tuple[bool, bool, bool],
) -> tuple[Float[Tensor, "B C _ _"] | None, Float[Tensor, "D C _ _"] | None]:
    """Return a lattice's gradients of what it read and of the used taps, or None for what is not wanted."""
    part, read, live = _outputs_slope(slope, lattice, x), _read(x, lattice), _live(weight, lattice, x)
    x_part, w_part, _ = torch.ops.aten.convolution_backward(part, read, live, None, *lattice.arguments, want)
    return x_part, w_part


def _fill_outside(y: Float[Tensor, "B C H W"], index: tuple[slice, ...], value: Float[Tensor, " C"]) -> None:
    """Write a value, one a channel, to the lines before and after those of an index whose steps are 1."""
    for axis in (2, 3):
        start, stop, _ = index[axis].indices(y.shape[axis])
        for first, count in ((0, start), (stop, y.shape[axis] - stop)):
            y.narrow(axis, first, count).copy_(value[:, None, None])


def _empty(shape: tuple[int, ...], like: Float[Tensor, "B C H W"]) -> Float[Tensor, "_ _ _ _"]:
    """Return memory of a shape, in the precision and layout of another picture."""
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=_layout(like))


def _read(x: Float[Tensor, "B C H W"], lattice: Lattice) -> Float[Tensor, "B C _ _"]:
    """Return the lines of the input that a lattice's convolution reads."""
    return x[lattice.source].contiguous(memory_format=_layout(x))


def _live(
    weight: Float[Tensor, "D C k1 k2"], lattice: Lattice, x: Float[Tensor, "B C H W"]
) -> Float[Tensor, "D C _ _"]:
    """Return the used rows and columns of the kernel, masked, in the input's precision and layout."""
    live = _mask(weight[lattice.used], lattice)
    return live.to(x.dtype).contiguous(memory_format=_layout(x))


def _mask(used: Float[Tensor, "D C k1 k2"], lattice: Lattice) -> Float[Tensor, "D C k1 k2"]:
    """Return used rows and columns of the kernel with zeros where the mask is."""
    return used if lattice.whole else used * lattice.taps.to(used)


def _gather_slope(
    total: Float[Tensor, "B C H W"] | None,
    part: Float[Tensor, "B C _ _"],
    lattice: Lattice,
    x: Float[Tensor, "B C H W"],
) -> Float[Tensor, "B C H W"]:
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


def _outputs_slope(
    slope: Float[Tensor, "B D H W"], lattice: Lattice, like: Float[Tensor, "B C H W"]
) -> Float[Tensor, "B D _ _"]:
    """Return the gradient with respect to all lines that a lattice's convolution computed: zero for unused ones."""
    rows, columns = lattice.rows, lattice.columns
    mine = slope[lattice.lines]
    if (rows.outputs, columns.outputs) == (rows.count, columns.count):
        return mine.contiguous(memory_format=_layout(like))
    part = _empty((*slope.shape[:2], rows.outputs, columns.outputs), like).zero_()
    part[lattice.valid] = mine
    return part


class _TapConv2d(torch.autograd.Function):
    """The convolution tap by tap: gather the inputs that a tap may read, multiply, add to the outputs."""

    @staticmethod
    def forward(
        ctx, x: Float[Tensor, "B C H W"], weight: Float[Tensor, "D C k1 k2"], bias: Float[Tensor, " D"], plan: Plan
    ) -> Float[Tensor, "B D H W"]:
        ctx.save_for_backward(x, weight)
        ctx.plan = plan
        rows = _rows(x)
        # In the weights' precision: up to k^2 products are summed here, which bfloat16 would round each time.
        y = bias.to(weight.dtype).repeat(*rows.shape[:2], 1)
        for tap in plan.taps:
            # Half of a raster's taps are in no mask at all and never come up here.
            product = _take(rows, tap.sources) @ weight[:, :, tap.row, tap.column].T.to(x.dtype)
            _add(y, tap.positions, product)
        return _picture(y.to(x.dtype), x)

    @staticmethod
    def backward(ctx, slope: Float[Tensor, "B D H W"]) -> tuple[Tensor | None, ...]:
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


def _rows(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B H*W C"]:
    """Return a row of channels for each pixel."""
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, x.shape[1])


def _picture(rows: Float[Tensor, "B N C"], like: Float[Tensor, "B _ H W"]) -> Float[Tensor, "B C H W"]:
    """Return the pictures of such rows, in the layout of another picture."""
    return rows.view(len(rows), *like.shape[2:], -1).permute(0, 3, 1, 2).contiguous(memory_format=_layout(like))


def _take(rows: Float[Tensor, "B N C"], indices: Int64[Tensor, " n"] | None) -> Float[Tensor, "B _ C"]:
    return rows if indices is None else rows.index_select(1, indices)


def _add(rows: Float[Tensor, "B N C"], indices: Int64[Tensor, " n"] | None, values: Float[Tensor, "B _ C"]) -> None:
    """Add values to rows in the rows' precision, where bfloat16 products are summed in float32."""
    values = values.to(rows.dtype)
    rows.add_(values) if indices is None else rows.index_add_(1, indices, values)


def grouped_conv2d(
    x: Float[Tensor, "B C H W"], weight: Float[Tensor, "D C k1 k2"], bias: Float[Tensor, " D"], plan: Plan
) -> Float[Tensor, "B D H W"]:
    """Return the masked convolution, in the input's precision.

    Where the plan is turned, the result lies in memory column by column, channels last, and a picture that does not is
    copied. Otherwise it has the layout of the input.

    Args:
        x: float32, float64 or bfloat16; fastest with channels last in memory.
        weight: of the precision in which gradients are summed.
        bias: of each output channel.
        plan: which positions share a mask.
    """
    if not plan.lattices:
        return _TapConv2d.apply(x, weight, bias, plan)
    if not plan.turned:
        return _LatticeConv2d.apply(x, weight, bias, plan)
    x = x.transpose(2, 3).contiguous(memory_format=torch.channels_last)
    return _LatticeConv2d.apply(x, weight.transpose(2, 3), bias, plan).transpose(2, 3)
