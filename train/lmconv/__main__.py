"""Train a locally masked PixelCNN on pictures, under several generation orders at once.

    python -m train.lmconv --data mnist --binarized --orders s-curve:8 --out runs/mnist

One order is drawn for each step (order-agnostic training, Thesis Eq. 2.6), its masks precomputed. A run that is
interrupted resumes from its last checkpoint with the same command. To grow the resolution, train at half the size first
and give that run to --start. Under `accelerate launch --num-processes N -m train.lmconv ...` N processes share the
work.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.command.options import parse_options
from runtime.command.ranges import Amount, Count, Duration, LearningRate, Seed, Share, Whole
from runtime.errors import UserError, run_main
from runtime.pixels.orders import parse_orders
from train.fit import FitConfig, fit
from train.lmconv.data import Binarization, Name, Pictures, load_pictures
from train.lmconv.likelihood import log_likelihoods
from train.lmconv.network import PRESETS, Architecture, LocallyMaskedPixelCNN
from train.lmconv.runs import RunConfig, load_weights, write_run

Preset = Literal["small", "thesis-46m", "celeba-184m"]

SCHEDULES = {
    "small": {"lr": 2e-3, "decay": 0.0, "warmup": 300, "batch": 16},
    "thesis-46m": {"lr": 2e-4, "decay": 5e-6, "warmup": 0, "batch": 32},
    "celeba-184m": {"lr": 2e-4, "decay": 5e-6, "warmup": 0, "batch": 5},
}
"""For each preset its learning rate, its fall a step (0: a cosine), warm-up, and batch (Thesis 8.3)."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to train, on what, and for how long."""

    data: Name
    """Data set."""
    out: Path
    """Run folder; an existing checkpoint in it is resumed."""
    data_dir: Path | None = None
    """Folder or npz archive with the data, by default data/NAME; see train/lmconv/data.py."""
    orders: str = "s-curve:8"
    """Orders to train with: s-curve:8 for all eight, s-curve:0, raster, hilbert:8, and lists with commas."""
    preset: Preset = "small"
    """Size of the network, and its schedule."""
    binarized: bool = False
    """Model grey pictures as black and white ones."""
    binarization: Literal["dynamic", "static"] = "dynamic"
    """Draw training pictures anew at every step, or once for all."""
    size: int | None = None
    """Side in pixels to which the pictures of a folder are reduced."""
    bits: int | None = None
    """Depth of a channel, 1 to 8; by default 5 for celeba-hq and 8 for others."""
    mask_conditioning: bool = False
    """Let every layer know its masks."""
    start: Path | None = None
    """Run folder whose averaged weights a fresh run begins with, as one of half the resolution."""
    steps: Count = 20000
    """Optimizer steps."""
    batch: Count | None = None
    """Pictures a step; by default the preset's."""
    lr: LearningRate | None = None
    """Peak learning rate; by default the preset's."""
    clip: Duration = 1.0
    """Greatest norm of the gradient of the mean nats of a dimension."""
    ema: Share = 0.999
    """Decay of the moving average of the weights."""
    tail: Whole = 0
    """Last steps whose weights are averaged uniformly instead."""
    minutes: Amount = 3.0
    """Minutes between checkpoints."""
    seed: Seed = 0
    """Seed of initialization and draws."""
    device: str = "cpu"
    """PyTorch device."""
    bf16: bool = True
    """Compute in bfloat16; weights and likelihoods stay float32."""


def run_of(config: Config, pictures: Pictures) -> RunConfig:
    """Return what the run folder is of."""
    architecture = Architecture(
        channels=pictures.channels,
        levels=pictures.levels,
        mask_conditioning=config.mask_conditioning,
        **PRESETS[config.preset],
    )
    binarization = config.binarization if config.binarized else "none"
    return RunConfig(
        architecture=architecture,
        data=config.data,
        binarization=binarization,
        size=pictures.size,
        orders=config.orders,
    )


def fit_config(config: Config) -> FitConfig:
    """Return how the loop trains."""
    schedule = SCHEDULES[config.preset]
    return FitConfig(
        out=config.out,
        steps=config.steps,
        lr=config.lr or schedule["lr"],
        decay=schedule["decay"],
        warmup=schedule["warmup"],
        weight_decay=0.0,
        ema=config.ema,
        tail=config.tail,
        clip=config.clip,
        seed=config.seed,
        minutes=config.minutes,
        device=config.device,
        bf16=config.bf16,
    )


def train(config: Config, report: Callable[[str], None] = print) -> LocallyMaskedPixelCNN:
    """Return the trained network; everything is in the run folder.

    Raises:
        UserError: where the data, the orders or an existing run folder do not fit.
    """
    binarization: Binarization = config.binarization if config.binarized else "none"
    pictures = load_pictures(
        config.data, config.data_dir, binarization=binarization, size=config.size, bits=config.bits
    )
    orders = parse_orders(config.orders, pictures.size)
    run = run_of(config, pictures)
    torch.manual_seed(config.seed)
    network = LocallyMaskedPixelCNN(run.architecture)
    if config.start is not None:
        load_weights(network, config.start)
    network.to(config.device)
    masks = [network.masks(order, pictures.size) for order in orders]
    batch = config.batch or int(SCHEDULES[config.preset]["batch"])
    if batch < 1 or config.steps < 1:
        raise UserError(f"--batch and --steps: expected at least 1, got {batch} and {config.steps}")
    write_run(config.out, run)  # only now: where an option is refused, no run folder is made
    dimensions = math.prod(pictures.train.shape[1:])

    def loss_of_step(network: LocallyMaskedPixelCNN, generator: torch.Generator) -> Float[Tensor, ""]:
        mask = masks[int(torch.randint(len(masks), (), generator=generator))]
        drawn = pictures.draw(batch, generator).to(config.device)
        return -log_likelihoods(network, drawn, mask).sum() / (len(drawn) * dimensions)

    def describe(loss: float) -> str:
        return f"{loss * dimensions:.2f} nats  {loss / math.log(2.0):.4f} bits/dim"

    fit(network, loss_of_step, fit_config(config), report, describe)
    return network


def main() -> None:
    """Train from a command line."""
    train(parse_options(Config, "train.lmconv", description=__doc__))


if __name__ == "__main__":
    run_main(main)
