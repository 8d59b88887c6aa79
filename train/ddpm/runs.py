"""A run folder of DDPM training: what its config.json says, and its network."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from train import runs
from train.ddpm.network import Architecture, PixelDenoiser

FORMAT = 1
"""Version of config.json; another one is refused."""

SCHEDULE = {
    "num_timesteps": 1000,
    "beta_start": 1e-4,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "prediction_type": "epsilon",
}
"""The noise schedule of the paper, section 4."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What a run folder is of."""

    architecture: Architecture
    """The network."""
    data: str
    """Name of the data set, or the folder of pictures."""
    sets: str = ""
    """Icon sets trained on, with commas; empty: all of them."""
    schedule: dict[str, Any] = field(default_factory=lambda: dict(SCHEDULE))
    """num_timesteps, beta_start, beta_end, beta_schedule and prediction_type, as diffusers names them."""


def write_run(folder: Path, config: RunConfig) -> None:
    """Write config.json, or check the one that is there; errors as of `train.runs.write_config`."""
    runs.write_config(folder, config, FORMAT, read_run)


def read_run(folder: Path) -> RunConfig:
    """Return what a run folder is of; errors as of `train.runs.read_config`."""
    return runs.read_config(folder, FORMAT, _build, "train.ddpm")


def _build(values: dict[str, Any]) -> RunConfig:
    architecture = values["architecture"]
    for name in ("widths", "attention"):
        architecture[name] = tuple(architecture[name])
    return RunConfig(**{**values, "architecture": Architecture(**architecture)})


def load_run(folder: Path) -> tuple[PixelDenoiser, RunConfig]:
    """Return a run's network with its averaged weights, in evaluation mode, and what the run is of.

    Raises:
        UserError: as of `read_run` and `train.runs.load_weights`.
    """
    config = read_run(folder)
    with torch.device("meta"):
        network = PixelDenoiser(config.architecture)
    return runs.load_weights(network.to_empty(device="cpu"), folder).eval(), config
