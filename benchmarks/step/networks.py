"""The networks of a bundle as peers hold them: PyTorch modules in float32."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError

ROLES = ("text_encoder", "text_encoder_2", "denoiser", "latent_encoder")
"""What a step of text to SVG needs."""

MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
"""Sizes of all-MiniLM-L6-v2."""


@dataclass(frozen=True, kw_only=True)
class PeerNetworks:
    """Modules by role, and whose weights they have."""

    modules: Mapping[str, nn.Module]
    """Take and give what the bundle's specs say."""
    trained: bool
    """Whether the weights are those that the bundle was made of; else they are random, for times alone."""
    origin: str
    """One line for the reader."""


def peer_networks(bundle: DiffusionBundle, weights: str | None = None) -> PeerNetworks:
    """Return a bundle's networks as modules.

    Args:
        bundle: the bundle.
        weights: what it was made of; may be left out where bundle.json says it, and for `icons`, whose modules then
            have random weights, which take as long.

    Raises:
        UserError: the weights cannot be had, or are not the bundle's.
    """
    from export.verify.references import reference_networks

    try:
        networks = reference_networks(bundle.folder, weights)
    except UserError:
        if weights is not None or not _is_icons(bundle):
            raise
        origin = "random weights in the architecture of the bundle icons: times are those of trained ones"
        return PeerNetworks(modules=random_icons(bundle), trained=False, origin=origin)
    modules = {role: networks[role].module for role in ROLES if role in networks}
    return PeerNetworks(modules=modules, trained=True, origin=f"weights of {weights or 'the recorded source'}")


def _is_icons(bundle: DiffusionBundle) -> bool:
    shapes = {tensor.name: tensor.shape for tensor in bundle.specs["denoiser"].inputs}
    return bundle.latent_shape == (4, 16, 16) and shapes.get("context") == ("B", 17, 384)


def random_icons(bundle: DiffusionBundle) -> dict[str, nn.Module]:
    """Return the modules of the bundle `icons` with random weights."""
    from export.icons.latent_encoder import ScaledMean
    from train.latent_diffusion.autoencoder import IconAutoencoder
    from train.latent_diffusion.text import TextEncoder
    from train.latent_diffusion.unet import IconDenoiser

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return {
            "text_encoder": TextEncoder(MINILM).eval(),
            "denoiser": IconDenoiser().eval(),
            "latent_encoder": ScaledMean(IconAutoencoder(), bundle.latent_scale).eval(),
        }
