"""Train the icon autoencoder: 128x128 RGB to 16x16x4 latents and back.

    python -m train.latent_diffusion.autoencoder --data data/icons.npz --out checkpoints/soft

A `diffusers.AutoencoderKL` between a pixel-unshuffle and a pixel-shuffle by 4: the first and dearest level runs at
32x32, three times as fast on a CPU as one that starts at 64x64.
Trained on icons, and on icons with permuted channels, other backgrounds and other zooms, since the pictures whose
gradient it has to give later are drawn by an optimizer, not by a designer.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from runtime.command.options import parse_options
from runtime.command.ranges import Amount, Count, LearningRate
from runtime.errors import run_main
from train.data.archive import read_pictures, to_images
from train.fit import fit
from train.norm import to_channels_last
from train.options import TrainOptions
from train.runs import load_weights

AUTOENCODER = {
    "in_channels": 48,
    "out_channels": 48,
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "block_out_channels": [96, 128],
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 16,
    "mid_block_add_attention": False,
    "sample_size": 32,
}
"""Keyword arguments of `diffusers.AutoencoderKL`."""

UNSHUFFLE = 4
"""Factor of the pixel-unshuffle in front of the encoder, and of the shuffle behind the decoder."""


class IconAutoencoder(nn.Module):
    """An AutoencoderKL on pixel-unshuffled pictures."""

    def __init__(self) -> None:
        """Make the network with the default initialization."""
        super().__init__()
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

        self.vae: Any = AutoencoderKL(**AUTOENCODER)  # its annotations name no tensors

    def moments(
        self, images: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B 4 H//8 W//8"], Float[Tensor, "B 4 H//8 W//8"]]:
        """Return the mean and the log-variance of the latents of RGB in [0, 1]."""
        parameters = self.vae.encode(F.pixel_unshuffle(2.0 * images - 1.0, UNSHUFFLE)).latent_dist
        return parameters.mean, parameters.logvar

    def decode(self, latents: Float[Tensor, "B 4 h w"]) -> Float[Tensor, "B 3 8*h 8*w"]:
        """Return RGB, nominally in [0, 1]."""
        return 0.5 * F.pixel_shuffle(self.vae.decode(latents).sample, UNSHUFFLE) + 0.5


@dataclass(frozen=True, kw_only=True)
class Config(TrainOptions):
    """How to train the autoencoder."""

    data: Path
    """Archive of train.data.icons."""
    steps: Count = 3000
    batch: Count = 16
    """Pictures a step."""
    lr: LearningRate = 1e-3
    kl: Amount = 1e-4
    """Weight of the divergence from a unit Gaussian."""
    edges: Amount = 1.0
    """Weight of the L1 difference of image gradients."""


def disturb(images: Float[Tensor, "B 3 H W"], generator: torch.Generator) -> Float[Tensor, "B 3 H W"]:
    """Return pictures of which some have permuted channels, another background, or a zoomed cut.

    Args:
        images: RGB in [0, 1].
        generator: source of the draws.
    """
    images = images.clone()
    draws = torch.rand(len(images), 3, generator=generator)
    for i, (permute, background, zoom) in enumerate(draws.tolist()):
        if permute < 0.25:
            images[i] = images[i, torch.randperm(3, generator=generator)]
        if background < 0.2:
            colour = torch.rand(3, 1, 1, generator=generator)
            white = images[i].amin(0, keepdim=True) ** 8
            images[i] = images[i] * (1 - white) + colour * white
        if zoom < 0.2:
            size = int(torch.randint(48, 112, (), generator=generator))
            top, left = torch.randint(0, images.shape[-1] - size + 1, (2,), generator=generator).tolist()
            crop = images[i : i + 1, :, top : top + size, left : left + size]
            images[i] = F.interpolate(crop, images.shape[-2:], mode="bilinear", antialias=True)[0]
    return images


def reconstruction_loss(
    target: Float[Tensor, "B C H W"], output: Float[Tensor, "B C H W"], edges: float
) -> Float[Tensor, ""]:
    """Return mean |error| plus `edges` times the mean |error| of horizontal and vertical differences."""
    error = output.float() - target
    loss = error.abs().mean()
    for axis in (-1, -2):
        loss = loss + 0.5 * edges * error.diff(dim=axis).abs().mean()
    return loss


def load(run: Path) -> IconAutoencoder:
    """Return the trained autoencoder of a run folder; errors as of `train.runs.load_weights`."""
    return load_weights(IconAutoencoder(), run)


def main() -> None:
    """Train from a command line."""
    config = parse_options(Config, "train.latent_diffusion.autoencoder", description=__doc__)
    pictures = read_pictures(config.data)
    torch.manual_seed(config.seed)
    network = to_channels_last(IconAutoencoder())

    def loss_of_step(network: IconAutoencoder, generator: torch.Generator) -> Float[Tensor, ""]:
        rows = torch.randint(len(pictures), (config.batch,), generator=generator)
        images = disturb(to_images(pictures[rows]), generator)
        images = images.to(config.device).contiguous(memory_format=torch.channels_last)
        mean, logvar = (m.float() for m in network.moments(images))
        noise = torch.randn(mean.shape, generator=generator).to(mean)
        divergence = 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).mean()
        output = network.decode(mean + (0.5 * logvar).exp() * noise)
        return reconstruction_loss(images, output, config.edges) + config.kl * divergence

    fit(network, loss_of_step, config.fit_config(warmup=100), print)


if __name__ == "__main__":
    run_main(main)
