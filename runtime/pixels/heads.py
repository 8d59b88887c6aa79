"""Distributions of one pixel: two logits, or a mixture of discretized logistics (PixelCNN++, arXiv:1701.05517).

Notation: a channel has L levels v in [0, L), at x = 2 v / (L - 1) - 1. Level v has the mass of
a logistic distribution from x - 1 / (L - 1) to x + 1 / (L - 1), the first and the last level also what is beyond.
With three channels a component's means of green and blue are shifted by linear functions of the channels before.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float32, Int64, Integer
from torch import Tensor
from torch.nn import functional as F

from runtime.errors import UserError

MIN_LOG_SCALE = -7.0
"""Smallest logarithm of a logistic's scale."""


@runtime_checkable
class Pixels(Protocol):
    """The part of an architecture that a head depends on."""

    @property
    def channels(self) -> int:
        """Colour channels, 1 or 3."""
        ...

    @property
    def levels(self) -> int:
        """Intensities of a channel, at least 2."""
        ...

    @property
    def mixtures(self) -> int:
        """Components of a mixture."""
        ...


def is_binary(pixels: Pixels) -> bool:
    """Return whether a pixel has two values, which two logits model."""
    return pixels.channels == 1 and pixels.levels == 2


def head_channels(pixels: Pixels) -> int:
    """Return the number of parameters of one pixel's distribution.

    Raises:
        UserError: where no head models such pixels.
    """
    if pixels.channels not in (1, 3) or pixels.levels < 2 or pixels.mixtures < 1:
        raise UserError(
            "architecture: expected 1 or 3 channels, at least 2 levels and 1 mixture component, got "
            f"{pixels.channels}, {pixels.levels} and {pixels.mixtures}"
        )
    if is_binary(pixels):
        return 2
    couplings = pixels.channels * (pixels.channels - 1) // 2
    return pixels.mixtures * (1 + 2 * pixels.channels + couplings)


def quantize(images: Tensor, pixels: Pixels) -> Int64[Tensor, "B C H W"]:
    """Return the levels, in [0, L), nearest to intensities in [0, 1].

    Args:
        images: floating, in [0, 1].
        pixels: the architecture's channels and levels.

    Raises:
        UserError: where the pictures have other channels or intensities.
    """
    if images.ndim != 4 or images.shape[1] != pixels.channels or not images.is_floating_point():
        raise UserError(
            f"images: expected floating (B, {pixels.channels}, H, W) in [0, 1], got {images.dtype} of "
            f"{tuple(images.shape)}"
        )
    low, high = (float(images.min()), float(images.max())) if images.numel() else (0.0, 0.0)
    # A NaN fails every comparison, so that this form refuses it too.
    if not 0.0 <= low <= high <= 1.0:
        raise UserError(f"images: expected intensities in [0, 1], got {low:g} to {high:g}; divide bytes by 255")
    return (images * (pixels.levels - 1)).round().long()


def to_unit(levels: Integer[Tensor, "*shape"], pixels: Pixels) -> Float32[Tensor, "*shape"]:
    """Return levels in [0, L) scaled to [-1, 1]."""
    return levels.float() * (2.0 / (pixels.levels - 1)) - 1.0


def log_mass(
    parameters: Float[Tensor, "*shape K"], levels: Integer[Tensor, "*shape C"], pixels: Pixels
) -> Float[Tensor, "*shape"]:
    """Return the log-probability of pixels, in nats.

    Args:
        parameters: of the head, float32 or float64.
        levels: whole numbers in [0, L).
        pixels: the architecture's channels, levels and mixtures.
    """
    if is_binary(pixels):
        return F.log_softmax(parameters, -1).gather(-1, levels.long())[..., 0]
    return _log_mixture(parameters, levels, pixels)


def split_mixture(
    parameters: Float[Tensor, "*shape K"], pixels: Pixels
) -> tuple[
    Float[Tensor, "*shape M"], Float[Tensor, "*shape C M"], Float[Tensor, "*shape C M"], Float[Tensor, "*shape _ M"]
]:
    """Return a mixture's logits, means, log-scales, and couplings (C (C - 1) / 2 of each component)."""
    m, c = pixels.mixtures, pixels.channels
    logits, means, log_scales, couplings = parameters.split((m, c * m, c * m, c * (c - 1) // 2 * m), -1)
    shape = (c, m)
    # PixelCNN++ clamps at the same place: without a bound, 1 / scale may overflow.
    log_scales = log_scales.unflatten(-1, shape).clamp(min=MIN_LOG_SCALE)
    return logits, means.unflatten(-1, shape), log_scales, torch.tanh(couplings).unflatten(-1, (-1, m))


def couple(
    means: Float[Tensor, "*shape C M"], couplings: Float[Tensor, "*shape _ M"], x: Float[Tensor, "*shape C"]
) -> Float[Tensor, "*shape C M"]:
    """Return means shifted by the channels before, of which x, in [-1, 1], are the values."""
    if means.shape[-2] == 1:
        return means
    red, green = x[..., 0:1], x[..., 1:2]
    shifted = (
        means[..., 0, :],
        means[..., 1, :] + couplings[..., 0, :] * red,
        means[..., 2, :] + couplings[..., 1, :] * red + couplings[..., 2, :] * green,
    )
    return torch.stack(shifted, -2)


def _log_mixture(
    parameters: Float[Tensor, "*shape K"], levels: Integer[Tensor, "*shape C"], pixels: Pixels
) -> Float[Tensor, "*shape"]:
    """Return the log-probability of levels under a mixture of discretized logistics."""
    logits, means, log_scales, couplings = split_mixture(parameters, pixels)
    half = 1.0 / (pixels.levels - 1)
    x = levels.to(parameters.dtype) * (2.0 * half) - 1.0
    centred = x[..., None] - couple(means, couplings, x)
    inverse = torch.exp(-log_scales)
    upper, lower = inverse * (centred + half), inverse * (centred - half)
    # sigmoid(u) - sigmoid(l) = sigmoid(u) sigmoid(-l) (1 - exp(l - u)), exact however far out the level is.
    # `expm1` keeps the digits that 1 - exp loses where a logistic is much wider than a level.
    inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-2.0 * half * inverse))
    v = levels[..., None]
    mass = torch.where(v == 0, F.logsigmoid(upper), torch.where(v == pixels.levels - 1, F.logsigmoid(-lower), inside))
    return torch.logsumexp(F.log_softmax(logits, -1) + mass.sum(-2), -1)
