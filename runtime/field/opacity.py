"""Terms by opacity: against fog, and for rays that end or pass."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from runtime.field.kernels.pictures import weigh_rays
from runtime.kernels.threads import share_jobs

if TYPE_CHECKING:
    from runtime.field.lifting.hull import Hull


def opacity_penalty(alpha: Float[Tensor, " R"]) -> Float[Tensor, ""]:
    """Return the mean of sqrt(alpha^2 + 0.01), which keeps fields from filling space (arXiv:2209.14988, A.2)."""
    return (alpha.square() + 0.01).sqrt().mean()


def alpha_entropy(alpha: Float[Tensor, " R"]) -> Float[Tensor, ""]:
    """Return the mean entropy of alpha, in bits: 0 where rays end or pass, 1 where half of the light does.

    stable-dreamfusion has it in place of `opacity_penalty`, with which fields were seen to vanish.
    """
    # As there: the logarithm's slope is endless at both ends, where nothing should move any more.
    inner = alpha.clamp(1e-5, 1 - 1e-5)
    return -(inner * inner.log2() + (1 - inner) * (1 - inner).log2()).mean()


def misplaced(
    transmittance: Float[Tensor, " R"], inside: Bool[Tensor, " R"], outside: Bool[Tensor, " R"]
) -> Float[Tensor, ""]:
    """Return the light that passes inside an object, and what is stopped outside, summed in parts of all rays.

    Args:
        transmittance: of the rays.
        inside: rays that should end.
        outside: rays that should pass.
    """
    # Of all rays, not of those inside: a small object is not to be pulled at more strongly than a large one.
    return (transmittance * inside + (1 - transmittance) * outside).mean()


def entropy_and_misplaced(
    transmittance: Float[Tensor, " R"], hull: "Hull | None"
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return `alpha_entropy` and `misplaced` of rays; on the CPU from one pass over them.

    Args:
        transmittance: of the rays.
        hull: rays that should end, and that should pass; None: no matter which.
    """
    if hull is None:
        inside = outside = torch.zeros(len(transmittance), dtype=torch.bool, device=transmittance.device)
    else:
        inside, outside = hull.inside, hull.outside
    if transmittance.device.type != "cpu":
        return alpha_entropy(1 - transmittance), misplaced(transmittance, inside, outside)
    return _Terms.apply(transmittance, inside, outside)  # pyright: ignore[reportReturnType]


class _Terms(torch.autograd.Function):
    @staticmethod
    def forward(ctx, transmittance, inside, outside):
        count = len(transmittance)
        sums, gradients = np.zeros(2), np.empty((2, count), np.float32)
        shown = np.ascontiguousarray(transmittance.detach().numpy())
        share_jobs(weigh_rays, 1, shown, inside.numpy(), outside.numpy(), sums, gradients[0], gradients[1])
        ctx.gradients = torch.from_numpy(gradients)
        entropy, place = (torch.tensor(number / max(count, 1), dtype=torch.float32) for number in sums)
        return entropy, place

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, by_entropy, by_place):
        weights = torch.stack([by_entropy, by_place]) / ctx.gradients.shape[1]
        return weights[0] * ctx.gradients[0] + weights[1] * ctx.gradients[1], None, None
