"""How the archive that `train.data.icons` writes is read, and tensors that training has stored."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from runtime.arrays import read_arrays
from runtime.errors import UserError
from runtime.files import check_ordinary

FIELDS = ("pictures", "captions", "colours", "concepts", "sets", "kinds")
"""Arrays of the archive."""


def read_icons(archive: Path, names: Sequence[str] = FIELDS) -> dict[str, np.ndarray]:
    """Return some arrays of an archive by name.

    Raises:
        UserError: it is none, or lacks one.
    """
    remedy = "make it with python -m train.data.icons"
    try:
        arrays = read_arrays(archive, names)
    except UserError as error:
        raise UserError(f"{error}; {remedy}") from None
    if missing := [name for name in names if name not in arrays]:
        raise UserError(f"'{archive}': expected the array {missing[0]}, got none; {remedy}")
    pictures = arrays.get("pictures")
    if pictures is not None and not (pictures.dtype == np.uint8 and pictures.shape[1:] == (128, 128, 3)):
        raise UserError(
            f"'{archive}': expected uint8 (N, 128, 128, 3), got {pictures.dtype} {pictures.shape}; {remedy}"
        )
    if len({len(array) for array in arrays.values()}) > 1:
        raise UserError(f"'{archive}': expected as many of each array, got different numbers; {remedy}")
    return arrays


def read_pictures(archive: Path) -> UInt8[Tensor, "N 128 128 3"]:
    """Return all pictures of an archive, on white; errors as of `read_icons`."""
    return torch.from_numpy(read_icons(archive, ("pictures",))["pictures"])


def read_tensors(file: Path, names: Sequence[str], remedy: str) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by name.

    Args:
        file: of a training command.
        names: of those that it has to have.
        remedy: what makes such a file.

    Raises:
        UserError: it is none, or lacks one.
    """
    try:
        check_ordinary(file)
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"'{file}': expected tensors, got {reason!s:.100}; {remedy}") from None
    if missing := [name for name in names if name not in tensors]:
        raise UserError(f"'{file}': expected {missing[0]}, got none of this name; {remedy}")
    return tensors


def to_images(pictures: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B 3 H W"]:
    """Return pictures as the networks take them: RGB in [0, 1]."""
    return pictures.permute(0, 3, 1, 2).float() / 255.0
