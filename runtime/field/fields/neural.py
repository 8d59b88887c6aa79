"""A radiance field by NeRF's networks as a scene: coarse and fine (arXiv:2003.08934, section 5.2)."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.field.cameras import Rays
from runtime.field.fields.networks import RadianceMLP
from runtime.field.fields.raw import raw_of
from runtime.field.volume import Rendering, composite, importance_samples, opacity, weights_of
from runtime.loop.scene import Scene

RAYS_AT_ONCE = 2048
"""Rays of a picture that are evaluated together: 192 samples of 256 numbers a layer are 400 MB."""

GRID = 97
"""Nodes along an axis on which a mesh is extracted."""

POINTS = 16_384
"""Points that are evaluated together."""

REACH = 3**0.5
"""Rays are sampled within this of the origin's distance: a ball around the box [-1, 1]^3."""


class NeuralField(Scene):
    """NeRF: a coarse network decides where a fine one is evaluated; without a fine one the coarse is all there is.

    The networks may lie on any device: rays and draws come from the CPU, the same for all devices, and what is seen
    goes back there.

    Args:
        frequencies: of positions, see `networks.RadianceMLP`.
        view_directions: whether colours depend on the direction.
        coarse: stratified samples a ray.
        fine: further samples a ray where the coarse network has weight; 0: no fine network.
    """

    def __init__(self, *, frequencies: int, view_directions: bool, coarse: int, fine: int) -> None:
        super().__init__()
        self.coarse_samples = coarse
        self.fine_samples = fine
        self.share = 1.0
        self.coarse = RadianceMLP(frequencies, view_directions=view_directions)
        self.fine = RadianceMLP(frequencies, view_directions=view_directions) if fine else None

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.coarse.parameters()).device

    def renderings(self, rays: Rays, generator: torch.Generator | None = None) -> list[Rendering]:
        """Return what rays show by each network, the best one last; without a generator samples are evenly spaced."""
        count, home, there = len(rays.origins), rays.origins.device, self.device
        # Draws are made on the CPU, whatever the networks lie on.
        place = torch.rand(count, self.coarse_samples, generator=generator) if generator else torch.tensor(0.5)
        if generator and self.fine is not None:
            uniform = torch.rand(count, self.fine_samples, generator=generator)
        else:
            uniform = ((torch.arange(self.fine_samples) + 0.5) / max(self.fine_samples, 1)).expand(count, -1)
        rays = Rays(rays.origins.to(there), rays.directions.to(there))
        distance = rays.origins.norm(dim=1, keepdim=True)
        near, far = (distance - REACH).clamp(min=0.05), distance + REACH
        edges = near + (far - near) * torch.linspace(0, 1, self.coarse_samples + 1).to(there)
        # Stratified: one place in each interval, so that all of the ray is seen over some steps.
        t = edges[:, :-1] + (edges[:, 1:] - edges[:, :-1]) * place.to(there)
        first, weights = self._evaluate(self.coarse, rays, t, far)
        if self.fine is None:
            return [first.to(home)]
        # Intervals around the middle samples, as in the authors' code: the first and last one are ends.
        middles = (t[:, 1:] + t[:, :-1]) / 2
        # Where to look is no part of the loss: the coarse network learns by its own rendering alone.
        drawn = importance_samples(middles.detach(), weights.detach()[:, 1:-1], uniform.to(there))
        both = torch.cat([t, drawn], 1).sort(dim=1).values
        # At all samples: where the coarse network is wrong, the fine one still sees something.
        second, _ = self._evaluate(self.fine, rays, both, far)
        return [first.to(home), second.to(home)]

    def render(self, rays: Rays, jitter: Tensor | None = None, *, normals: bool = False) -> Rendering:
        """Return what rays show by the best network, some rays at a time, without random draws."""
        parts = [self.renderings(part)[-1] for part in _parts(rays, RAYS_AT_ONCE)]
        return Rendering(
            colour=torch.cat([part.colour for part in parts]),
            transmittance=torch.cat([part.transmittance for part in parts]),
            depth=torch.cat([part.depth for part in parts]),
            distortion=torch.cat([part.distortion for part in parts]),
        )

    @torch.no_grad()
    def raw_density(self) -> Float[Tensor, "N N N"]:
        """Return what a grid's raw density would be, the inverse softplus of the best network's density."""
        axis = torch.linspace(-1, 1, GRID)
        planes = []
        for x in axis:
            points = torch.cartesian_prod(x[None], axis, axis)
            # The density does not depend on the direction, but the network takes one.
            density, _ = self._best(points, torch.zeros_like(points).index_fill(1, torch.tensor([2]), -1.0))
            planes.append(raw_of(density, 2.0).view(GRID, GRID))
        return torch.stack(planes)

    @torch.no_grad()
    def colour_at(self, points: Float[Tensor, "P 3"]) -> Float[Tensor, "P 3"]:
        """Return colours of points, each seen from outside."""
        # A texture has one colour a place: that of looking straight at it from outside.
        inwards = -torch.nn.functional.normalize(points, dim=1)
        parts = zip(points.split(POINTS), inwards.split(POINTS), strict=True)
        return torch.cat([self._best(part, way)[1] for part, way in parts])

    def _best(self, points: Float[Tensor, "P 3"], directions: Float[Tensor, "P 3"]) -> tuple[Tensor, Tensor]:
        """Return density and colour by the best network, where the points are."""
        there = self.device
        density, colour = (self.fine or self.coarse)(points.to(there), directions.to(there), self.share)
        return density.to(points.device), colour.to(points.device)

    def _evaluate(
        self, network: RadianceMLP, rays: Rays, t: Float[Tensor, "R S"], far: Float[Tensor, "R 1"]
    ) -> tuple[Rendering, Float[Tensor, "R S"]]:
        """Return what a network shows at samples, and their weights."""
        points = rays.origins[:, None] + t[..., None] * rays.directions[:, None]
        directions = rays.directions[:, None].expand_as(points)
        density, colour = network(points.reshape(-1, 3), directions.reshape(-1, 3), self.share)
        # Layers may run in half precision; light is added up in float32.
        density, colour = density.float(), colour.float()
        length = torch.cat([t[:, 1:], far], 1) - t
        alpha = opacity(density.view(t.shape), length)
        shown = composite(alpha, colour.view(*t.shape, 3), t, unit=2 * REACH, length=length)
        return shown, weights_of(alpha)[0]


def _parts(rays: Rays, size: int) -> Iterator[Rays]:
    for first in range(0, max(len(rays.origins), 1), size):
        yield Rays(rays.origins[first : first + size], rays.directions[first : first + size])
