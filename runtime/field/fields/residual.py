"""Dream Fields' scene: a network on integrated waves, sampled along rays within a cube (thesis 4.3, 4.4, 10.3).

    field = ResidualField(FieldOptions(samples=64), generator)
    shown = field.render(rays, torch.rand(len(rays.origins), 65, generator=generator))

The cube is [-1, 1]^3. Rays are moved by `origin` first: cameras look at where the object is, not at the cube's middle.
A field may lie on any device: rays, places and draws come from the CPU, the same for all devices, and what is seen goes
back to where they are.
Notation: R rays, S samples a ray, E = S + 1 borders of their intervals.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Literal, Self

import numpy as np
import torch
from annotated_types import Interval
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from runtime.field.cameras import Rays, box_span
from runtime.field.fields.blobs import gaussian_blob
from runtime.field.fields.encodings import (
    CONE_RADIUS,
    axis_basis,
    cone_moments,
    cone_variances,
    fourier_basis,
    waves,
)
from runtime.field.fields.networks import PlainMLP, ResidualMLP, laplace_density
from runtime.field.fields.raw import raw_of
from runtime.field.volume import Rendering, composite, opacity
from runtime.loop.scene import Scene

SIDE = 2.0
"""Of the cube, world units, as of `cameras.box_span`."""

NODES = 97
"""Along an axis of the grid on which a mesh is extracted."""

SAMPLES_AT_ONCE = 2**14
"""Samples that are evaluated together where no gradient is wanted: their activations stay near the processor."""

SAMPLES_IN_MEMORY = 2**17
"""Samples whose activations are kept for a gradient, some 2 GB; what goes beyond is computed again on the way back."""

REACH = math.sqrt(3)
"""Without the cube's bounds, rays are sampled within this of the origin's distance, as in the published code."""

NEAREST = 0.05
"""World units in front of the camera at which sampling begins at the earliest."""

STEEPEST = 15.0
"""Raw values beyond it count as it where the density is their exponential: e^15 is opaque, e^89 no float32."""


@dataclass(frozen=True, kw_only=True)
class FieldOptions:
    """What a `ResidualField` is, but for its weights. The defaults are those of Dream Fields' published code."""

    network: Literal["residual", "plain"] = "residual"
    """Residual blocks, or NeRF's eight layers of `wide` numbers."""
    width: Annotated[int, Interval(ge=4, le=4096)] = 128
    """Numbers between blocks."""
    wide: Annotated[int, Interval(ge=4, le=4096)] = 256
    """Numbers within a block."""
    blocks: Annotated[int, Interval(ge=0, le=64)] = 4
    basis: Literal["fourier", "axes"] = "fourier"
    """Random frequencies in all directions (thesis Eq. 4.6), or powers of two along the axes (Eq. 4.5)."""
    octaves: Annotated[int, Interval(ge=1, le=16)] = 8
    """L: frequencies reach 2^L."""
    directions: Annotated[int, Interval(ge=1, le=4096)] = 128
    """Random frequencies, beside the three axes."""
    integrated: bool = True
    """Whether waves are averaged over the cone of a pixel (IPE, arXiv:2103.13415)."""
    density: Literal["softplus", "exp", "volsdf"] = "softplus"
    """Of a raw value r: log(1 + e^r), e^r, or the Laplace distribution of the signed distance -r (thesis 10.5)."""
    blob: float = 0.0
    """Added to the raw density at the origin, falling as a Gaussian: DreamFusion's start (arXiv:2209.14988)."""
    blob_width: Annotated[float, Interval(gt=0, le=10)] = 0.2
    """Standard deviation of that Gaussian, world units."""
    radius: Annotated[float, Interval(gt=0, le=2)] = 0.5
    """Of the sphere that a signed distance begins near, world units."""
    samples: Annotated[int, Interval(ge=2, le=4096)] = 192
    """Along a ray."""
    looks: Annotated[int, Interval(ge=0, le=4096)] = 0
    """Along a ray of a picture without jitter; 0: as many."""
    bounded: bool = True
    """Whether samples lie where the ray is in the cube, and density is 0 outside (thesis 4.4.6)."""
    pixel: Annotated[float, Interval(gt=0, le=1)] = 1 / 280
    """Width of a pixel at distance 1: the inverse of the focal length in pixels."""


@dataclass(frozen=True)
class Samples:
    """What a field is along R rays."""

    points: Float[Tensor, "R S 3"]
    """Means of the intervals, in the field's own coordinates: rays are moved by the origin."""
    at: Float[Tensor, "R S"]
    """Distances from the rays' origins, world units."""
    length: Float[Tensor, "R S"]
    """Of the intervals, world units."""
    density: Float[Tensor, "R S"]
    """In 1 / world units."""
    colour: Float[Tensor, "R S 3"]
    """RGB in [0, 1]."""
    slope: Float[Tensor, "R S 3"] | None
    """Gradient of the raw density in the point; minus that of the distance where the field is one. None if not asked
    for."""

    def alpha(self) -> Float[Tensor, "R S"]:
        """Return the opacity of each sample."""
        return opacity(self.density, self.length)

    def normals(self) -> Float[Tensor, "R S 3"]:
        """Return unit vectors down the density: out of what is dense."""
        assert self.slope is not None, "samples were asked for without normals"
        return -functional.normalize(self.slope, dim=-1, eps=1e-6)

    def rendering(self) -> Rendering:
        """Return what the rays show."""
        normals = None if self.slope is None else self.normals()
        return composite(self.alpha(), self.colour, self.at, unit=SIDE, length=self.length, normals=normals)


class ResidualField(Scene):
    """A field by a network on waves; see the module's text.

    Args:
        options: what it is.
        generator: of its frequencies and weights; None where both will be loaded.
    """

    origin: Tensor
    """World units: what cameras that look at 0 see is there in the field."""

    def __init__(self, options: FieldOptions, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.options = options
        draws = generator or torch.Generator().manual_seed(0)
        if options.basis == "fourier":
            basis = fourier_basis(options.directions, options.octaves, draws)
        else:
            basis = axis_basis(options.octaves)
        # Layers draw from PyTorch's own generator before the weights are drawn from ours: that leaves no trace.
        with torch.random.fork_rng(devices=[]):
            if options.network == "plain":
                self.network = PlainMLP(basis, options.wide, generator=draws)
            else:
                self.network = ResidualMLP(basis, options.width, options.wide, options.blocks, generator=draws)
        if options.density == "volsdf":
            self.log_beta = nn.Parameter(torch.tensor(0.1).log())
        self.register_buffer("origin", torch.zeros(3))
        self.register_buffer("box", torch.tensor([-SIDE / 2, -SIDE / 2, -SIDE / 2, SIDE]), persistent=False)
        self.box: Tensor

    def state(self) -> dict[str, Tensor]:
        """Return weights, frequencies, origin, and the options as JSON."""
        text = json.dumps(asdict(self.options)).encode()
        return {**super().state(), "options": torch.from_numpy(np.frombuffer(text, np.uint8).copy())}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Self:
        """Return the field whose `state` this is, bit for bit."""
        options = FieldOptions(**json.loads(state["options"].numpy().tobytes()))
        field = cls(options)
        field.load_state_dict({name: value for name, value in state.items() if name != "options"})
        return field

    def render(
        self,
        rays: Rays,
        jitter: Float[Tensor, " R *J"] | None = None,
        *,
        normals: bool = False,
        noise: Float[Tensor, "R S"] | None = None,
        spread: float = 1.0,
        pixel: float | None = None,
    ) -> Rendering:
        """Return what rays show, in memory that does not grow with their number; arguments as of `samples`."""
        home, there = rays.origins.device, self.box.device
        rays = Rays(rays.origins.to(there), rays.directions.to(there))
        jitter, noise = (None if draw is None else draw.to(there) for draw in (jitter, noise))
        count = self.options.samples if jitter is not None else self.options.looks or self.options.samples
        # Without a gradient small parts are faster, as they stay in the cache; with one, as few as memory allows.
        differentiable = torch.is_grad_enabled() and any(p.requires_grad for p in self.parameters())
        size = max(1, (SAMPLES_IN_MEMORY if differentiable else SAMPLES_AT_ONCE) // count)
        total = len(rays.origins)

        def part(first: int) -> tuple[Tensor, ...]:
            span = slice(first, first + size)
            some = Rays(rays.origins[span], rays.directions[span])
            draws = [None if draw is None else draw[span] for draw in (jitter, noise)]
            shown = self.samples(
                some, draws[0], normals=normals, noise=draws[1], spread=spread, pixel=pixel
            ).rendering()
            values = (shown.colour, shown.transmittance, shown.depth, shown.distortion)
            return values if shown.normal is None else (*values, shown.normal)

        starts = range(0, max(total, 1), size)
        if differentiable and total > size:
            # Activations of all rays would not fit: those of a part are computed again when its gradient is wanted.
            parts = [checkpoint(part, first, use_reentrant=False) for first in starts]
        else:
            parts = [part(first) for first in starts]
        return Rendering(*(torch.cat(column).to(home) for column in zip(*parts, strict=True)))

    def samples(
        self,
        rays: Rays,
        jitter: Float[Tensor, " R *J"] | None = None,
        *,
        normals: bool = False,
        noise: Float[Tensor, "R S"] | None = None,
        spread: float = 1.0,
        pixel: float | None = None,
    ) -> Samples:
        """Return the field along rays, differentiable in its parameters.

        Args:
            rays: in world units, before they are moved by the origin.
            jitter: in [0, 1); one number a ray moves all its borders, S + 1 numbers each of them, by up to half an
                interval to either side. Without it intervals are even.
            normals: whether to compute the slope; its gradient needs a second differentiation.
            noise: added to the raw densities (NeRF's perturbation, row two of thesis Table 4.2).
            spread: factor on the cones' deviations: over 1 is blurrier.
            pixel: width of a pixel at distance 1, where it is not that of the options.
        """
        origins = rays.origins + self.origin
        # Cones are those of the moved rays: a shift changes no distance along a ray, so samples keep their `at`.
        borders = self.borders(origins, rays.directions, jitter)
        radius = CONE_RADIUS * (self.options.pixel if pixel is None else pixel)
        mean, along, across = cone_moments(borders, radius)
        points = origins[:, None] + mean[..., None] * rays.directions[:, None]
        variance = None
        if self.options.integrated:
            variance = self.variances(rays.directions, spread**2 * along, spread**2 * across)
        flat = points.reshape(-1, 3)
        raw, colour, slope = self.evaluate(flat, variance, slope=normals)
        raw = raw.view(mean.shape)
        density = self.activated(raw if noise is None else raw + noise)
        if self.options.bounded:
            # Borders are jittered by up to half an interval, so the outermost samples may lie just outside the cube.
            density = density * inside(points)
        return Samples(
            points=points,
            at=mean,
            length=borders.diff(dim=1),
            density=density,
            colour=colour.view(points.shape),
            slope=None if slope is None else slope.view(points.shape),
        )

    def variances(
        self, directions: Float[Tensor, "R 3"], along: Float[Tensor, "R S"], across: Float[Tensor, "R S"]
    ) -> Float[Tensor, "P F"]:
        """Return the variance of each frequency in each interval, ray by ray, from a cone's along and across."""
        return cone_variances(directions, along, across, self.network.basis).flatten(0, 1)

    def borders(
        self,
        origins: Float[Tensor, "R 3"],
        directions: Float[Tensor, "R 3"],
        jitter: Float[Tensor, " R *J"] | None = None,
    ) -> Float[Tensor, "R E"]:
        """Return the borders of the intervals along rays of the field's own coordinates, rising; see `samples`."""
        count = self.options.samples if jitter is not None else self.options.looks or self.options.samples
        if self.options.bounded:
            near, far = box_span(Rays(origins, directions))
        else:
            distance = (origins - self.origin).norm(dim=1)
            near, far = distance - REACH, distance + REACH
        # A camera may stand in the cube: nothing behind it, nor right before it, may hide the rest.
        near = near.clamp(min=NEAREST)
        # A ray that misses the cube has intervals, too, of no length to speak of, and no density in them.
        far = torch.maximum(far, near + 1e-3)
        places = torch.arange(count + 1, dtype=origins.dtype, device=origins.device).expand(len(origins), -1)
        if jitter is not None:
            places = places + (jitter.view(len(origins), -1) - 0.5)
        step = (far - near)[:, None] / count
        # Jitter moves the first border, too, and no sample may come to lie behind the camera.
        return (near[:, None] + step * places).clamp(min=NEAREST / 2)

    def evaluate(
        self, points: Float[Tensor, "P 3"], variance: Float[Tensor, "P F"] | None, *, slope: bool = False
    ) -> tuple[Float[Tensor, " P"], Float[Tensor, "P 3"], Float[Tensor, "P 3"] | None]:
        """Return raw densities, colours, and the raw density's gradient in the point where it is asked for.

        Args:
            points: in the field's own coordinates.
            variance: of each frequency, see `encodings.cone_variances`; None: waves as they are.
            slope: whether to differentiate.
        """
        if not slope:
            return *self._raw(points, variance), None
        differentiable = torch.is_grad_enabled()
        with torch.enable_grad():
            # Points are no function of anything that is trained; as leaves they have a gradient of their own.
            places = points.detach().requires_grad_()
            raw, colour = self._raw(places, variance)
            (gradient,) = torch.autograd.grad(raw.sum(), places, create_graph=differentiable)
        return (raw, colour, gradient) if differentiable else (raw.detach(), colour.detach(), gradient)

    def _raw(self, points: Float[Tensor, "P 3"], variance: Float[Tensor, "P F"] | None) -> tuple[Tensor, Tensor]:
        raw, colour = self.network.decode(waves(points @ self.network.basis.T, variance))
        squared = points.square().sum(1)
        if self.options.density == "volsdf":
            # A sphere's distance to begin with; the root's slope at its centre is no number without the addend.
            raw = raw + self.options.radius - (squared + 1e-8).sqrt()
        if self.options.blob:
            raw = raw + gaussian_blob(squared, height=self.options.blob, width=self.options.blob_width)
        return raw, colour

    def activated(self, raw: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """Return the density of raw values, in 1 / world units."""
        if self.options.density == "volsdf":
            # Raw values rise inwards as those of the other densities do; a signed distance falls.
            return laplace_density(-raw, self.log_beta.exp())
        if self.options.density == "exp":
            return raw.clamp(max=STEEPEST).exp()
        return functional.softplus(raw)

    def point_variance(self) -> Float[Tensor, " F"] | None:
        """Return the variance of each frequency at a place that no ray passes: as in the middle of a typical ray."""
        if not self.options.integrated:
            return None
        step = SIDE / (self.options.looks or self.options.samples)
        # An interval's variance along the ray; in the cube's middle, pixels are as wide as samples are long, about.
        return self.network.basis.square().sum(1) * (step**2 / 12)

    @torch.no_grad()
    def density_at(self, points: Float[Tensor, "P 3"]) -> Float[Tensor, " P"]:
        """Return the density at places of the field's own coordinates, in 1 / world units."""
        variance = self.point_variance()
        parts = []
        for part in points.to(self.box.device).split(SAMPLES_AT_ONCE):
            raw, _ = self._raw(part, None if variance is None else variance.expand(len(part), -1))
            parts.append(self.activated(raw) * (inside(part) if self.options.bounded else 1.0))
        return torch.cat(parts).to(points.device)

    @torch.no_grad()
    def raw_density(self) -> Float[Tensor, "N N N"]:
        """Return what a grid's raw density would be on `NODES` nodes along each axis, see `raw.raw_of`."""
        axis = torch.linspace(-SIDE / 2, SIDE / 2, NODES)
        # Plane by plane: the variances of a million nodes at once would be gigabytes.
        planes = [self.density_at(torch.cartesian_prod(x[None], axis, axis)) for x in axis]
        return raw_of(torch.stack(planes), SIDE).view(NODES, NODES, NODES)

    @torch.no_grad()
    def colour_at(self, points: Float[Tensor, "P 3"]) -> Float[Tensor, "P 3"]:
        """Return the colours of places of the field's own coordinates."""
        variance = self.point_variance()
        parts = points.to(self.box.device).split(SAMPLES_AT_ONCE)
        colours = [self._raw(p, None if variance is None else variance.expand(len(p), -1))[1] for p in parts]
        return torch.cat(colours).to(points.device)

    @torch.no_grad()
    def centre_of_mass(self, generator: torch.Generator, count: int = 4096) -> Float[Tensor, " 3"]:
        """Return the density-weighted mean of random places of the cube: where the object is (thesis 4.4.6)."""
        # Few random places suffice: the origin follows slowly, by a moving average of these means.
        points = SIDE * (torch.rand(count, 3, generator=generator) - 0.5)
        density = self.density_at(points)
        return (density[:, None] * points).sum(0) / density.sum().clamp(min=1e-12)


def inside(points: Float[Tensor, "*S 3"]) -> Bool[Tensor, "*S"]:
    """Return which points lie in the cube."""
    return points.abs().amax(-1) <= SIDE / 2
