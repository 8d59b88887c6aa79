"""The latent decoder: scaled latents to pictures, not clamped, in float32 (XL's overflows in float16)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from export.network import ExportedNetwork
from export.pretrained.specs import batched
from export.sd.configurations import Pipeline
from runtime.engines.precision import Storage


class ScaledDecoder(nn.Module):
    """The decoder half of an `AutoencoderKL`, on scaled latents."""

    def __init__(self, vae: nn.Module, scale: float) -> None:
        """Wrap an autoencoder."""
        super().__init__()
        self.vae, self.scale = vae, scale

    def forward(self, latents: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]:
        """Return RGB, nominally in [0, 1], of scaled latents."""
        hidden = self.vae.post_quant_conv(latents / self.scale)  # pyright: ignore
        return self.vae.decoder(hidden) * 0.5 + 0.5  # pyright: ignore


def make_decoder(pipeline: Pipeline) -> nn.Module:
    """Return the autoencoder without its encoder, on the meta device."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    with torch.device("meta"):
        vae = AutoencoderKL.from_config(dict(pipeline.vae))
    del vae.encoder, vae.quant_conv  # pyright: ignore
    return vae  # pyright: ignore


def make_network(pipeline: Pipeline, vae: nn.Module, latents: Float[Tensor, "V C h w"]) -> ExportedNetwork:
    """Return the decoder.

    Args:
        pipeline: what it belongs to.
        vae: autoencoder whose decoder has its weights.
        latents: scaled ones, to verify it with.
    """
    side = pipeline.image_size
    return ExportedNetwork(
        spec=batched("latent_decoder", {"latents": latents.shape[1:]}, {"images": (3, side, side)}),
        module=ScaledDecoder(vae, float(pipeline.vae["scaling_factor"])),
        samples=(latents,),
        storage=Storage.FLOAT32,
    )
