"""A run folder of pixelNeRF's training: config.json beside the files of `train.fit`."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from runtime.errors import UserError
from runtime.files import replace_file
from train.pixelnerf.network import Architecture, PixelNeRF


def write_run(folder: Path, architecture: Architecture) -> None:
    """Write config.json, or, where the folder has one, check that it is of the same network.

    Raises:
        UserError: where the folder holds the run of another network.
    """
    if (folder / "config.json").is_file():
        began = read_run(folder)
        if began != architecture:
            raise UserError(
                f"run '{folder}': expected {architecture}, got a checkpoint of {began}; choose another --out"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / "config.json", json.dumps(asdict(architecture), indent=2) + "\n")


def read_run(folder: Path) -> Architecture:
    """Return the network that a run folder is of.

    Raises:
        UserError: where it is no such folder.
    """
    try:
        return Architecture(**json.loads((folder / "config.json").read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"'{folder}': expected a run of python -m train.pixelnerf, got {error!s:.100}; give its --out"
        ) from None


def load_run(folder: Path) -> PixelNeRF:
    """Return the network of a run with its averaged weights.

    Raises:
        UserError: where there is no such run, or its weights do not fit.
    """
    network = PixelNeRF(read_run(folder))
    try:
        network.load_state_dict(load_file(folder / "ema.safetensors"))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UserError(f"'{folder}': expected averaged weights in ema.safetensors, got {error!s:.100}") from None
    return network.eval().to(torch.float32)
