"""A run folder of pixelNeRF's training, for `train.runs`: what config.json says of it."""

from pathlib import Path
from typing import Any

from train.pixelnerf.network import Architecture, PixelNeRF
from train.runs import load_weights, read_config, write_config

FORMAT = 1
"""Version of config.json; another one is refused."""


def write_run(folder: Path, architecture: Architecture) -> None:
    """Write config.json; arguments and errors as of `train.runs.write_config`."""
    write_config(folder, architecture, FORMAT, read_run)


def read_run(folder: Path) -> Architecture:
    """Return the network that a run folder is of; errors as of `train.runs.read_config`."""

    def build(values: dict[str, Any]) -> Architecture:
        return Architecture(**values)

    return read_config(folder, FORMAT, build, "train.pixelnerf")


def load_run(folder: Path) -> PixelNeRF:
    """Return the network of a run with its averaged weights; errors as of `train.runs.load_weights`."""
    return load_weights(PixelNeRF(read_run(folder)), folder).eval()
