"""Probabilities of pictures under normal distributions: relative entropy, and the decoder of 256 levels."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

HALF_BIN = 1.0 / 255.0
"""Half the distance of two levels, where 0 to 255 are -1 to 1."""


def normal_kl(
    mean: Float[Tensor, "..."],
    log_variance: Float[Tensor, "..."],
    other_mean: Float[Tensor, "..."],
    other_log_variance: Float[Tensor, "..."],
) -> Float[Tensor, "..."]:
    """Return KL(N(mean, variance) || N(other mean, other variance)) of each element, in nats."""
    distance = (mean - other_mean).square() * torch.exp(-other_log_variance)
    return 0.5 * (other_log_variance - log_variance + torch.expm1(log_variance - other_log_variance) + distance)


def discretized_log_likelihood(
    x: Float[Tensor, "B C H W"], mean: Float[Tensor, "B C H W"], log_scale: Float[Tensor, "..."]
) -> Float[Tensor, "B C H W"]:
    """Return the logarithm of the probability of each level under a normal distribution (arXiv:2006.11239 Eq. 13).

    A level stands for the values that are nearer to it than to any other, the first and the last for all beyond. The
    authors approximate the distribution function and bound a level's probability by 1e-12; this is exact.

    Args:
        x: levels 0 to 255 as -1 to 1.
        mean: of the distributions.
        log_scale: logarithm of their deviations.
    """
    scale = log_scale.double().exp()
    centred = x.double() - mean.double()
    upper = torch.where(x > 0.999, math.inf, (centred + HALF_BIN) / scale)
    lower = torch.where(x < -0.999, -math.inf, (centred - HALF_BIN) / scale)
    # A bin above the mean is mirrored below it, where the logarithms of the tails have all their digits.
    mirrored = lower > 0.0
    lower, upper = torch.where(mirrored, -upper, lower), torch.where(mirrored, -lower, upper)
    log_upper, log_lower = torch.special.log_ndtr(upper), torch.special.log_ndtr(lower)
    return log_upper + torch.log1p(-torch.exp(log_lower - log_upper))
