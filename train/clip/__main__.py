r"""Train the image-text dual encoder of the icon model.

    python -m train.clip --data data/icons.npz --prepared checkpoints/denoiser --out checkpoints/dual
    python -m train.clip --data data/icons.npz --prepared checkpoints/denoiser --out checkpoints/dual-objects \
        --objects objects --start icons

It reads the contexts that the denoiser's training wrote, so that both see the same captions. With a set of objects, a
part of each batch is views of them from all sides; it may begin from the dual encoder of a bundle.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Interval
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from runtime.command.options import parse_options
from runtime.command.ranges import Count, LearningRate
from runtime.engines.bundle.diffusion import DiffusionBundle
from runtime.errors import run_main
from train.clip.dual import DualEncoder, contrastive_loss
from train.clip.objects import ObjectPairs, Pairs
from train.clip.restore import restore_dual
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
    objects: Path | None = None
    """Folder of a captioned set of objects seen from 16 sides: objects.json and views/."""
    share: Annotated[float, Interval(gt=0, lt=1)] = 0.4
    """Part of each batch that is views of objects, where there are some."""
    bundle: str = "icons"
    """Bundle whose text encoder the objects' captions are encoded by: its name, or a folder."""
    start: str | None = None
    """Bundle whose dual encoder is trained on: its name, or a folder; by default a new one is trained."""
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


def object_pairs(folder: Path, bundle: str) -> ObjectPairs:
    """Return the views of a set of objects, their captions encoded by a bundle."""
    return ObjectPairs.load(folder, DiffusionBundle.load(bundle).text_encoder())


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
    views = None if config.objects is None else object_pairs(config.objects, config.bundle)
    # At least one of each, or a batch would show nothing of what was asked for.
    seen = 0 if views is None else min(max(1, round(config.share * config.batch)), config.batch - 1)
    torch.manual_seed(config.seed)
    network = DualEncoder() if config.start is None else restore_dual(DiffusionBundle.load(config.start))
    network = to_channels_last(network)

    def draw_icons(count: int, generator: torch.Generator) -> Pairs:
        picked = torch.multinomial(data["weights"], count, replacement=True, generator=generator)
        column = torch.randint(data["rows"].shape[1], (count,), generator=generator)
        context = data["contexts"][data["rows"][picked, column]].float()
        return Pairs(to_images(pictures[picked]), context, label_of_row[picked])

    def loss_of_step(network: DualEncoder, generator: torch.Generator) -> Float[Tensor, ""]:
        pairs = draw_icons(config.batch - seen, generator)
        if views is not None:
            pairs = pairs + views.draw(seen, generator)
        images = roughen(pairs.images, generator)
        same = pairs.labels[:, None] == pairs.labels[None]
        logits = network(images.to(config.device), pairs.contexts.to(config.device)).float()
        return contrastive_loss(logits, same.to(config.device))

    fit(network, loss_of_step, config.fit_config(warmup=200), print)


if __name__ == "__main__":
    run_main(main)
