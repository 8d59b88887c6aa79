"""A small network with random weights, its run folder, and its bundle."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from export.pixelnerf import write_pixelnerf
from train.pixelnerf.network import Architecture, PixelNeRF
from train.pixelnerf.runs import write_run

ARCHITECTURE = Architecture(side=32, width=16, blocks=1, joint=1)


def small_network() -> PixelNeRF:
    """Return a network whose field is dense near the middle of the ball."""
    torch.manual_seed(0)
    return PixelNeRF(ARCHITECTURE).eval()


def make_run(folder: Path) -> Path:
    """Write the files of a run that an export reads."""
    write_run(folder, ARCHITECTURE)
    save_file(
        {name: value.contiguous() for name, value in small_network().state_dict().items()}, folder / "ema.safetensors"
    )
    return folder


def make_bundle(folder: Path) -> Path:
    """Write a bundle."""
    write_pixelnerf(small_network(), folder, lambda line: None)
    return folder
