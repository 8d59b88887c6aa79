"""A dense grid of raw densities and colours as a scene: the fast field.

Values are interpolated first and activated then (softplus for the density; arXiv:2111.11215 found that this makes sharp
surfaces), so a cell can hold an edge. Colours are plain numbers in [0, 1], or linear in the direction of view.
"""

import math
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Int32, UInt8
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn import functional

from runtime.errors import UserError
from runtime.field.cameras import Rays
from runtime.field.kernels.nodes import NODES_A_JOB, Moments, Rates, adam, add_rows, measure, vary
from runtime.field.march import EXTENT, STEP, Grid, Room, leaps_of, march, record_of, spread
from runtime.field.reference.grid import interpolate, slope_of
from runtime.field.volume import Rendering
from runtime.kernels.threads import share_jobs
from runtime.loop.scene import Scene

EMPTY = -4.0
"""Raw density of a new field: a thin fog, so that every place has a gradient."""

OCCUPIED = 0.01
"""Opacity of an interval between two nodes from which on a node counts as occupied."""


INSIDE = 0.75
"""Nodes below the surface at which its colour is taken."""


class DenseGrid(Scene):
    """A field on a grid of nodes in a cube.

    Args:
        values: raw density and colour at each node; see `runtime.field.kernels.march.Grid`.
        occupied: cells that may hold something.
        box: the cube's lowest corner and its side, in world units.

    Raises:
        UserError: their shapes and types are not those of one grid.
    """

    values: nn.Parameter
    occupied: Tensor
    box: Tensor

    def __init__(
        self, values: Float[Tensor, "N N N G 4"], occupied: UInt8[Tensor, "M M M"], box: Float[Tensor, " 4"]
    ) -> None:
        super().__init__()
        _check_grid(values, occupied, box)
        # Contiguous, as kernels see the nodes as one row of numbers.
        self.values = nn.Parameter(values.detach().clone().contiguous())
        self.register_buffer("occupied", occupied.clone())
        self.register_buffer("box", box.clone())
        self.room = Room()
        self.gradient: Tensor | None = None
        self.derive()

    @classmethod
    def empty(
        cls, size: int, box: Float[Tensor, " 4"], *, degree: int = 0, colour: float = 0.5, density: float = EMPTY
    ) -> Self:
        """Return a field of thin grey fog.

        Args:
            size: nodes along an axis, 2^k m + 1; see `cell_of`.
            box: the cube's lowest corner and its side.
            degree: 0 for colours that are alike from all sides, 1 for colours linear in the direction.
            colour: of the fog, in [0, 1].
            density: of the fog, raw.
        """
        values = torch.zeros(size, size, size, 1 if degree == 0 else 4, 4)
        # Groups behind the first are the slopes of colours by the direction: none to begin with.
        values[..., 0, 0] = density
        values[..., 0, 1:] = colour
        cells = (size - 1) // cell_of(size)
        return cls(values, torch.ones(cells, cells, cells, dtype=torch.uint8), box)

    @property
    def size(self) -> int:
        """Nodes along an axis."""
        return self.values.shape[0]

    @property
    def side(self) -> float:
        """The cube's side in world units."""
        return float(self.box[3])

    def grid(self, step: float = STEP) -> Grid:
        """Return what `march` draws, with samples so many nodes apart."""
        return Grid(self.values, self.occupied, self.box[:3], self.side, self.room, self.leaps, self.gradient, step)

    def render(
        self, rays: Rays, jitter: Float[Tensor, " R"] | None = None, *, normals: bool = False, step: float = STEP
    ) -> Rendering:
        """Return what rays show, with samples so many nodes apart; see `runtime.field.march.march`."""
        return march(self.grid(step), rays, jitter, normals=normals)

    def gradients(self) -> dict[str, Tensor]:
        """Return the largest magnitudes among the active nodes' gradients, some thousand nodes each.

        Nothing else has a gradient; NaN where one is not finite.
        """
        gradient = self.values.grad
        if gradient is None:
            return {}
        # Empty nodes have no gradient, and most of a box is empty: a look at all of them would cost as much as a step.
        active = self.active.numpy()
        sizes = np.zeros(-(-len(active) // NODES_A_JOB), np.float32)
        flat = gradient.numpy().reshape(-1)
        share_jobs(measure, len(sizes), self.values.shape[3], active, flat, sizes)
        return {"values": torch.from_numpy(sizes)}

    def total_variation(self, density: float, colour: float, epsilon: float) -> Float[Tensor, ""]:
        """Return the weighted sum of sqrt(d^2 + epsilon) over neighbouring active nodes; see `kernels.nodes.vary`.

        Args:
            density: weight of raw densities.
            colour: weight of colours.
            epsilon: over 0; differences far above its root count as their magnitude, far below it as their square.
        """
        return _TotalVariation.apply(self.values, self, (density, colour), epsilon)

    def raw_density(self) -> Float[Tensor, "N N N"]:
        """Return the raw density at the nodes."""
        return self.values.detach()[..., 0, 0]

    @torch.no_grad()
    def colour_at(self, points: Float[Tensor, "P 3"]) -> Float[Tensor, "P 3"]:
        """Return the colours of points near the surface, taken a little further inside.

        At the surface itself half of what is mixed is the colour of empty nodes, which no picture has ever shown.
        """
        at = (points - self.box[:3]) * ((self.size - 1) / self.side)
        values = self.values.detach()
        inwards = functional.normalize(slope_of(values, at), dim=1)
        forward = torch.zeros_like(at)
        return interpolate(values, at + INSIDE * inwards, forward)[:, 1:].clamp(0, 1)

    @torch.no_grad()
    def update_occupancy(self, threshold: float = OCCUPIED) -> None:
        """Mark the cells in reach of a node whose opacity is over a threshold, so that rays leap over the others."""
        # One node farther: a surface may move into a cell that it has not reached yet.
        dense = spread(self.raw_density() > raw_of_opacity(threshold, self.size))
        side = cell_of(self.size)
        # A cell has side + 1 nodes along its edge; the last is shared with the next cell.
        cells = dense
        for axis in range(3):
            cells = cells.unfold(axis, side + 1, side).any(-1)
        # A field without a single dense node would never be sampled again, so no gradient could bring one back.
        if cells.any():
            self.occupied.copy_(cells.to(torch.uint8))
        self.derive()

    def derive(self) -> None:
        """Derive from the occupied cells which nodes can be seen, and how far rays leap.

        Whoever changes the cells calls it.
        """
        self.active = active_nodes(self.occupied.bool(), self.size)
        self.leaps = leaps_of(self.occupied)

    def resized(self, size: int) -> Self:
        """Return the field on another number of nodes, interpolated."""
        channels = self.values.detach().flatten(3).permute(3, 0, 1, 2)[None]
        # With aligned corners the outer nodes stay on the box's faces, whatever lies between them.
        finer = functional.interpolate(channels, size=(size, size, size), mode="trilinear", align_corners=True)
        values = finer[0].permute(1, 2, 3, 0).unflatten(3, (-1, 4))
        cells = (size - 1) // cell_of(size)
        field = type(self)(values, torch.ones(cells, cells, cells, dtype=torch.uint8), self.box)
        field.update_occupancy()
        return field


def _check_grid(values: Tensor, occupied: Tensor, box: Tensor) -> None:
    """Refuse what kernels would read beyond its end: they trust the shapes, and a checkpoint may have been edited."""
    size, cells = len(values), len(occupied)
    cubes = tuple(values.shape) == (size, size, size, *values.shape[3:]) and tuple(occupied.shape) == (cells,) * 3
    side = (size - 1) // cells if cells else 0
    whole = side > 0 and side * cells == size - 1 and side & (side - 1) == 0
    types = (values.dtype, occupied.dtype, box.dtype) == (torch.float32, torch.uint8, torch.float32)
    if not (cubes and whole and types and tuple(values.shape[3:]) in ((1, 4), (4, 4)) and tuple(box.shape) == (4,)):
        raise UserError(
            "grid: expected float32 values of N x N x N nodes, 1 or 4 groups and 4 numbers, uint8 cells of 2^k nodes "
            f"and a box of 4 numbers, got {values.dtype} {tuple(values.shape)}, {occupied.dtype} "
            f"{tuple(occupied.shape)} and {tuple(box.shape)}"
        )
    if not (bool(box.isfinite().all()) and float(box[3]) > 0):
        raise UserError(f"grid: expected a box with a positive side, got {box.tolist()}")


def raw_of_opacity(share: float, size: int) -> float:
    """Return the raw density with which an interval between two nodes has this opacity, in (0, 1)."""
    return math.log(math.expm1(-math.log1p(-share) * (size - 1) / EXTENT))


def cell_of(size: int) -> int:
    """Return the side of a cell in nodes: 4, where that divides a large grid, else 2 or 1."""
    for side in (4, 2) if size > 48 else (2,):
        if (size - 1) % side == 0:
            return side
    return 1


def active_nodes(occupied: Bool[Tensor, "M M M"], size: int) -> Int32[Tensor, " A"]:
    """Return the corners of intervals in occupied cells, rising."""
    side = (size - 1) // len(occupied)
    active = occupied
    for axis in range(3):
        wide = active.repeat_interleave(side, dim=axis)
        none = torch.zeros_like(wide.narrow(axis, 0, 1))
        # A node belongs to the interval before it and to the one behind it.
        active = torch.cat([wide, none], axis) | torch.cat([none, wide], axis)
    return active.flatten().nonzero().flatten().int()


class _TotalVariation(torch.autograd.Function):
    """Weighted total variation; its gradient is added where the field's is."""

    @staticmethod
    def forward(ctx, values, field: DenseGrid, weights: tuple[float, float], epsilon: float):
        active = field.active.numpy()
        sums = np.zeros(-(-len(active) // NODES_A_JOB))
        # With the value comes the gradient, for the same loads of neighbours. It waits for the backward pass.
        lease = field.room.take(len(active) * values.shape[3] * 4, np.dtype(np.float32))
        both = np.array(weights, np.float32)
        share_jobs(vary, len(sums), record_of(field.grid()), active, both, np.float32(epsilon), sums, lease.array)
        ctx.lease, ctx.active, ctx.field, ctx.shape = lease, active, field, values.shape
        # In the order of the jobs, whichever thread did them.
        return torch.tensor(sums.sum(), dtype=torch.float32)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream):
        target = ctx.field.gradient
        # Into the optimizer's buffer at once: PyTorch would make a second grid and add the two, node by node.
        total = torch.zeros(ctx.shape) if target is None else target
        jobs = -(-len(ctx.active) // NODES_A_JOB)
        scale = np.float32(upstream.item())
        share_jobs(add_rows, jobs, ctx.shape[3], ctx.active, scale, ctx.lease.array, total.numpy().reshape(-1))
        return (total if target is None else None), None, None, None


def blur_rows(gradient: Float[Tensor, "N N N G 4"], active: Int32[Tensor, " A"], sigma: float) -> None:
    """Blur a gradient in place by a Gaussian along the three axes; it stays 0 at nodes that are not active.

    Args:
        gradient: 0 at all nodes that are not active.
        active: nodes.
        sigma: standard deviation in nodes.
    """
    # SciPy's sums have one sequence, whatever the number of threads.
    blurred = gaussian_filter(gradient.numpy(), (sigma, sigma, sigma, 0, 0), mode="constant", truncate=3.0)
    rows, nodes = torch.from_numpy(blurred).flatten(0, 2), active.long()
    gradient.flatten(0, 2)[nodes] = rows[nodes]


class GridAdam(torch.optim.Optimizer):
    """Adam on the active nodes of a `DenseGrid` (arXiv:1412.6980), compiled.

    A node that no sample can touch has no gradient and stays; PyTorch's Adam would visit it, and move it by its old
    moments. After each step colours of the first group are put back into [0, 1] if the field has no others.

    Args:
        field: its values are optimized; its gradient is kept in one buffer.
        lr: of the raw density.
        colour_lr: of colours.
        betas: decay of the moments.
        eps: added to the root of the second moment.
        blur: standard deviation, in nodes, of the Gaussian that the gradient of a step, from 1 on, is blurred with;
            None: never.
    """

    def __init__(
        self,
        field: DenseGrid,
        *,
        lr: float,
        colour_lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        blur: Callable[[int], float] | None = None,
    ) -> None:
        self.field = field
        self.blur = blur
        super().__init__([field.values], {"lr": lr, "colour_share": colour_lr / lr, "betas": betas, "eps": eps})
        # Made once: a step writes and clears the active nodes only, a small part of a mostly empty box.
        field.gradient = torch.zeros(field.values.shape)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Make the buffer, which the last step has left at zero, the gradient."""
        self.field.values.grad = self.field.gradient

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Update the active nodes and set their gradient to zero."""
        field, buffer = self.field, self.field.gradient
        assert buffer is not None, "the constructor has made it"
        group = self.param_groups[0]
        state = self.state[field.values]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros(field.values.shape)
            state["exp_avg_sq"] = torch.zeros(field.values.shape)
        state["step"] += 1
        if self.blur is not None and (sigma := self.blur(state["step"])) > 0:
            blur_rows(buffer, field.active, sigma)
        beta1, beta2 = group["betas"]
        # Both corrections of the bias are folded into factors here; the kernel has no powers to compute.
        lr = group["lr"] / (1 - beta1 ** state["step"])
        rates = Rates(
            density=np.float32(lr),
            colour=np.float32(lr * group["colour_share"]),
            beta1=np.float32(beta1),
            beta2=np.float32(beta2),
            correction=np.float32(1 / (1 - beta2 ** state["step"])),
            epsilon=np.float32(group["eps"]),
            bounded=field.values.shape[3] == 1,
        )
        values, gradient, first, second = (
            tensor.detach().numpy().reshape(-1)
            for tensor in (field.values, buffer, state["exp_avg"], state["exp_avg_sq"])
        )
        active = field.active.numpy()
        jobs = -(-len(active) // NODES_A_JOB)
        share_jobs(adam, jobs, values, field.values.shape[3], active, Moments(first, second), rates, gradient)
