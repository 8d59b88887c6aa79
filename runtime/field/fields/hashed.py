"""A field on a hashed grid of many resolutions, with a small network or without: instant-ngp on a CPU.

Without a network, the levels' features are added up: a raw density and a colour at each node of each level, a pyramid
whose coarse levels everything shares. With one, as in instant-ngp (arXiv:2201.05989), a layer of 64 makes density and
15 numbers of the features, and two more make a colour of those and of the direction's spherical harmonics.
"""

from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from runtime.field.cameras import Rays
from runtime.field.fields.encodings import spherical_harmonics
from runtime.field.kernels.hashing import POINTS_A_JOB, Levels
from runtime.field.kernels.hashing import differentiate as differentiate_table
from runtime.field.kernels.hashing import encode as encode_points
from runtime.field.kernels.march import LANES, OPAQUE, RAYS_A_JOB, SAMPLE, Grid
from runtime.field.kernels.march import Rays as Arrays
from runtime.field.kernels.samples import find_samples
from runtime.field.march import EXTENT, arrays_of, leaps_of
from runtime.field.reference.hashing import HashLayout
from runtime.field.volume import Rendering, composite, opacity, weights_of
from runtime.kernels.threads import share_jobs
from runtime.loop.scene import Scene

STEP = 1.0
"""Between two samples, in nodes."""

CELL = 4
"""Side of a cell of the occupancy, in nodes."""

OCCUPIED = 0.01
"""Opacity of a step from which on a cell counts as occupied."""

HIDDEN = 64
GEOMETRY = 15
"""Numbers that the density's layer hands to the colour's, beside the density."""

HARMONICS = 4
"""Degrees of the direction's spherical harmonics."""

RAYS_AT_ONCE = 4096
POINTS_AT_ONCE = 2**17

STAMPED = np.empty(0, SAMPLE)
"""See `runtime.field.kernels.march.STAMP`."""

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
    def forward(ctx, table, points, layout: HashLayout, encoded: Tensor | None):
        levels = levels_of(layout)
        rows = np.ascontiguousarray(points.detach().numpy(), np.float32)
        ctx.levels, ctx.rows, ctx.shape = levels, rows, table.shape
        if encoded is not None:
            return encoded.clone()
        encoded = torch.empty(len(rows), layout.width)
        jobs = -(-len(rows) // POINTS_A_JOB)
        flat = table.detach().contiguous().numpy().reshape(-1)
        share_jobs(encode_points, jobs, levels, flat, rows, encoded.numpy().reshape(-1), STAMPED)
        return encoded

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream):
        total = torch.zeros(ctx.shape)
        grads, sums = upstream.contiguous().numpy().reshape(-1), total.numpy().reshape(-1)
        share_jobs(differentiate_table, len(ctx.levels.scales), ctx.levels, ctx.rows, grads, sums, STAMPED)
        return total, None, None, None


def encode(
    table: Float[Tensor, "E F"],
    layout: HashLayout,
    points: Float[Tensor, "S 3"],
    encoded: Float[Tensor, "S W"] | None = None,
) -> Float[Tensor, "S W"]:
    """Return the features of places, differentiable in the table.

    Twin: `runtime.field.reference.hashing.encode`.

    Args:
        table: of all levels.
        layout: how it is made.
        points: in [0, 1]^3.
        encoded: the features, where a call without gradients has returned them already.
    """
    return _Encode.apply(table, points, layout, encoded)


@dataclass(frozen=True)
class _Places:
    """Places that rays see: the ray of each, its number along the ray, how far from the origin it is, its features."""

    ray: Int64[Tensor, " P"]
    slot: Int64[Tensor, " P"]
    t: Float[Tensor, " P"]
    """World units."""
    points: Float[Tensor, "P 3"]
    """In [0, 1]^3."""
    encoded: Float[Tensor, "P W"]

    @classmethod
    def joined(cls, parts: "list[_Places]") -> "_Places":
        """Return the places of all parts."""
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    @property
    def room(self) -> int:
        """Numbers along a ray that there are."""
        return int(self.slot.max()) + 1 if len(self.slot) else 0


class HashedGrid(Scene):
    """A radiance field on a hashed grid in the box [-1, 1]^3.

    Args:
        layout: of the grid; without a network it needs four features a node.
        nodes: along an axis, a multiple of `CELL` and one more: their distance is the step between samples, and a
            mesh is extracted on them.
        network: whether features go through a small network, or are density and colour themselves.
        generator: draws the table and the network's weights.
    """

    occupied: Tensor

    def __init__(self, layout: HashLayout, *, nodes: int, network: bool, generator: torch.Generator) -> None:
        super().__init__()
        self.layout, self.nodes = layout, nodes
        self.cells = (nodes - 1) // CELL
        self.world = 2 / (nodes - 1)
        """Distance of two nodes in the world."""
        self.length = STEP * EXTENT / (nodes - 1)
        """Of a step, in the unit whose inverse the density has."""
        self.table = nn.Parameter(layout.empty(generator))
        self.register_buffer("occupied", torch.ones(self.cells, self.cells, self.cells, dtype=torch.uint8))
        self.derive()
        self.register_load_state_dict_post_hook(lambda module, keys: module.derive())
        self.network = network
        if network:
            self.geometry = _mlp((layout.width, HIDDEN, 1 + GEOMETRY), generator)
            self.colours = _mlp((GEOMETRY + HARMONICS**2, HIDDEN, HIDDEN, 3), generator)

    def values(self, points: Float[Tensor, "S 3"]) -> tuple[Float[Tensor, " S"], Float[Tensor, "S G"]]:
        """Return the raw densities of places, whose softplus is the density, and what their colours are made of."""
        return self._of(encode(self.table, self.layout, (points + 1) / 2))

    def _of(self, encoded: Float[Tensor, "S W"]) -> tuple[Float[Tensor, " S"], Float[Tensor, "S G"]]:
        """Return what `values` does of places' features."""
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
        """Return what rays show: only places in occupied cells are looked at, up to where a ray sees no farther."""
        seen = self._visible(rays, jitter)
        directions = rays.directions[seen.ray]
        raw, features = self._of(encode(self.table, self.layout, seen.points, seen.encoded))
        shape, at = (len(jitter), seen.room), (seen.ray, seen.slot)
        alpha = torch.zeros(shape).index_put(at, opacity(functional.softplus(raw), self.length))
        colours = torch.zeros(*shape, 3).index_put(at, self.colours_of(features, directions))
        t = torch.zeros(shape).index_put(at, seen.t)
        return composite(alpha, colours, t, unit=2.0, length=STEP * self.world)

    @torch.no_grad()
    def _visible(self, rays: Rays, jitter: Float[Tensor, " R"]) -> "_Places":
        """Return the places that rays see, and their features.

        Some places of each ray at a time, and each time fewer rays: most of what lies in a ray's way is behind what
        it sees, and a look at it costs as much as at anything else.
        """
        record, arrays = self._record(), arrays_of(rays, jitter)
        taken, passing = np.zeros(len(jitter), np.int64), torch.ones(len(jitter))
        going = torch.arange(len(jitter))
        waves: list[_Places] = []
        while len(going) or not waves:
            rows = going.numpy()
            part, steps = Arrays(*(array[rows] for array in arrays)), taken[rows]
            t, counts = torch.empty(len(rows), LANES), torch.empty(len(rows), dtype=torch.int64)
            jobs = -(-len(rows) // RAYS_A_JOB)
            share_jobs(find_samples, jobs, record, part, steps, t.numpy(), counts.numpy(), STAMPED)
            taken[rows] = steps
            there = torch.arange(LANES).expand_as(t) < counts[:, None]
            row, slot = there.nonzero().unbind(1)
            ray, far = going[row], t[there] * self.world
            points = (rays.origins[ray] + far[:, None] * rays.directions[ray] + 1) / 2
            encoded = encode(self.table, self.layout, points)
            raw, _ = self._of(encoded)
            share = opacity(functional.softplus(raw), self.length)
            _, before, end = weights_of(torch.zeros(t.shape).masked_scatter(there, share))
            seen = (passing[going, None] * before)[there] >= float(OPAQUE)
            first = LANES * len(waves)
            waves.append(_Places(ray[seen], first + slot[seen], far[seen], points[seen], encoded[seen]))
            passing[going] *= end
            going = going[(counts == LANES) & (passing[going] >= float(OPAQUE))]
        return _Places.joined(waves)

    def _record(self) -> Grid:
        """Return the box and its empty cells as the kernels take them; they read no values."""
        return Grid(
            values=np.empty(0, np.float32),
            leaps=self.leaps.numpy().reshape(-1),
            low=np.full(3, -1, np.float32),
            size=self.nodes,
            groups=1,
            shift=CELL.bit_length() - 1,
            per_unit=np.float32(1 / self.world),
            step=np.float32(STEP),
            length=np.float32(self.length),
        )

    def derive(self) -> None:
        """Derive from the occupied cells how far rays leap; whoever changes the cells calls it."""
        self.leaps = leaps_of(self.occupied)

    @torch.no_grad()
    def update_occupancy(self) -> None:
        """Mark the cells of which some place, among a lattice of eight, is dense."""
        axis = (torch.arange(2 * self.cells) + 0.5) / self.cells - 1
        raw = self._raw_on(axis)
        share = opacity(functional.softplus(raw), self.length)
        dense = functional.max_pool3d((share > OCCUPIED).float()[None, None], 2)
        # One cell farther: a surface may move.
        near = functional.max_pool3d(dense, 3, stride=1, padding=1)[0, 0]
        if near.any():
            self.occupied.copy_(near.to(torch.uint8))
            self.derive()

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
        return self._raw_on(torch.linspace(-1, 1, self.nodes))

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
