"""The latent decoder: scaled latents to pictures, not clamped."""

from jaxtyping import Float
from torch import Tensor, nn

from export.icons.weights import Weights
from export.network import ExportedNetwork, batched
from train.latent_diffusion.autoencoder import IconAutoencoder


class ScaledDecoder(nn.Module):
    """The autoencoder's decoder on scaled latents."""

    def __init__(self, autoencoder: IconAutoencoder, scale: float) -> None:
        """Wrap an autoencoder."""
        super().__init__()
        self.autoencoder, self.scale = autoencoder, scale

    def forward(self, latents: Float[Tensor, "B 4 16 16"]) -> Float[Tensor, "B 3 128 128"]:
        """Return RGB, nominally in [0, 1], of scaled latents."""
        return self.autoencoder.decode(latents / self.scale)


def make_network(weights: Weights) -> ExportedNetwork:
    """Return the decoder; it is verified on latents of icons."""
    return export_decoder(weights.autoencoder, weights.latent_scale, weights.latents)


def export_decoder(autoencoder: nn.Module, scale: float, latents: Float[Tensor, "V 4 16 16"]) -> ExportedNetwork:
    """Return the decoder of an `IconAutoencoder`, verified on scaled latents."""
    assert isinstance(autoencoder, IconAutoencoder)
    return ExportedNetwork(
        spec=batched("latent_decoder", {"latents": (4, 16, 16)}, {"images": (3, 128, 128)}),
        module=ScaledDecoder(autoencoder, scale),
        samples=(latents,),
    )
