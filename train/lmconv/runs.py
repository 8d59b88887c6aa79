"""A run folder of LMConv training: config.json beside the files of `train.fit`.

config.json says what the network is and what it was trained on; a checkpoint of anything else is refused before a
tensor of it is read.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from runtime.errors import UserError
from runtime.files import replace_file
from train.lmconv.network import Architecture, LocallyMaskedPixelCNN

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
    """Write config.json, or, where the folder has one, check that it says the same.

    Raises:
        UserError: where the folder holds the run of another architecture, data set or other orders.
    """
    file = folder / "config.json"
    if file.is_file():
        for name, began in asdict(read_run(folder)).items():
            now = asdict(config)[name]
            if began != now:
                raise UserError(
                    f"run '{folder}': {name}: expected {_difference(now, began)} as asked, got a checkpoint of "
                    f"{_difference(began, now)}; choose another --out, or ask for what the run began with"
                )
        return
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(file, json.dumps({"format": FORMAT, **asdict(config)}, indent=2) + "\n")


def _difference(value: Any, other: Any) -> str:
    """Return a value as text; of a dictionary only what differs from another one."""
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items() if other.get(k) != v)
    return str(value)


def read_run(folder: Path) -> RunConfig:
    """Return what a run folder is of.

    Raises:
        UserError: where it is no run folder, or one of another version.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise UserError(f"run '{folder}': no config.json is here; give the --out folder of python -m train.lmconv")
    try:
        values = json.loads(file.read_text("utf-8"))
        if values.pop("format") != FORMAT:
            raise ValueError("another format")
        values["architecture"] = Architecture(**values["architecture"])
        values["size"] = tuple(values["size"])
        return RunConfig(**values)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"run '{folder}': config.json is not one of this version ({error}); train anew") from error


def load_weights(network: LocallyMaskedPixelCNN, folder: Path) -> LocallyMaskedPixelCNN:
    """Return the network with the averaged weights of a run folder.

    Raises:
        UserError: where there are none yet, or they are of another architecture.
    """
    file = folder / "ema.safetensors"
    if not file.is_file():
        raise UserError(f"run '{folder}': no ema.safetensors is here yet; wait for the first checkpoint")
    try:
        weights = load_file(file)
    except (OSError, SafetensorError) as error:
        raise UserError(f"'{file}' cannot be read: {error}") from error
    expected = {name: tuple(value.shape) for name, value in network.named_parameters()}
    got = {name: tuple(value.shape) for name, value in weights.items()}
    for name in sorted(expected.keys() | got.keys()):
        if expected.get(name) != got.get(name):
            raise UserError(
                f"'{file}': expected {name} of shape {expected.get(name)}, got {got.get(name)}: it holds the weights "
                "of another architecture than its config.json; take both files from one run"
            )
    network.load_state_dict(weights)
    return network


def load_run(folder: Path) -> tuple[LocallyMaskedPixelCNN, RunConfig]:
    """Return a run's network with its averaged weights, in evaluation mode, and what the run is of.

    Raises:
        UserError: as of `read_run` and `load_weights`.
    """
    config = read_run(folder)
    with torch.device("meta"):
        network = LocallyMaskedPixelCNN(config.architecture)
    return load_weights(network.to_empty(device="cpu"), folder).eval(), config
