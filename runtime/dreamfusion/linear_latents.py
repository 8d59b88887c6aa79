"""Latents by a linear map of colours: a cheap stand-in for an encoder while a scene is still coarse.

A latent cell is nearly a linear function of its picture's mean colour there (the approximation with which previews of
Stable Diffusion are drawn, the other way round). So a scene may be rendered at the size of the latents, as Latent-NeRF
does (arXiv:2211.07600), but in colours: nothing has to be learned anew when the encoder takes over.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from runtime.engines.protocols import LatentEncoder

PICTURES = 32
"""Random pictures to which a map is fitted."""


def linear_encoder(
    encoder: LatentEncoder, side: int, latent_side: int, generator: torch.Generator
) -> Callable[[Float[Tensor, "B 3 H W"]], Float[Tensor, "B C h w"]]:
    """Return a map of pictures of any size to latents: mean colours of each cell, times a matrix, plus an offset.

    The matrix is the least-squares fit to the encoder on `smooth_pictures`.

    Args:
        encoder: whose latents are to be met.
        side: height and width of its pictures.
        latent_side: rows and columns of its latents.
        generator: of the pictures.
    """
    pictures = smooth_pictures(PICTURES, side, generator)
    with torch.no_grad():
        latents = torch.cat([encoder(picture[None]) for picture in pictures])
    inputs = _with_one(functional.adaptive_avg_pool2d(pictures, latent_side)).movedim(1, -1).flatten(0, 2)
    targets = latents.movedim(1, -1).flatten(0, 2)
    matrix = torch.linalg.lstsq(inputs.double(), targets.double()).solution.float()

    def encode(images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        cells = functional.adaptive_avg_pool2d(images, latent_side)
        return torch.einsum("bihw,ic->bchw", _with_one(cells), matrix)

    return encode


def smooth_pictures(count: int, side: int, generator: torch.Generator) -> Float[Tensor, "{count} 3 {side} {side}"]:
    """Return pictures of soft random colours before white: noise of few pixels, enlarged, in a soft random outline."""
    coarse = torch.rand(count, 4, 6, 6, generator=generator)
    large = functional.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False)
    outline = (8 * (large[:, 3:] - 0.5)).sigmoid()
    return (large[:, :3] * outline + 1 - outline).clamp(0, 1)


def _with_one(cells: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B 4 h w"]:
    return torch.cat([cells, torch.ones_like(cells[:, :1])], 1)
