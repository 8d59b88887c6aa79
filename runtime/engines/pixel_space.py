"""What stands in for an autoencoder and for texts where a diffusion model works on pixels."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from runtime.engines.protocols import PixelDenoiser


def encode_pixels(images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    """Return RGB in [0, 1] as diffusion models of pixels take it, in [-1, 1]: a `LatentEncoder` that is no network."""
    return 2.0 * images - 1.0


def encode_grey(images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1 H W"]:
    """Return the mean of the colours in [-1, 1], for models of one channel."""
    return encode_pixels(images).mean(1, keepdim=True)


def decode_pixels(z: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    """Return RGB in [0, 1] of pictures in [-1, 1]: a `LatentDecoder` that is no network."""
    return ((z + 1.0) / 2.0).clamp(0.0, 1.0)


class Unconditional:
    """A `Denoiser` over a `PixelDenoiser`, which reads no context."""

    def __init__(self, denoise: PixelDenoiser) -> None:
        """Wrap a network."""
        self.denoise = denoise

    def __call__(
        self, z: Float[Tensor, "B C H W"], t: Int64[Tensor, " B"], context: Float[Tensor, "B N D"]
    ) -> Float[Tensor, "B C H W"]:
        """Return what the network predicts of noisy pictures, whatever the context is."""
        return self.denoise(z, t)


NO_CONTEXT = torch.zeros(1, 1, 1)
"""What such a denoiser is given to read."""
