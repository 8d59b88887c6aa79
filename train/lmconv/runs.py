"""A run folder of LMConv training: what its config.json says, and its network."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from train import runs
from train.lmconv.network import Architecture, LocallyMaskedPixelCNN
from train.runs import load_weights

FORMAT = 1
"""Version of config.json; another one is refused."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What a run folder is of."""

    architecture: Architecture
    """The network."""
    data: str
    """Name of the data set."""
    binarization: str
    """How grey levels became two: none, dynamic or static."""
    size: tuple[int, int]
    """Height and width of the pictures."""
    orders: str
    """The orders trained with, as `runtime.pixels.orders.parse_orders` reads them."""


def write_run(folder: Path, config: RunConfig) -> None:
    """Write config.json, or check the one that is there; errors as of `train.runs.write_config`."""
    runs.write_config(folder, config, FORMAT, read_run)


def read_run(folder: Path) -> RunConfig:
    """Return what a run folder is of; errors as of `train.runs.read_config`."""
    return runs.read_config(folder, FORMAT, _build, "train.lmconv")


def _build(values: dict[str, Any]) -> RunConfig:
    values["architecture"] = Architecture(**values["architecture"])
    values["size"] = tuple(values["size"])
    return RunConfig(**values)


def load_run(folder: Path) -> tuple[LocallyMaskedPixelCNN, RunConfig]:
    """Return a run's network with its averaged weights, in evaluation mode, and what the run is of.

    Raises:
        UserError: as of `read_run` and `load_weights`.
    """
    config = read_run(folder)
    with torch.device("meta"):
        network = LocallyMaskedPixelCNN(config.architecture)
    return load_weights(network.to_empty(device="cpu"), folder).eval(), config
