"""Train the image-text dual encoder of the icon model.

    python -m train.clip --data data/icons.npz --prepared checkpoints/denoiser --out checkpoints/dual

It reads the contexts that the denoiser's training wrote, so that both see the same captions. With `--redrawn`, half of
the pictures are those of `train.clip.redraw`: it ranks samples, and icons alone do not teach it what samples look like.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from train.clip.dual import DualEncoder, contrastive_loss
from train.fit import FitConfig, fit
from train.norm import to_channels_last


@dataclass(frozen=True, kw_only=True)
class Config:
    """How to train the dual encoder."""

    data: Path
    """Archive of train.data.icons."""
    prepared: Path
    """Run folder of train.latent_diffusion.denoiser, for its captions' contexts."""
    out: Path
    """Run folder; an existing checkpoint in it is resumed."""
    redrawn: Path | None = None
    """Folder of train.clip.redraw, of whose pictures half of each batch is drawn; none where it is left out."""
    steps: int = 14000
    """Optimizer steps."""
    batch: int = 96
    """Pairs a step."""
    rate: float = 1e-3
    """Peak learning rate."""
    seed: int = 0
    """Seed of initialization and draws."""
    device: str = "cpu"
    """PyTorch device."""


def roughen(images: Float[Tensor, "B 3 H W"], generator: torch.Generator) -> Float[Tensor, "B 3 H W"]:
    """Return pictures moved, scaled and turned a little, some blurred and some noisy, as samples and SVGs are.

    They move by up to 6% of their side, are scaled by 0.8 to 1.15 and turned by up to 0.15 radians.

    Args:
        images: (B, 3, H, W) in [0, 1] on white.
        generator: source of the draws.
    """
    angle, scale, right, down = torch.rand(4, len(images), generator=generator)
    angle, scale = 0.3 * angle - 0.15, 1.0 / (0.8 + 0.35 * scale)
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    rows = [torch.stack([cosine, -sine, 0.24 * right - 0.12]), torch.stack([sine, cosine, 0.24 * down - 0.12])]
    places = F.affine_grid(torch.stack(rows).permute(2, 0, 1), list(images.shape), align_corners=False)
    moved = 1.0 - F.grid_sample(1.0 - images, places, align_corners=False)
    choice = torch.rand(len(images), 1, 1, 1, generator=generator)
    blurred = F.interpolate(F.avg_pool2d(moved, 4), scale_factor=4, mode="bilinear")
    moved = torch.where(choice < 0.25, blurred, moved)
    noise = 0.08 * torch.randn(moved.shape, generator=generator)
    return torch.where(choice > 0.8, moved + noise, moved).clamp(0, 1)


def read_redrawn(folder: Path) -> dict[str, Tensor]:
    """Return the pictures (N, 3, H, W) uint8 of train.clip.redraw, the rows (N,) they show and their captions (N,).

    Raises:
        FileNotFoundError: where the folder holds none.
    """
    parts = [load_file(path) for path in sorted(folder.glob("*.safetensors"))]
    if not parts:
        raise FileNotFoundError(f"{folder}: expected pictures of train.clip.redraw, found none; run it first")
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def main() -> None:
    """Train from a command line."""
    config = tyro.cli(Config, description=__doc__)
    with np.load(config.data) as archive:
        pictures = torch.from_numpy(archive["pictures"])
        labels = [f"{c}/{k}" for c, k in zip(archive["concepts"].tolist(), archive["colours"].tolist(), strict=True)]
    index = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    label_of_row = torch.tensor([index[label] for label in labels])
    data = load_file(config.prepared / "prepared.safetensors")
    torch.manual_seed(config.seed)
    network = to_channels_last(DualEncoder())

    redrawn = read_redrawn(config.redrawn) if config.redrawn else None

    def loss_of_step(network: DualEncoder, generator: torch.Generator) -> Float[Tensor, ""]:
        picked = torch.multinomial(data["weights"], config.batch, replacement=True, generator=generator)
        column = torch.randint(data["rows"].shape[1], (config.batch,), generator=generator)
        images, captions = pictures[picked].permute(0, 3, 1, 2), data["rows"][picked, column]
        if redrawn is not None:
            half = config.batch // 2
            chosen = torch.randint(len(redrawn["rows"]), (half,), generator=generator)
            images = torch.cat([redrawn["pictures"][chosen], images[half:]])
            captions = torch.cat([redrawn["captions"][chosen], captions[half:]])
            picked = torch.cat([redrawn["rows"][chosen], picked[half:]])
        images = roughen(images.float() / 255.0, generator)
        context = data["contexts"][captions].float()
        same = label_of_row[picked][:, None] == label_of_row[picked][None]
        logits = network(images.to(config.device), context.to(config.device)).float()
        return contrastive_loss(logits, same.to(config.device))

    fit(
        network,
        loss_of_step,
        FitConfig(
            out=config.out, steps=config.steps, rate=config.rate, seed=config.seed, device=config.device, warmup=200
        ),
        print,
    )


if __name__ == "__main__":
    main()
