"""Edge-preserving smoothing: what makes a noisy picture fit to be traced as a few flat paths."""

import torch
from jaxtyping import Float32
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

ALMOST_WHITE = 0.93
"""Smallest value of all channels at which smoothing takes a pixel for white paper."""


def smooth(images: Float32[Tensor, "... 3 H W"]) -> Float32[Tensor, "... 3 H W"]:
    """Return pictures whose areas have one colour each and whose edges are crisp, as in the drawings to come.

    Specks go first. Then `kuwahara` works at twice the size, so that the edges that it sharpens are antialiased when
    they are scaled back. Almost white pixels turn white: on white paper, a tint would be traced as a path.

    Args:
        images: RGB, nominally in [0, 1].
    """
    parts = []
    # One by one: the filter holds eight copies of a picture of four times the pixels, in float64.
    for calm in despeckle(images).reshape(-1, *images.shape[-3:]).split(1):
        larger = functional.interpolate(calm, scale_factor=2, mode="bicubic").clamp(0.0, 1.0)
        parts.append(functional.avg_pool2d(kuwahara(larger, radius=4, passes=3), 2))
    flat = torch.cat(parts).reshape(images.shape)
    return torch.where((flat >= ALMOST_WHITE).all(-3, keepdim=True), 1.0, flat)


def despeckle(images: Float32[Tensor, "... 3 H W"]) -> Float32[Tensor, "... 3 H W"]:
    """Return pictures without specks and rings along edges: each channel's median of 3x3 pixels, taken twice.

    Straight edges stay where they are.
    """
    filtered = images.detach().cpu().numpy()
    size = (1,) * (filtered.ndim - 2) + (3, 3)
    for _ in range(2):
        filtered = ndimage.median_filter(filtered, size=size, mode="nearest")
    return torch.from_numpy(filtered).to(images.device)


def kuwahara(images: Float32[Tensor, "B 3 H W"], *, radius: int, passes: int = 1) -> Float32[Tensor, "B 3 H W"]:
    """Return pictures filtered by Kuwahara's edge-preserving smoothing.

    Of the four squares of `radius` + 1 pixels a side that have a pixel at a corner, the one whose colours vary least,
    by the sum of the variances of the channels, gives the pixel its mean colour. The border is continued with its own
    pixels.

    Args:
        images: RGB.
        radius: pixels, at least 1.
        passes: how often, at least 0.

    Source: Kuwahara et al., 1976.
    """
    height, width = images.shape[-2:]
    filtered = images.double()  # the variance is a difference of two means, which float32 would lose
    for _ in range(passes):
        padded = functional.pad(filtered, (radius,) * 4, mode="replicate")
        means = functional.avg_pool2d(padded, radius + 1, 1)
        spread = (functional.avg_pool2d(padded.square(), radius + 1, 1) - means.square()).sum(1, keepdim=True)
        corners = [(top, left) for top in (0, radius) for left in (0, radius)]
        spreads = torch.stack([spread[..., y : y + height, x : x + width] for y, x in corners])
        colours = torch.stack([means[..., y : y + height, x : x + width] for y, x in corners])
        calmest = spreads.argmin(0, keepdim=True).expand(1, *filtered.shape)
        filtered = colours.gather(0, calmest)[0]
    return filtered.float()
