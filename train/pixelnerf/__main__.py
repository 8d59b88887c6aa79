"""Train pixelNeRF on a set of posed objects: from one to three views of each to all others.

    python -m train.pixelnerf --data objects --out runs/pixelnerf

A run that is interrupted resumes from its last checkpoint with the same command. The averaged weights in the run folder
are whole after every checkpoint, so that a run may be ended at any time; `python -m export pixelnerf` takes them.

Most of the gradient's noise is that of the objects and their input pictures, not of the rays: more objects a step, or
more processes, pay; more rays do not. On two cores:

    torchrun --nproc-per-node 2 -m -- train.pixelnerf --data objects --out runs/pixelnerf --exchange 16 --limit 90

`--start pixelnerf --silhouette 0.02` trains on from the weights of the bundle.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Interval
from jaxtyping import Float
from torch import Tensor

from runtime.command.options import parse_options
from runtime.command.ranges import check_ranges
from runtime.engines.bundle.pixelnerf import PixelNeRFBundle
from runtime.errors import UserError, run_main
from train.fit import FitConfig, fit
from train.pixelnerf.loss import SILHOUETTE, Batch, loss_of_batch
from train.pixelnerf.network import Architecture, PixelNeRF
from train.pixelnerf.objects import load_objects, read_set
from train.pixelnerf.restore import restore_pixelnerf
from train.pixelnerf.runs import write_run


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to train, on what, and for how long."""

    data: Path
    """Folder of the set: objects.json, cameras.npz, views/."""
    out: Path
    """Run folder; an existing checkpoint in it is resumed."""
    cache: Path | None = None
    """Folder of the reduced pictures, some 540 MB at 64 px; by default the run folder."""
    start: str | None = None
    """Name or folder of a bundle whose weights training starts from; none starts from random ones."""
    encoder: Literal["small", "resnet34"] = "small"
    """A U-Net for CPUs, or the paper's ResNet-34."""
    side: int = 64
    """Height and width that pictures are reduced to, pixels: 32, 64 or 128."""
    objects: Annotated[int, Ge(1)] = 8
    """Objects a step."""
    rays: Annotated[int, Ge(1)] = 40
    """Rays through each of the two target views of an object."""
    single: Annotated[float, Interval(ge=0, le=1)] = 0.7
    """Share of steps with one input picture; the others have two or three."""
    silhouette: Annotated[float, Interval(ge=0, le=10)] = SILHOUETTE
    """Weight of the cross entropy of opacities; a network that is trained already needs less of it than a new one."""
    steps: Annotated[int, Ge(1)] = 20000
    """Optimizer steps."""
    lr: Annotated[float, Interval(ge=1e-8, le=1)] = 1e-3
    """Peak learning rate."""
    decay: Annotated[float, Interval(ge=0, le=0.5)] = 2e-4
    """Fall of the learning rate a step; 0 for a cosine over all steps, or over the limited time."""
    limit: Annotated[float, Ge(0)] = 0.0
    """Minutes after which training ends, whatever its step; 0 for none."""
    exchange: Annotated[int, Ge(1)] = 1
    """Steps between exchanges of several processes: 1 averages gradients, more averages weights."""
    ema: Annotated[float, Interval(ge=0, le=0.999999)] = 0.998
    """Decay of the moving average of the weights."""
    minutes: Annotated[float, Ge(0)] = 3.0
    """Minutes between checkpoints."""
    seed: Annotated[int, Interval(ge=0, le=2**63 - 1)] = 0
    """Seed of initialization and draws."""


def train(config: Config, report: Callable[[str], None] = print) -> PixelNeRF:
    """Return the trained network; everything is in the run folder.

    Raises:
        UserError: where the data, the sizes or an existing run folder do not fit.
    """
    check_ranges(config)
    if config.side not in (32, 64, 128):
        raise UserError(f"--side: expected 32, 64 or 128, got {config.side}")
    architecture = Architecture(encoder=config.encoder, side=config.side)
    read_set(config.data)  # first: where there is no such set or no such bundle, no run folder is made
    torch.manual_seed(config.seed)
    network = PixelNeRF(architecture)
    if config.start is not None:
        network = restore_pixelnerf(PixelNeRFBundle.load(config.start, threads=1), architecture)
    write_run(config.out, architecture)
    objects = load_objects(config.data, config.cache or config.out, config.side)
    batch = Batch(objects=config.objects, rays=config.rays, single=config.single, silhouette=config.silhouette)

    def loss_of_step(network: PixelNeRF, generator: torch.Generator) -> Float[Tensor, ""]:
        return loss_of_batch(network, objects, batch, generator)

    fit_config = FitConfig(
        out=config.out,
        steps=config.steps,
        lr=config.lr,
        warmup=100,
        decay=config.decay,
        ema=config.ema,
        limit=config.limit,
        exchange=config.exchange,
        seed=config.seed,
        minutes=config.minutes,
        bf16=False,
    )
    fit(network, loss_of_step, fit_config, report)
    return network


def main() -> None:
    """Train from a command line."""
    train(parse_options(Config, "train.pixelnerf", description=__doc__))


if __name__ == "__main__":
    run_main(main)
