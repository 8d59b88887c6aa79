"""Volume rendering: what a ray shows of densities and colours along it (thesis Eq. 3.1, 4.3, 4.4; arXiv:2003.08934).

With samples at distances t_i, densities s_i and lengths d_i:

    opacity        a_i = 1 - exp(-s_i d_i)
    transmittance  T_i = product over j < i of (1 - a_j): the sample itself is left out
    weight         w_i = T_i a_i
    colour             = sum of w_i c_i, and what is left of the light, T_end, times the background.

The thesis' Eq. 3.1 prints the far bound as the upper limit of T's integral; it is the sample's own distance (Eq. 4.2).
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from runtime.field.kernels.pictures import enlarge, reduce
from runtime.kernels.threads import share_jobs


@dataclass(frozen=True)
class Rendering:
    """What R rays show."""

    colour: Float[Tensor, "R 3"]
    """RGB without a background: each ray's light from the field alone."""
    transmittance: Float[Tensor, " R"]
    """Share of the background's light that arrives, in [0, 1]; 1 minus it is alpha."""
    depth: Float[Tensor, " R"]
    """Mean distance from the ray's origin in world units, weighted as colours are: 0 where nothing is."""
    distortion: Float[Tensor, " R"]
    """Spread of the weights along the ray, the distortion loss of mip-NeRF 360 (arXiv:2111.12077, Eq. 15)."""
    normal: Float[Tensor, "R 3"] | None = None
    """Mean normal, weighted as colours are; None if it was not asked for."""

    def on(self, background: Float[Tensor, "#R 3"]) -> Float[Tensor, "R 3"]:
        """Return the colours before a background, one for all rays or one a ray."""
        return self.colour + self.transmittance[:, None] * background

    def enlarged_on(self, background: Float[Tensor, "1 3"], size: int) -> Float[Tensor, "1 3 {size} {size}"]:
        """Return the colours of a square picture before a background, enlarged; on the CPU.

        The same as `on`, and then `torch.nn.functional.interpolate` with its mode `bilinear`.
        """
        return _Enlarged.apply(self.colour, self.transmittance, background, size)  # pyright: ignore[reportReturnType]

    def to(self, device: torch.device) -> "Rendering":
        """Return the same on a device."""
        return Rendering(
            colour=self.colour.to(device),
            transmittance=self.transmittance.to(device),
            depth=self.depth.to(device),
            distortion=self.distortion.to(device),
            normal=None if self.normal is None else self.normal.to(device),
        )

    def means(self, count: int) -> "Rendering":
        """Return the means over `count` groups of rays, each as many rays that follow one another."""

        def mean(values: Tensor) -> Tensor:
            return values.unflatten(0, (count, -1)).mean(1)

        return Rendering(
            colour=mean(self.colour),
            transmittance=mean(self.transmittance),
            depth=mean(self.depth),
            distortion=mean(self.distortion),
            normal=None if self.normal is None else mean(self.normal),
        )

    @property
    def alpha(self) -> Float[Tensor, " R"]:
        """Opacity of each ray."""
        return 1 - self.transmittance


@cache
def _places(side: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where the rows of an enlarged picture lie among those of its side: the row before, and how far behind."""
    at = np.maximum((np.arange(size) + 0.5) * (side / size) - 0.5, 0)
    low = np.minimum(at.astype(np.int64), side - 1)
    return low, (at - low).astype(np.float32)


class _Enlarged(torch.autograd.Function):
    @staticmethod
    def forward(ctx, colour, transmittance, background, size: int):
        side = math.isqrt(len(transmittance))
        arrays = [np.ascontiguousarray(tensor.detach().numpy()) for tensor in (colour, transmittance, background[0])]
        picture = np.empty((1, 3, size, size), np.float32)
        share_jobs(enlarge, 3, *arrays, *_places(side, size), picture[0])
        ctx.background, ctx.side, ctx.size = background, side, size
        return torch.from_numpy(picture)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream):
        gradient = torch.empty(ctx.side**2, 3)
        given = np.ascontiguousarray(upstream[0].numpy())
        share_jobs(reduce, 3, given, *_places(ctx.side, ctx.size), gradient.numpy())
        return gradient, (gradient * ctx.background).sum(1), None, None


def opacity(density: Float[Tensor, "*S"], length: "Float[Tensor, '*S'] | float") -> Float[Tensor, "*S"]:
    """Return 1 - exp(-density * length), exact for thin samples too (thesis Eq. 4.4)."""
    return -torch.expm1(-density * length)


def weights_of(
    alpha: Float[Tensor, "R S"],
) -> tuple[Float[Tensor, "R S"], Float[Tensor, "R S"], Float[Tensor, " R"]]:
    """Return each sample's weight, the transmittance before it, and that of the whole ray (thesis Eq. 4.3)."""
    # A product and not an exponential of sums: an opaque sample gives exactly 0.
    passed = torch.cumprod(1 - alpha, dim=1)
    # Shifted by one: a sample does not hide itself.
    before = torch.cat([torch.ones_like(passed[:, :1]), passed[:, :-1]], dim=1)
    end = passed[:, -1] if alpha.shape[1] else torch.ones(len(alpha), dtype=alpha.dtype)
    return alpha * before, before, end


def distortion_of(
    weights: Float[Tensor, "R S"], at: Float[Tensor, "R S"], length: "Float[Tensor, 'R S'] | float"
) -> Float[Tensor, " R"]:
    """Return the sum over pairs of w_i w_j |t_i - t_j|, and of w_i^2 length / 3 (arXiv:2111.12077, Eq. 15).

    Args:
        weights: of samples in the order of their distance.
        at: their distances, in the unit in which the spread is wanted.
        length: of a sample, in that unit.
    """
    # Of each pair the farther one counts the nearer: prefix sums in place of a matrix of pairs.
    nearer = torch.cumsum(weights, 1) - weights
    moment = torch.cumsum(weights * at, 1) - weights * at
    pairs = (weights * (at * nearer - moment)).sum(1)
    return 2 * pairs + (weights.square() * length).sum(1) / 3


def composite(
    alpha: Float[Tensor, "R S"],
    colours: Float[Tensor, "R S 3"],
    distances: Float[Tensor, "R S"],
    *,
    unit: float = 1.0,
    length: "Float[Tensor, 'R S'] | float" = 0.0,
    normals: Float[Tensor, "R S 3"] | None = None,
) -> Rendering:
    """Return what rays show.

    Args:
        alpha: opacity of each sample, see `opacity`; 0 leaves a sample out.
        colours: RGB.
        distances: from the ray's origin, in world units and rising.
        unit: world units that count as 1 in the distortion.
        length: of a sample in world units, for the distortion.
        normals: unit vectors.
    """
    weights, _, end = weights_of(alpha)
    shares = weights[..., None]
    return Rendering(
        colour=(shares * colours).sum(1),
        transmittance=end,
        depth=(weights * distances).sum(1),
        distortion=distortion_of(weights, distances / unit, length / unit),
        normal=None if normals is None else (shares * normals).sum(1),
    )


def importance_samples(
    edges: Float[Tensor, "R E"], weights: Float[Tensor, "R S"], uniform: Float[Tensor, "R N"]
) -> Float[Tensor, "R N"]:
    """Return distances drawn from the piecewise constant density that weights are (hierarchical sampling).

    The inverse of its cumulative distribution, at places in [0, 1] (arXiv:2003.08934, section 5.2). Weights get 1e-5
    more, as in the authors' code, so that a ray without any weight is sampled uniformly.

    Args:
        edges: S + 1 borders of the intervals, rising.
        weights: of the S intervals, at least 0.
        uniform: places in the distribution, in [0, 1).
    """
    weights = weights + 1e-5
    share = weights / weights.sum(1, keepdim=True)
    cumulative = torch.cat([torch.zeros_like(share[:, :1]), torch.cumsum(share, 1)], 1)
    # From the right, so that a place on a border belongs to the interval that begins there, even behind an empty one.
    index = torch.searchsorted(cumulative, uniform.contiguous(), right=True).clamp(1, share.shape[1]) - 1
    below = torch.gather(cumulative, 1, index)
    inside = (uniform - below) / torch.gather(share, 1, index)
    low = torch.gather(edges, 1, index)
    high = torch.gather(edges, 1, index + 1)
    return low + inside.clamp(0, 1) * (high - low)
