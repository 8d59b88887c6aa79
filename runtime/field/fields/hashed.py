"""A field on a hashed grid of many resolutions, with a small network or without: instant-ngp on a CPU.

Without a network, the levels' features are added up: a raw density and a colour at each node of each level, a pyramid
whose coarse levels everything shares. With one, as in instant-ngp (arXiv:2201.05989), a layer of 64 makes density and
15 numbers of the features, and two more make a colour of those and of the direction's spherical harmonics.
"""

from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from runtime.field.cameras import Rays
from runtime.field.fields.encodings import spherical_harmonics
from runtime.field.kernels.hashing import POINTS_A_JOB, Levels
from runtime.field.kernels.hashing import differentiate as differentiate_table
from runtime.field.kernels.hashing import encode as encode_points
from runtime.field.march import EXTENT
from runtime.field.reference.grid import OPAQUE, steps_of
from runtime.field.reference.hashing import HashLayout
from runtime.field.volume import Rendering, composite, opacity, weights_of
from runtime.kernels.threads import share_jobs
from runtime.loop.scene import Scene

NODES = 129
"""Nodes along an axis that the step between samples is measured in, and that a mesh is extracted on."""

STEP = 1.0
"""Between two samples, in those nodes."""

CELLS = 32
"""Cells of the occupancy along an axis."""

OCCUPIED = 0.01
"""Opacity of a step from which on a cell counts as occupied."""

HIDDEN = 64
GEOMETRY = 15
"""Numbers that the density's layer hands to the colour's, beside the density."""

HARMONICS = 4
"""Degrees of the direction's spherical harmonics."""

RAYS_AT_ONCE = 4096
POINTS_AT_ONCE = 2**17

EMPTY = -4.0
"""Raw density of a new field; see `runtime.field.fields.grid.EMPTY`."""


def levels_of(layout: HashLayout) -> Levels:
    """Return a layout as the kernels take it."""
    return Levels(
        scales=np.array(layout.scales, np.float32),
        resolutions=np.array(layout.resolutions, np.int64),
        sizes=np.array(layout.sizes, np.int64),
        offsets=np.array(layout.offsets[:-1], np.int64),
        hashed=np.array(layout.hashed, np.uint8),
        features=layout.features,
    )


class _Encode(torch.autograd.Function):
    """Features of places, differentiable in the table."""

    @staticmethod
    def forward(ctx, table, points, layout: HashLayout):
        levels = levels_of(layout)
        rows = np.ascontiguousarray(points.detach().numpy(), np.float32)
        encoded = torch.empty(len(rows), layout.width)
        jobs = -(-len(rows) // POINTS_A_JOB)
        share_jobs(encode_points, jobs, levels, table.detach().numpy(), rows, encoded.numpy())
        ctx.levels, ctx.rows, ctx.shape = levels, rows, table.shape
        return encoded

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream):
        total = torch.zeros(ctx.shape)
        grads = np.ascontiguousarray(upstream.numpy())
        share_jobs(differentiate_table, len(ctx.levels.scales), ctx.levels, ctx.rows, grads, total.numpy())
        return total, None, None


def encode(table: Float[Tensor, "E F"], layout: HashLayout, points: Float[Tensor, "S 3"]) -> Float[Tensor, "S W"]:
    """Return the features of places in [0, 1]^3, differentiable in the table.

    Twin: `runtime.field.reference.hashing.encode`.
    """
    return _Encode.apply(table, points, layout)


class HashedGrid(Scene):
    """A radiance field on a hashed grid in the box [-1, 1]^3.

    Args:
        layout: of the grid; without a network it needs four features a node.
        network: whether features go through a small network, or are density and colour themselves.
        generator: draws the table and the network's weights.
    """

    occupied: Tensor

    def __init__(self, layout: HashLayout, *, network: bool, generator: torch.Generator) -> None:
        super().__init__()
        self.layout = layout
        self.table = nn.Parameter(layout.empty(generator))
        self.register_buffer("occupied", torch.ones(CELLS, CELLS, CELLS, dtype=torch.uint8))
        self.network = network
        if network:
            self.geometry = _mlp((layout.width, HIDDEN, 1 + GEOMETRY), generator)
            self.colours = _mlp((GEOMETRY + HARMONICS**2, HIDDEN, HIDDEN, 3), generator)

    def values(self, points: Float[Tensor, "S 3"]) -> tuple[Float[Tensor, " S"], Float[Tensor, "S G"]]:
        """Return the raw densities of places, whose softplus is the density, and what their colours are made of."""
        encoded = encode(self.table, self.layout, (points + 1) / 2)
        out = self.geometry(encoded) if self.network else encoded.unflatten(1, (self.layout.levels, 4)).sum(1)
        return out[:, 0] + EMPTY, out[:, 1:]

    def colours_of(self, features: Float[Tensor, "S G"], directions: Float[Tensor, "S 3"]) -> Float[Tensor, "S 3"]:
        """Return the colours of places whose features `values` has returned, seen along directions."""
        if not self.network:
            return features.sigmoid()
        seen = torch.cat([features, spherical_harmonics(directions, HARMONICS)], 1)
        return self.colours(seen).sigmoid()

    def render(self, rays: Rays, jitter: Float[Tensor, " R"] | None = None, *, normals: bool = False) -> Rendering:
        """Return what rays show; without gradients some rays at a time. There are no normals."""
        jitter = torch.full((len(rays.origins),), 0.5) if jitter is None else jitter
        if torch.is_grad_enabled():
            return self._march(rays, jitter)
        spans = [slice(first, first + RAYS_AT_ONCE) for first in range(0, max(len(jitter), 1), RAYS_AT_ONCE)]
        parts = [self._march(Rays(rays.origins[span], rays.directions[span]), jitter[span]) for span in spans]
        return Rendering(
            colour=torch.cat([part.colour for part in parts]),
            transmittance=torch.cat([part.transmittance for part in parts]),
            depth=torch.cat([part.depth for part in parts]),
            distortion=torch.cat([part.distortion for part in parts]),
        )

    def _march(self, rays: Rays, jitter: Float[Tensor, " R"]) -> Rendering:
        """Return what rays show: places in occupied cells alone are looked at."""
        low, side = torch.full((3,), -1.0), 2.0
        t, inside, at = steps_of(low, side, NODES, rays, jitter, STEP)
        cells = (at * (CELLS / (NODES - 1))).long().clamp(0, CELLS - 1)
        inside = inside & (self.occupied[tuple(cells.unbind(2))] > 0)
        world = side / (NODES - 1)
        raw, features = self.values(at[inside] * world - 1)
        share = opacity(functional.softplus(raw), STEP * EXTENT / (NODES - 1))
        alpha = at.new_zeros(t.shape).masked_scatter(inside, share)
        _, before, _ = weights_of(alpha.detach())
        # Densities come first, because they say how far each ray goes: what lies behind needs no colour.
        alpha = torch.where(before < OPAQUE, 0.0, alpha)
        seen = inside & (before >= OPAQUE)
        directions = rays.directions[:, None].expand_as(at)[seen]
        colours = self.colours_of(features[seen[inside]], directions)
        grown = at.new_zeros(*t.shape, 3).masked_scatter(seen[..., None], colours)
        return composite(alpha, grown, t * world, unit=side, length=STEP * world)

    @torch.no_grad()
    def update_occupancy(self) -> None:
        """Mark the cells of which some place, among a lattice of eight, is dense."""
        axis = (torch.arange(2 * CELLS) + 0.5) / CELLS - 1
        raw = self._raw_on(axis)
        share = opacity(functional.softplus(raw), STEP * EXTENT / (NODES - 1))
        dense = functional.max_pool3d((share > OCCUPIED).float()[None, None], 2)
        # One cell farther: a surface may move.
        near = functional.max_pool3d(dense, 3, stride=1, padding=1)[0, 0]
        if near.any():
            self.occupied.copy_(near.to(torch.uint8))

    def _raw_on(self, axis: Float[Tensor, " N"]) -> Float[Tensor, "N N N"]:
        """Return the raw densities on the lattice of an axis."""
        planes = []
        for x in axis:
            points = torch.cartesian_prod(x[None], axis, axis)
            planes.append(self.values(points)[0].view(len(axis), len(axis)))
        return torch.stack(planes)

    @torch.no_grad()
    def raw_density(self) -> Float[Tensor, "N N N"]:
        """Return the raw density at nodes over the box."""
        return self._raw_on(torch.linspace(-1, 1, NODES))

    @torch.no_grad()
    def colour_at(self, points: Float[Tensor, "P 3"]) -> Float[Tensor, "P 3"]:
        """Return colours of points, each seen from outside."""
        inwards = -functional.normalize(points, dim=1)
        pairs = zip(points.split(POINTS_AT_ONCE), inwards.split(POINTS_AT_ONCE), strict=True)
        return torch.cat([self.colours_of(self.values(part.clamp(-1, 1))[1], way) for part, way in pairs])


def _mlp(widths: tuple[int, ...], generator: torch.Generator) -> nn.Sequential:
    """Return layers without biases, as tiny-cuda-nn has them, with Glorot's uniform weights and ReLU between."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layer = nn.Linear(inputs, outputs, bias=False)
        nn.init.xavier_uniform_(layer.weight, generator=generator)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
