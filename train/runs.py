"""A run folder of training says what it is of: config.json beside the files of `train.fit`.

A checkpoint of anything else than what is asked for is refused before a tensor of it is read.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from runtime.engines.strict_json import parse_value
from runtime.errors import UserError
from runtime.files import check_ordinary, read_ordinary, replace_file
from train.outputs import make_folder

ConfigT = TypeVar("ConfigT")
NetworkT = TypeVar("NetworkT", bound=nn.Module)


def write_config(folder: Path, config: Any, version: int, read: Callable[[Path], Any]) -> None:
    """Write config.json, or, where the folder has one, check that it says the same.

    Args:
        folder: the run folder.
        config: a dataclass: what the run is of.
        version: of the file's format.
        read: reads it back.

    Raises:
        UserError: where the folder holds the run of something else.
    """
    file = folder / "config.json"
    if file.is_file():
        for name, began in asdict(read(folder)).items():
            now = asdict(config)[name]
            if began != now:
                raise UserError(
                    f"run '{folder}': {name}: expected {_difference(now, began)} as asked, got a checkpoint of "
                    f"{_difference(began, now)}; choose another --out, or ask for what the run began with"
                )
        return
    make_folder(folder)
    replace_file(file, json.dumps({"format": version, **asdict(config)}, indent=2) + "\n")


def read_config(folder: Path, version: int, build: Callable[[dict[str, Any]], ConfigT], command: str) -> ConfigT:
    """Return what a run folder is of.

    Args:
        folder: the run folder.
        version: of the file's format that is expected.
        build: makes the dataclass of the file's fields.
        command: whose --out folder it should be, such as "train.lmconv".

    Raises:
        UserError: where it is no run folder, or one of another version.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise UserError(f"run '{folder}': no config.json is here; give the --out folder of python -m {command}")
    try:
        values = parse_value(read_ordinary(file, 1 << 24))
        if values.pop("format") != version:
            raise ValueError("another format")
        return build(values)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"run '{folder}': config.json is not one of this version ({error}); train anew") from error


def load_weights(network: NetworkT, folder: Path) -> NetworkT:
    """Return the network with the averaged weights of a run folder.

    Raises:
        UserError: where there are none yet, or they are of another architecture.
    """
    file = folder / "ema.safetensors"
    if not file.is_file():
        raise UserError(f"run '{folder}': no ema.safetensors is here yet; wait for the first checkpoint")
    try:
        check_ordinary(file)
        weights = load_file(file)
    except (OSError, SafetensorError) as error:
        raise UserError(f"'{file}' cannot be read: {error}") from error
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    got = {name: tuple(value.shape) for name, value in weights.items()}
    for name in sorted(expected.keys() | got.keys()):
        if expected.get(name) != got.get(name):
            raise UserError(
                f"'{file}': expected {name} of shape {expected.get(name)}, got {got.get(name)}: it holds the weights "
                "of another architecture than its config.json; take both files from one run"
            )
    network.load_state_dict(weights)
    return network


def _difference(value: Any, other: Any) -> str:
    """Return a value as text; of a dictionary only what differs from another one."""
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items() if other.get(k) != v)
    return str(value)
