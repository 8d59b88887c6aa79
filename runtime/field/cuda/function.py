"""The kernels as a PyTorch function: memory, the order of samples, gradients."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from runtime.field import cameras
from runtime.field.cuda.rays import WIDTH, Gradients, Grid, Intervals, Samples
from runtime.field.kernels.march import Rays, Shown
from runtime.field.volume import Rendering


class Box(NamedTuple):
    """Where a grid is, and how it is stepped through."""

    low: Float[Tensor, " 3"]
    """Lowest corner."""
    side: float
    """Of the box, world units."""
    step: float
    """Between samples, in nodes."""
    extent: float
    """Length of the box's side in the unit whose inverse the density has."""


def card_of(device: torch.device) -> Any:
    """Return what runs the kernels on a device."""
    # Numba's CUDA target is loaded where a card is used, and not where the seam is imported.
    from runtime.field.cuda.launch import Card

    return Card(device)


class _March(torch.autograd.Function):
    """What rays show of values."""

    @staticmethod
    def forward(ctx: Any, values, leaps, box: Box, tensors, normals: bool, make_card):
        card = make_card(values.device)
        grid = _grid_of(card, values, leaps, box)
        rays = Rays(*(card.array(tensor) for tensor in tensors))
        count = len(tensors[0])
        firsts = values.new_zeros(count + 1, dtype=torch.int64)
        # Once to count and once to write: how many samples a ray has is not known before.
        counts = values.new_zeros(count, dtype=torch.int64)
        card.count(grid, rays, _samples_of(card, (firsts, *_room(values, 0))), card.array(counts))
        firsts[1:] = counts.cumsum(0)
        stored = (firsts, *_room(values, int(firsts[-1])))
        shapes = ((count, 3), (count,), (count,), (count if normals else 0, 3), (count,))
        shown = [values.new_empty(shape) for shape in shapes]
        card.draw(grid, rays, _samples_of(card, stored), Shown(*(card.array(tensor) for tensor in shown)))
        ctx.save_for_backward(values, leaps, *tensors, *stored)
        ctx.box, ctx.normals, ctx.make_card = box, normals, make_card
        return tuple(shown)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *upstream):
        values, leaps, *tensors, firsts, places, owners, rows = ctx.saved_tensors
        card = ctx.make_card(values.device)
        grid = _grid_of(card, values, leaps, ctx.box)
        rays = Rays(*(card.array(tensor) for tensor in tensors))
        samples = _samples_of(card, (firsts, places, owners, rows))
        count = len(places)
        gradients = Gradients(
            values=card.array(values.new_empty(count, 4)),
            slopes=card.array(values.new_empty(count if ctx.normals else 0, 3)),
        )
        seen = Shown(*(card.array(tensor.contiguous()) for tensor in upstream))
        card.differentiate(grid, samples, seen, gradients)
        # Stable: samples of an interval stay in the order of their rays, and every sum has one order.
        sorted_places, order = torch.sort(places.long(), stable=True)
        nodes = torch.arange(values.shape[0] ** 3 + 1, device=values.device)
        intervals = Intervals(card.array(order), card.array(torch.searchsorted(sorted_places, nodes)))
        total = torch.zeros_like(values)
        card.gather(grid, rays, samples, gradients, intervals, card.array(total.view(-1)))
        return total, None, None, None, None, None


def _room(values: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return memory for the places, the rays and the numbers of samples."""
    whole = {"dtype": torch.int32, "device": values.device}
    return torch.empty(count, **whole), torch.empty(count, **whole), values.new_empty(count, WIDTH)


def _samples_of(card: Any, tensors: tuple[Tensor, ...]) -> Samples:
    return Samples(*(card.array(tensor) for tensor in tensors))


def _grid_of(card: Any, values: Tensor, leaps: Tensor, box: Box) -> Grid:
    size = values.shape[0]
    return Grid(
        values=card.array(values.view(-1)),
        leaps=card.array(leaps.view(-1)),
        low=card.array(box.low),
        size=size,
        groups=values.shape[3],
        shift=((size - 1) // leaps.shape[0]).bit_length() - 1,
        per_unit=np.float32((size - 1) / box.side),
        step=np.float32(box.step),
        length=np.float32(box.step * box.extent / (size - 1)),
    )


def march_on_card(
    values: Float[Tensor, "N N N G 4"],
    leaps: UInt8[Tensor, "M M M"],
    box: Box,
    rays: cameras.Rays,
    jitter: Float[Tensor, " R"],
    *,
    normals: bool = False,
    make_card: Callable[[torch.device], Any] = card_of,
) -> Rendering:
    """Return what rays show of a grid, differentiable in its values.

    Twin: `runtime.field.reference.grid.march_rays`.

    Args:
        values: raw density and colour at each node, float32.
        leaps: how far a ray may leap from each cell; see `runtime.field.march.leaps_of`.
        box: where the grid is.
        rays: in world units.
        jitter: where the first sample lies in the first step, in [0, 1).
        normals: whether to composite normals as well.
        make_card: what runs the kernels.
    """
    device = values.device
    tensors = tuple(tensor.detach().float().contiguous().to(device) for tensor in (*_plain(rays), jitter))
    place = box._replace(low=box.low.detach().float().contiguous().to(device))
    shown = _March.apply(values.contiguous(), leaps.contiguous().to(device), place, tensors, normals, make_card)
    colour, transmittance, depth, normal, distortion = shown
    return Rendering(colour, transmittance, depth, distortion, normal if normals else None)


def _plain(rays: cameras.Rays) -> tuple[Tensor, Tensor]:
    return rays.origins, rays.directions
