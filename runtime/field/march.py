"""The compiled march as a PyTorch function: arrays, threads, gradients. The kernels are in `kernels`.

This is the seam for other devices: `march` is called with tensors and gives a `Rendering`, whatever draws it; on a card
that is `runtime.field.cuda`.
"""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from runtime.errors import UserError
from runtime.field.cameras import Rays
from runtime.field.kernels import march as kernels
from runtime.field.kernels.differentiate import PUSH, Pushes, Upstream, differentiate
from runtime.field.kernels.march import RAYS_A_JOB, SAMPLE
from runtime.field.kernels.scatter import scatter
from runtime.field.volume import Rendering
from runtime.kernels.threads import share_jobs

STEP = 0.5
"""Between two samples, in nodes, where nothing else is asked for."""

EXTENT = 64.0
"""Length of the box's side in the unit whose inverse the density has: so raw densities survive a finer grid."""


LONGEST_LEAP = 8
"""Most cells of a leap: longer ones gain little and take time to find."""

JOBS_AT_ONCE = 256
"""Jobs that share room where no gradient is wanted."""


@dataclass
class Room:
    """Memory for samples that is used again, and how much of it a job needs."""

    capacity: int = 24 * RAYS_A_JOB
    """Samples of a job; grows when a picture needs more."""
    free: list[np.ndarray] = field(default_factory=list)
    """Arrays of samples that no picture holds any more."""
    gradients: dict[np.dtype, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))
    """Arrays of other types that no pass holds any more."""

    def take(self, count: int, dtype: np.dtype = SAMPLE) -> "Lease":
        """Return room for so many samples, or elements of another type.

        Memory that is new to a process is slow at first: for each page the system has to be asked.
        """
        free = self.free if dtype == SAMPLE else self.gradients[dtype]
        for index, array in enumerate(free):
            if len(array) >= count:
                return Lease(free.pop(index), free)
        # All of them are too small, and a grown capacity makes them useless for good.
        free.clear()
        return Lease(np.empty(count, dtype), free)


class Lease:
    """An array that goes back when nothing refers to the lease any more: a graph may be differentiated twice."""

    def __init__(self, array: np.ndarray, free: list[np.ndarray]) -> None:
        self.array = array
        self.free = free

    def __del__(self) -> None:
        self.free.append(self.array)


@dataclass(frozen=True)
class Grid:
    """A grid in a box: what `march` draws."""

    values: Float[Tensor, "N N N G 4"]
    """Raw density and colour at each node; see `kernels.march.Grid`."""
    occupied: UInt8[Tensor, "M M M"]
    """1 for cells that may hold something; N - 1 is M times a power of two."""
    low: Float[Tensor, " 3"]
    """The box's lowest corner."""
    side: float
    """The box's side in world units."""
    room: Room
    """Memory that calls share."""
    leaps: UInt8[Tensor, "M M M"]
    """How far a ray may leap from each cell; see `leaps_of`."""
    accumulator: Float[Tensor, "N N N G 4"] | None = None
    """Where gradients are added, in place of a tensor of their own that PyTorch would add."""
    step: float = STEP
    """Between two samples of a ray, in nodes, over 0."""


def spread(marked: Bool[Tensor, "N N N"]) -> Bool[Tensor, "N N N"]:
    """Return what is marked, and its 26 neighbours."""
    # Axis by axis, on bytes: PyTorch's pooling of floats takes ten times as long.
    for axis in range(3):
        wide = marked.clone()
        last = marked.shape[axis] - 1
        wide.narrow(axis, 0, last).logical_or_(marked.narrow(axis, 1, last))
        wide.narrow(axis, 1, last).logical_or_(marked.narrow(axis, 0, last))
        marked = wide
    return marked


def leaps_of(occupied: UInt8[Tensor, "M M M"]) -> UInt8[Tensor, "M M M"]:
    """Return how many cells on each side of a cell, itself among them, are empty: 0 for those that are occupied."""
    near = occupied > 0
    leaps = torch.zeros(occupied.shape, dtype=torch.uint8)
    for _ in range(LONGEST_LEAP):
        leaps += ~near
        # All cells whose 26 neighbours are one farther: distances of a chess king.
        near = spread(near)
    return leaps


def record_of(grid: Grid) -> kernels.Grid:
    """Return a grid as the kernels take it."""
    values = grid.values.detach()
    size = values.shape[0]
    cell = (size - 1) // grid.occupied.shape[0]
    return kernels.Grid(
        values=values.numpy().reshape(-1),
        leaps=grid.leaps.numpy().reshape(-1),
        low=grid.low.numpy(),
        size=size,
        groups=values.shape[3],
        shift=cell.bit_length() - 1,
        per_unit=np.float32((size - 1) / grid.side),
        step=np.float32(grid.step),
        length=np.float32(grid.step * EXTENT / (size - 1)),
    )


def _empty_shown(count: int, *, normals: bool) -> kernels.Shown:
    return kernels.Shown(
        colour=np.empty((count, 3), np.float32),
        transmittance=np.empty(count, np.float32),
        depth=np.empty(count, np.float32),
        normal=np.empty((count if normals else 0, 3), np.float32),
        distortion=np.empty(count, np.float32),
    )


def arrays_of(rays: Rays, jitter: Float[Tensor, " R"]) -> kernels.Rays:
    """Return rays as the kernels take them."""
    return kernels.Rays(*(_plain(tensor) for tensor in (rays.origins, rays.directions, jitter)))


def _plain(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().numpy(), np.float32)


class _March(torch.autograd.Function):
    """Colour, transmittance, depth, normal and distortion of values."""

    @staticmethod
    def forward(ctx, values, grid: Grid, rays: kernels.Rays, normals: bool):
        record = record_of(grid)
        count = len(rays.origins)
        jobs = -(-count // RAYS_A_JOB)
        shown = _empty_shown(count, normals=normals)
        # Where each ray's samples lie. The backward pass walks them instead of marching again.
        spans = np.empty((count, 2), np.int64)
        room = grid.room
        while True:
            capacity = room.capacity
            lease = room.take(jobs * capacity)
            share_jobs(kernels.march, jobs, record, rays, lease.array, capacity, spans, shown)
            # Each job fills its own part of the room from its start, so no thread waits for another's count.
            starts = capacity * np.arange(jobs)
            ends = spans[np.minimum(RAYS_A_JOB * np.arange(1, jobs + 1), count) - 1, 1]
            needed = int((ends - starts).max(initial=0))
            if needed <= capacity:
                break
            # Some job had more samples than there was room for: with more room it draws the same.
            room.capacity = RAYS_A_JOB * -(-needed * 5 // (4 * RAYS_A_JOB))
        ctx.record, ctx.rays, ctx.lease, ctx.spans = record, rays, lease, spans
        ctx.room = room
        ctx.shape, ctx.accumulator, ctx.normals = values.shape, grid.accumulator, normals
        return tuple(torch.from_numpy(array) for array in shown)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *upstream):
        samples, spans, record = ctx.lease.array, ctx.spans, ctx.record
        jobs = -(-len(spans) // RAYS_A_JOB)
        room = int(spans.max(initial=0))
        # By place in the room and not by ray: gaps between jobs cost memory, but no copying.
        lease = ctx.room.take(room, PUSH)
        pushes = Pushes(
            push=lease.array,
            ray=np.empty(room if record.groups > 1 else 0, np.int32),
            slope=np.empty((room if ctx.normals else 0, 3), np.float32),
            starts=np.empty((jobs, record.size + 1), np.int64),
        )
        upstream = Upstream(*(_plain(tensor) for tensor in upstream))
        share_jobs(differentiate, jobs, record, samples, spans, upstream, pushes)
        total = torch.zeros(ctx.shape) if ctx.accumulator is None else ctx.accumulator
        sums = total.numpy().reshape(-1)
        # A sample writes to the nodes of its plane and of the next one. Every second plane at a time, no two threads
        # meet at a node, and each node's sum has one order.
        for parity in (0, 1):
            share_jobs(scatter, (record.size + 1 - parity) // 2, record, ctx.rays.directions, pushes, parity, sums)
        return (total if ctx.accumulator is None else None), None, None, None


def _look(grid: Grid, rays: kernels.Rays, normals: bool) -> kernels.Shown:
    """Return what rays show where no gradient is wanted, in memory that does not grow with their number."""
    record = record_of(grid)
    shown = _empty_shown(len(rays.origins), normals=normals)
    # Room for one ray a job, which the job's next ray uses again.
    capacity = int(2 * np.sqrt(3) * record.size / grid.step) + 8
    lease = grid.room.take(JOBS_AT_ONCE * capacity)
    unused = np.empty((0, 2), np.int64)
    for first in range(0, len(rays.origins), JOBS_AT_ONCE * RAYS_A_JOB):
        span = slice(first, first + JOBS_AT_ONCE * RAYS_A_JOB)
        part = kernels.Rays(*(array[span] for array in rays))
        # Slices are views: the kernel writes into `shown`. Without normals theirs is empty, and so is its slice.
        target = kernels.Shown(*(array[span] for array in shown))
        jobs = -(-len(part.origins) // RAYS_A_JOB)
        share_jobs(kernels.march, jobs, record, part, lease.array, capacity, unused, target)
    return shown


def march(grid: Grid, rays: Rays, jitter: Float[Tensor, " R"] | None = None, *, normals: bool = False) -> Rendering:
    """Return what rays show of a grid, differentiable in its values.

    Twin: `runtime.field.reference.grid.march_rays`. Values on a card are drawn there, by `runtime.field.cuda`.

    Args:
        grid: see `Grid`.
        rays: in world units.
        jitter: where the first sample lies in the first step, in [0, 1); by default in its middle.
        normals: whether to composite normals as well.

    Raises:
        UserError: the values are not float32, or on some other device.
    """
    values = grid.values
    if values.dtype != torch.float32 or values.device.type not in ("cpu", "cuda"):
        raise UserError(
            f"field: expected float32 values on the CPU or on a card, got {values.dtype} on {values.device}"
        )
    # In the middle of a step, the mean of what jitter would do: pictures to look at have no noise.
    jitter = torch.full((len(rays.origins),), 0.5) if jitter is None else jitter
    if values.device.type == "cuda":
        from runtime.field.cuda.function import Box, march_on_card

        box = Box(grid.low, grid.side, grid.step, EXTENT)
        return march_on_card(values, grid.leaps, box, rays, jitter, normals=normals)
    arrays = arrays_of(rays, jitter)
    if torch.is_grad_enabled() and values.requires_grad:
        colour, transmittance, depth, normal, distortion = _March.apply(values, grid, arrays, normals)
    else:
        shown = _look(grid, arrays, normals)
        colour, transmittance, depth, normal, distortion = (torch.from_numpy(array) for array in shown)
    return Rendering(colour, transmittance, depth, distortion, normal if normals else None)
