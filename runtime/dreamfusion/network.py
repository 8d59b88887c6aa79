"""The paper's field as a scene: a network on waves whose Gaussians shrink as it learns, and one behind everything."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from runtime.dreamfusion.looks import UNIT
from runtime.field.cameras import Rays
from runtime.field.fields.blobs import cone_blob
from runtime.field.fields.encodings import positional
from runtime.field.fields.residual import FieldOptions, ResidualField

FIRST_COVARIANCE = 5e-2
LAST_COVARIANCE = 2e-3
"""Variances along each axis of the Gaussian that stands for a sample, squares of the paper's length."""

ANNEALED = 1 / 3
"""Part of the steps in which it falls: the paper's 5,000 of 15,000."""

BACK_FREQUENCIES = 4
BACK_WIDTH = 64
"""Of the network that is behind everything; the paper says that it is small, and no more."""


def covariance_of(progress: float) -> float:
    """Return the variance of a sample's Gaussian, in squared world units, at a part of the run (arXiv:2209.14988, A.2).

    Linear in the steps. Waves that vary within the Gaussian are faded out, so shapes are coarse at first.
    """
    # From the part of the run and not from a counter of its own: a resumed run stands where it did.
    share = min(1.0, progress / ANNEALED)
    return UNIT**2 * (FIRST_COVARIANCE + (LAST_COVARIANCE - FIRST_COVARIANCE) * share)


def paper_options(samples: int, kind: str) -> FieldOptions:
    """Return the paper's network: five residual blocks of 128, eight octaves along the axes, a blob of a kind.

    With the exponential goes DreamFusion's blob, with the softplus Magic3D's.
    """
    exponential = kind == "gaussian"
    return FieldOptions(
        width=128,
        wide=128,
        blocks=5,
        basis="axes",
        octaves=8,
        density="exp" if exponential else "softplus",
        blob=5.0 if exponential else 0.0,
        blob_width=0.2 * UNIT,
        samples=samples,
    )


class PaperField(ResidualField):
    """DreamFusion's field in the cube [-1, 1]^3; see `ResidualField`.

    The paper's ball of radius 1.4 is larger than the cube: here the background begins nearer to the object.
    """

    covariance: Tensor
    """Of a sample, see `covariance_of`; a part of the state, for it decides what the field looks like."""

    def __init__(self, options: FieldOptions, generator: torch.Generator | None = None) -> None:
        super().__init__(options, generator)
        self.register_buffer("covariance", torch.tensor(covariance_of(0.0)))
        with torch.random.fork_rng(devices=[]):
            # PyTorch's layers draw from the global generator alone, so it is lent the scene's seed.
            torch.manual_seed(generator.initial_seed() if generator else 0)
            self.back = nn.Sequential(
                nn.Linear(3 * (1 + 2 * BACK_FREQUENCIES), BACK_WIDTH), nn.SiLU(), nn.Linear(BACK_WIDTH, 3), nn.Sigmoid()
            )

    def backdrop(self, rays: Rays) -> Float[Tensor, "R 3"]:
        """Return what is behind everything, by the direction of view."""
        return self.back(positional(rays.directions.to(self.covariance.device), BACK_FREQUENCIES)).to(
            rays.directions.device
        )

    def variances(
        self, directions: Float[Tensor, "R 3"], along: Float[Tensor, "R S"], across: Float[Tensor, "R S"]
    ) -> Float[Tensor, "P F"]:
        """Return the variance of each frequency: samples are balls, whatever the cones of their pixels are."""
        return self._of_a_ball().expand(along.numel(), -1)

    def point_variance(self) -> Float[Tensor, " F"]:
        """Return the variance of each frequency at a place that no ray passes: of a ball as well."""
        return self._of_a_ball()

    def _of_a_ball(self) -> Float[Tensor, " F"]:
        return self.network.basis.square().sum(1) * self.covariance

    def _raw(self, points: Float[Tensor, "P 3"], variance: Float[Tensor, "P F"] | None) -> tuple[Tensor, Tensor]:
        raw, colour = super()._raw(points, variance)
        if self.options.density == "softplus":
            # The root's slope at the middle is no number without the addend.
            raw = raw + cone_blob((points.square().sum(1) + 1e-8).sqrt())
        return raw, colour
