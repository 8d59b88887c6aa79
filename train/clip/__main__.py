"""Train the image-text dual encoder of the icon model.

    python -m train.clip --data data/icons.npz --prepared checkpoints/denoiser --out checkpoints/dual

It reads the contexts that the denoiser's training wrote, so that both see the same captions.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from runtime.command.options import parse_options
from runtime.command.ranges import Count, LearningRate
from runtime.errors import run_main
from train.clip.dual import DualEncoder, contrastive_loss
from train.data.archive import read_icons, read_tensors, to_images
from train.fit import fit
from train.norm import to_channels_last
from train.options import TrainOptions


@dataclass(frozen=True, kw_only=True)
class Config(TrainOptions):
    """How to train the dual encoder."""

    data: Path
    """Archive of train.data.icons."""
    prepared: Path
    """Run folder of train.latent_diffusion.denoiser, for its captions' contexts."""
    steps: Count = 6000
    batch: Count = 96
    """Pairs a step."""
    lr: LearningRate = 1e-3


def roughen(images: Float[Tensor, "B 3 H W"], generator: torch.Generator) -> Float[Tensor, "B 3 H W"]:
    """Return pictures moved by up to 6 px, some blurred and some noisy, as samples and optimized SVGs are.

    Args:
        images: RGB in [0, 1], on white.
        generator: source of the draws.
    """
    size = images.shape[-1]
    padded = F.pad(images, (6, 6, 6, 6), value=1.0)
    shifts = torch.randint(0, 13, (len(images), 2), generator=generator).tolist()
    moved = torch.stack([p[:, y : y + size, x : x + size] for p, (y, x) in zip(padded, shifts, strict=True)])
    choice = torch.rand(len(images), 1, 1, 1, generator=generator)
    blurred = F.interpolate(F.avg_pool2d(moved, 4), scale_factor=4, mode="bilinear")
    moved = torch.where(choice < 0.25, blurred, moved)
    noise = 0.08 * torch.randn(moved.shape, generator=generator)
    return torch.where(choice > 0.8, moved + noise, moved).clamp(0, 1)


def main() -> None:
    """Train from a command line."""
    config = parse_options(Config, "train.clip", description=__doc__)
    archive = read_icons(config.data, ("pictures", "concepts", "colours"))
    pictures = torch.from_numpy(archive["pictures"])
    labels = [f"{c}/{k}" for c, k in zip(archive["concepts"].tolist(), archive["colours"].tolist(), strict=True)]
    index = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    label_of_row = torch.tensor([index[label] for label in labels])
    remedy = "give the --out folder of python -m train.latent_diffusion.denoiser"
    data = read_tensors(config.prepared / "prepared.safetensors", ("weights", "rows", "contexts"), remedy)
    torch.manual_seed(config.seed)
    network = to_channels_last(DualEncoder())

    def loss_of_step(network: DualEncoder, generator: torch.Generator) -> Float[Tensor, ""]:
        picked = torch.multinomial(data["weights"], config.batch, replacement=True, generator=generator)
        column = torch.randint(data["rows"].shape[1], (config.batch,), generator=generator)
        images = roughen(to_images(pictures[picked]), generator)
        context = data["contexts"][data["rows"][picked, column]].float()
        same = label_of_row[picked][:, None] == label_of_row[picked][None]
        logits = network(images.to(config.device), context.to(config.device)).float()
        return contrastive_loss(logits, same.to(config.device))

    fit(network, loss_of_step, config.fit_config(warmup=200), print)


if __name__ == "__main__":
    run_main(main)
