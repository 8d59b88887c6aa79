"""Make the denoiser or the autoencoder of a bundle a network that can be trained: its int8 weights, float again.

What comes out is checked against the exported graphs themselves.
"""

import torch
from torch import Tensor, nn

from runtime.engines.backends.eager import expand_weights
from runtime.engines.bundle.diffusion import DiffusionBundle
from runtime.engines.spec import WEIGHTS
from runtime.errors import UserError
from train.graph_weights import fill_from_graph
from train.latent_diffusion.autoencoder import IconAutoencoder
from train.latent_diffusion.unet import IconDenoiser

_TOLERANCE = 1e-4
"""Greatest difference between the graph and the network, whose outputs have a deviation of about 1."""


@torch.no_grad()
def restore_denoiser(bundle: DiffusionBundle) -> IconDenoiser:
    """Return the denoiser of a bundle as a network of float weights.

    Raises:
        UserError: the bundle's denoiser is another network.
    """
    network = IconDenoiser().eval()
    where = f"bundle {bundle.name!r}: its denoiser"

    def run() -> Tensor:
        return network(torch.zeros(1, 4, 16, 16), torch.zeros(1, dtype=torch.int64), torch.zeros(1, 17, 384))

    try:
        fill_from_graph(network, bundle.read_file("denoiser", "model.onnx"), run)
    except ValueError as error:
        raise UserError(f"{where}: expected that of icons, got another ({error!s:.100}); use another bundle") from None
    difference = _difference(network, bundle)
    if not difference <= _TOLERANCE:
        raise UserError(f"{where}: expected one that computes as that of icons, got a difference of {difference:.2g}")
    return network


def _difference(network: IconDenoiser, bundle: DiffusionBundle) -> float:
    """Return the greatest difference between a network and a bundle's denoiser on noise at four times."""
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn((4, 4, 16, 16), generator=generator)
    context: Tensor = torch.randn((4, 17, 384), generator=generator)
    timestep = torch.tensor([0, 300, 600, 999])
    return float((network(sample, timestep, context) - bundle.denoiser()(sample, timestep, context)).abs().max())


@torch.no_grad()
def restore_autoencoder(bundle: DiffusionBundle) -> IconAutoencoder:
    """Return the latent encoder and decoder of a bundle as one network of float weights.

    Raises:
        UserError: they are other networks.
    """
    network = IconAutoencoder().eval()
    where = f"bundle {bundle.name!r}: its latent encoder and decoder"
    # Both halves in one module, so that a layer of either counts as filled.
    decoder = nn.ModuleList([network.vae.post_quant_conv, network.vae.decoder])
    try:
        state = expand_weights(bundle.read_file("latent_encoder", WEIGHTS), where)
        unknown = network.vae.load_state_dict(state, strict=False)
        lacking = [name for name in unknown.missing_keys if name.startswith(("encoder.", "quant_conv."))]
        if lacking or unknown.unexpected_keys:
            raise ValueError([*lacking, *unknown.unexpected_keys][0])
        content = bundle.read_file("latent_decoder", "model.onnx")
        fill_from_graph(decoder, content, lambda: network.decode(torch.zeros(1, *bundle.latent_shape)))
    except (ValueError, RuntimeError, KeyError) as error:
        raise UserError(f"{where}: expected those of icons, got others ({error!s:.100}); use another bundle") from None
    latents = torch.randn((2, *bundle.latent_shape), generator=torch.Generator().manual_seed(0))
    pictures = bundle.latent_decoder()(latents)  # clamped to [0, 1]
    difference = float((network.decode(latents / bundle.latent_scale).clamp(0.0, 1.0) - pictures).abs().max())
    encoded = bundle.latent_encoder("none")(pictures)
    own = bundle.latent_scale * network.moments(pictures)[0]
    difference = max(difference, float((own - encoded).abs().max()))
    if not difference <= _TOLERANCE:
        raise UserError(f"{where}: expected ones that compute as those of icons, got a difference of {difference:.2g}")
    return network
