"""The file that training continues from: arrays of bytes, half-precision weights, and what they are of."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from runtime.arrays import read_arrays
from runtime.engines.strict_json import check_fields, parse_object
from runtime.errors import UserError
from runtime.files import replace_file

FORMAT = 1
"""Version of the file; another one is refused."""

GREATEST = 40 << 20
"""Bytes that a file may have: with the tree it is to fit where 64 MiB may be carried."""

_WEIGHT = "weight/"


@dataclass(frozen=True)
class Archive:
    """What training continues from."""

    subject: str
    """What is trained, a key of `subjects.SUBJECTS`."""
    config: dict[str, Any]
    """The run's config.json."""
    arrays: Mapping[str, np.ndarray]
    """Data by name."""
    weights: Mapping[str, np.ndarray]
    """Averaged weights by the network's names, floating ones in float16."""

    def load_into(self, network: nn.Module) -> None:
        """Give a network the weights.

        Raises:
            UserError: they are of another network.
        """
        state = {name: torch.from_numpy(value).float() for name, value in self.weights.items()}
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise UserError(f"arrays of '{self.subject}': {' '.join(str(error).split())[:200]}") from None

    def tensors(self, device: str) -> dict[str, Tensor]:
        """Return the data as tensors on a device."""
        return {name: torch.from_numpy(value).to(device) for name, value in self.arrays.items()}


def write_archive(path: Path, archive: Archive) -> int:
    """Write the file, compressed, and return its bytes.

    Raises:
        UserError: it would be larger than `GREATEST`, or a file of another kind has its name.
    """
    about = {"format": FORMAT, "subject": archive.subject, "config": archive.config}
    content = io.BytesIO()
    entries = {**archive.arrays, **{_WEIGHT + name: value for name, value in archive.weights.items()}}
    entries["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez_compressed(content, **entries)  # pyright: ignore[reportArgumentType]
    size = content.getbuffer().nbytes
    if size > GREATEST:
        raise UserError(f"'{path}': expected at most {GREATEST >> 20} MiB, got {size / 2**20:.1f}; take fewer pictures")
    if path.exists():
        try:
            read_archive(path)
        except UserError:
            raise UserError(f"'{path}' exists, and this command has not written it; choose another --out") from None
    replace_file(path, content.getbuffer())
    return size


def read_archive(path: Path) -> Archive:
    """Return what a file holds.

    Raises:
        UserError: it is none of these.
    """
    try:
        values = read_arrays(path)
        about = parse_object(values.pop("about", np.empty(0)).tobytes(), "about")
        about = check_fields(about, "about", {"format": int, "subject": str, "config": dict})
        if about["format"] != FORMAT:
            raise UserError(f"format {about['format']}")
    except UserError as error:
        raise UserError(
            f"--arrays '{path}': expected a file of python -m train.further prepare, got {error!s:.100}"
        ) from None
    weights = {n.removeprefix(_WEIGHT): value for n, value in values.items() if n.startswith(_WEIGHT)}
    arrays = {name: value for name, value in values.items() if not name.startswith(_WEIGHT)}
    return Archive(about["subject"], about["config"], arrays, weights)


def halved(network: nn.Module) -> dict[str, np.ndarray]:
    """Return a network's weights by name, floating ones in float16."""
    state = {name: value.cpu() for name, value in network.state_dict().items()}
    return {name: (value.half() if value.is_floating_point() else value).numpy() for name, value in state.items()}
