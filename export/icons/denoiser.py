"""The denoiser: noised latents, times and contexts to the predicted noise."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from export.icons.weights import Weights
from export.network import ExportedNetwork, batched
from export.samples import noised
from runtime.guidance.schedule import Schedule
from train.latent_diffusion.text import LENGTH, WIDTH
from train.latent_diffusion.unet import SCHEDULE


def make_network(weights: Weights) -> ExportedNetwork:
    """Return the U-Net; it is verified on latents of icons, noised to times over the whole schedule."""
    return export_denoiser(weights.denoiser, weights.latents, weights.context())


def export_denoiser(
    network: nn.Module, latents: Float[Tensor, "V 4 16 16"], contexts: Float[Tensor, "V 17 384"]
) -> ExportedNetwork:
    """Return an `IconDenoiser`, verified on scaled latents with contexts, noised to times over the whole schedule."""
    sample, timestep = noised(latents, Schedule.of(SCHEDULE), torch.Generator().manual_seed(0))
    return ExportedNetwork(
        spec=batched(
            "denoiser",
            {"sample": (4, 16, 16), "timestep": ("int64",), "context": (1 + LENGTH, WIDTH)},
            {"epsilon": (4, 16, 16)},
        ),
        module=network,
        samples=(sample, timestep, contexts),
    )
