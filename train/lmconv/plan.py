"""How a locally masked convolution is computed: which ordinary convolutions, over which lines of the picture.

The groups of raster scans and S-curves are lattices: all pixels, or alternate rows or columns. Each is a strided
convolution with only those rows and columns of the kernel that its mask leaves. What all groups share, as the row above
under an S-curve, is one convolution over the whole picture where that saves products. Where the dilation is a multiple
of the lattice's step, a lattice reads itself alone. Alternate columns are alternate rows of the picture turned about
its diagonal, which is how they are computed: rows lie together in memory. Orders with many masks (Hilbert curves,
permutations) are computed tap by tap.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np
import torch
from jaxtyping import Float, Int64
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
        # A single line of taps only shifts the picture: no padding is needed where the lines without a source are left
        # out.
        if trim and low == high and step == 1:
            offset = dilation * (low - taps // 2)
            count = length - abs(offset)
            lines, source = (slice(start, start + count) for start in (max(0, -offset), max(0, offset)))
            return cls(slice(low, high + 1), lines, source, 1, 1, count, 0, 0, count, offset)
        count = (length - first + step - 1) // step
        lines, source = slice(first, None, step), slice(None)
        # All that the lattice reads lies on the lattice: taken out of the picture it is a small, dense picture of its
        # own.
        if step > 1 and (dilation % step == 0 or low == high == taps // 2):
            length, source, first, dilation, step = count, lines, 0, max(1, dilation // step), 1
        start = first + dilation * (low - taps // 2)
        end = first + step * (count - 1) + dilation * (high - taps // 2)
        padding = max(0, -start, end - (length - 1))
        # Outputs lie `step` lines apart from the first padded line on: some more padding makes the lattice's lines be
        # among them.
        padding += -(start + padding) % step
        outputs = (length + 2 * padding - dilation * (high - low) - 1) // step + 1
        used, skip = slice(low, high + 1), (start + padding) // step
        return cls(used, lines, source, step, dilation, count, padding, skip, outputs)

    @property
    def valid(self) -> slice:
        """The lattice's lines among the convolution's outputs."""
        return slice(self.skip, self.skip + self.count)


@dataclass(frozen=True)
class Lattice:
    """One group of positions as a strided convolution."""

    taps: Float[Tensor, "k1 k2"]
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
    def valid(self) -> tuple[slice, slice, slice, slice]:
        """Index of the group's positions in the convolution's output."""
        return ALL, ALL, self.rows.valid, self.columns.valid

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
    positions: Int64[Tensor, " n"] | None
    """(n,) flat indices of outputs."""
    sources: Int64[Tensor, " n"] | None
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
            # Alternate columns: each of them would be gathered number by number.
            if turned := groups[0].lattice[2:] == (1, 2):
                groups = [_turn(g, size, kernel) for g in groups]
                size, kernel = (size[1], size[0]), (kernel[1], kernel[0])
            apart = tuple(_lattice(group, size, kernel, dilation, device) for group in groups)
            shared = share_taps(groups, size, kernel)
            if shared is groups:
                return cls(apart, apart, (), turned)
            lattices = tuple(_lattice(g, size, kernel, dilation, device, trim=True) for g in shared)
            return cls(lattices, apart, (), turned)
        return cls((), (), _taps(mask, size, kernel, dilation, device))

    def lattices_for(self, x: Float[Tensor, "B C H W"]) -> tuple[Lattice, ...]:
        """Return the convolutions that are faster in a picture's precision."""
        return self.apart if is_half(x) else self.lattices


def is_half(x: Float[Tensor, "..."]) -> bool:
    """Return whether products of a picture cost an eighth and its weights' gradients weigh more than it does."""
    return x.dtype in (torch.bfloat16, torch.float16)


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
    # All rectangles of a kernel: a few hundred at most, once for a mask.
    for (top, bottom), (left, right) in product(rows, columns) if len(groups) > 1 else ():
        if not common[top:bottom, left:right].all():
            continue
        shared = np.zeros(kernel, bool)
        shared[top:bottom, left:right] = True
        rest = [replace(g, taps=g.taps & ~shared.reshape(-1)) for g in groups]
        rest = [Group(shared.reshape(-1), everywhere, (0, 0, 1, 1)), *(g for g in rest if g.taps.any())]
        if (candidate := sum(_cost(group.taps, kernel) * len(group.positions) for group in rest)) < cost:
            best, cost = rest, candidate
    return best


def _cost(taps: Mask, kernel: Kernel) -> int:
    """Return the area of the smallest rectangle around taps."""
    live = np.argwhere(taps.reshape(kernel))
    # The rectangle and not the taps: a convolution computes what is masked to zero as well.
    return int(np.prod(np.ptp(live, axis=0) + 1)) if len(live) else 1


def _turn(group: Group, size: Size, kernel: Kernel) -> Group:
    """Return a group of positions with rows and columns of the picture and the kernel exchanged."""
    row, column, row_step, column_step = group.lattice
    positions = np.sort(group.positions % size[1] * size[0] + group.positions // size[1])
    return Group(group.taps.reshape(kernel).T.reshape(-1), positions, (column, row, column_step, row_step))


def _lattice(
    group: Group, size: Size, kernel: Kernel, dilation: int, device: torch.device, *, trim: bool = False
) -> Lattice:
    """Return a group's convolution; a mask that leaves no tap becomes the centre with a weight of zero."""
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
        # Without those that read padding: they would add zeros.
        positions = (mask[tap] & (sources[tap] >= 0)).nonzero()[0]
        if len(positions) == mask.shape[1]:
            taps.append(Tap(*divmod(tap, kernel[1]), None, None))
        elif len(positions):
            here, there = (torch.from_numpy(p).to(device) for p in (positions, sources[tap][positions]))
            taps.append(Tap(*divmod(tap, kernel[1]), here, there))
    return tuple(taps)
