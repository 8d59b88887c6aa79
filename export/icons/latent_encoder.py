"""The latent encoder: pictures to scaled mean latents. Never a random draw in the graph; PyTorch gives gradients."""

from jaxtyping import Float
from torch import Tensor, nn

from export.icons.weights import Weights
from export.network import ExportedNetwork, TorchModule, batched
from train.latent_diffusion.autoencoder import AUTOENCODER, UNSHUFFLE, IconAutoencoder

_COPIED = (
    "in_channels",
    "block_out_channels",
    "layers_per_block",
    "latent_channels",
    "norm_num_groups",
    "mid_block_add_attention",
)


class ScaledMean(nn.Module):
    """The mean of the autoencoder's moments, scaled."""

    def __init__(self, autoencoder: IconAutoencoder, scale: float) -> None:
        """Wrap an autoencoder."""
        super().__init__()
        self.autoencoder, self.scale = autoencoder, scale

    def forward(self, images: Float[Tensor, "B 3 128 128"]) -> Float[Tensor, "B 4 16 16"]:
        """Return scaled mean latents of RGB in [0, 1]."""
        return self.scale * self.autoencoder.moments(images)[0]


def make_network(weights: Weights) -> ExportedNetwork:
    """Return the encoder with its PyTorch module, both from the same stored weights."""
    arguments = {name: AUTOENCODER[name] for name in _COPIED}
    state = weights.autoencoder.vae.state_dict()
    return ExportedNetwork(
        spec=batched("latent_encoder", {"images": (3, 128, 128)}, {"latents": (4, 16, 16)}),
        module=ScaledMean(weights.autoencoder, weights.latent_scale),
        samples=(weights.images(),),
        torch_module=TorchModule(
            name="KLEncoder",
            arguments={**arguments, "unshuffle": UNSHUFFLE, "latent_scale": weights.latent_scale},
            state={k: v for k, v in state.items() if k.startswith(("encoder.", "quant_conv."))},
        ),
    )
