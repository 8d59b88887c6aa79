"""What several readers need: matrices and numbers out of files, and intrinsics of pictures."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from runtime.errors import UserError
from runtime.field.captures.pictures import SUFFIXES
from runtime.files import read_ordinary

GREATEST_JSON = 1 << 28
"""Greatest size of a JSON file that is read, bytes: 2,000 frames take about 2 MB."""


def read_json(path: Path) -> Mapping[str, Any]:
    """Return the object in a JSON file; NaN is taken for a number, so that the frame with it can be named.

    Raises:
        UserError: there is no such file, or it holds something else.
    """
    try:
        value = json.loads(read_ordinary(path, GREATEST_JSON).decode("utf-8-sig"))
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror}; give a file of a capture, or its folder") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"'{path}': expected JSON, got text that is none ({error!s:.100})") from None
    if not isinstance(value, dict):
        raise UserError(f"'{path}': expected a JSON object, got {type(value).__name__}")
    return value


def number(value: object, name: str, where: str) -> float:
    """Return a JSON number as a float.

    Raises:
        UserError: it is something else, NaN or infinite.
    """
    # True is an int in Python: without this a flag would be a focal length.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{where}: {name}: expected a number, got {value!r:.60}")
    try:
        result = float(value)
    except OverflowError:  # an integer of more than 308 digits
        raise UserError(f"{where}: {name}: expected a number below 1e308, got {len(str(value))} digits") from None
    # Python's JSON reads NaN and Infinity, which the format does not have.
    if not math.isfinite(result):
        raise UserError(f"{where}: {name}: expected a finite number, got {result}")
    return result


def matrix(value: object, where: str) -> Float64[Tensor, "4 4"]:
    """Return a pose of 4 x 4 or 3 x 4 numbers, the last row completed.

    Raises:
        UserError: it has another shape, or is no matrix.
    """
    try:
        array = torch.tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise UserError(f"the pose of {where}: expected a matrix of 4 x 4 numbers, got {value!r:.60}") from None
    if array.shape not in ((4, 4), (3, 4)):
        raise UserError(f"the pose of {where}: expected a matrix of 4 x 4 numbers, got shape {tuple(array.shape)}")
    full = torch.eye(4, dtype=torch.float64)
    full[:3] = array[:3]
    return full


def poses_array(array: np.ndarray, where: str) -> Float64[Tensor, "V 4 4"]:
    """Return an array of poses (V, 4, 4) or (V, 3, 4), the last rows completed.

    Raises:
        UserError: it has another shape or holds no numbers.
    """
    if array.ndim != 3 or array.shape[1:] not in ((4, 4), (3, 4)) or array.dtype.kind not in "fiu" or not len(array):
        raise UserError(f"{where}: poses: expected numbers of shape (V, 4, 4), got {array.dtype} {array.shape}")
    full = torch.eye(4, dtype=torch.float64).repeat(len(array), 1, 1)
    full[:, :3] = torch.from_numpy(array[:, :3].astype(np.float64))
    return full


def focal_of(angle: float, side: float) -> float:
    """Return the focal length in pixels of a picture whose side sees an angle, in radians."""
    # NaN where there is no such lens: the check of all intrinsics names the picture.
    return 0.5 * side / math.tan(0.5 * angle) if 0 < angle < math.pi else math.nan


def list_pictures(folder: Path) -> list[Path]:
    """Return the pictures of a folder in the order of their names, numbers by their value."""
    try:
        # Files with a dot in front are other systems' notes on the pictures, with the same suffix.
        files = [path for path in folder.iterdir() if path.suffix in SUFFIXES and not path.name.startswith(".")]
    except OSError as error:
        raise UserError(f"'{folder}': expected a folder of pictures, got none ({error.strerror})") from None
    return sorted(files, key=_by_number)


def first_pictures(folder: Path, names: Sequence[str]) -> list[Path]:
    """Return the pictures of the first of some folders that has any, in the order of their names; else none."""
    return next(filter(None, (list_pictures(folder / name) for name in names if (folder / name).is_dir())), [])


def _by_number(path: Path) -> list[tuple[int, int, str]]:
    """Return a name's pieces so that r_10 comes after r_2."""
    pieces: list[tuple[int, int, str]] = []
    for piece in "".join(c if c.isdigit() else f"\0{c}\0" for c in path.name).split("\0"):
        if piece:
            pieces.append((0, int(piece), "") if piece.isdecimal() else (1, 0, piece))
    return pieces


def sizes_tensor(sizes: Sequence[tuple[int, int]]) -> Int64[Tensor, "V 2"]:
    """Return heights and widths as a tensor."""
    return torch.tensor(sizes, dtype=torch.int64).reshape(-1, 2)


def same_size(sizes: Sequence[tuple[int, int]], where: str) -> tuple[int, int]:
    """Return the height and width that all pictures have.

    Raises:
        UserError: they differ, where one calibration is given for all.
    """
    if len(set(sizes)) != 1:
        shown = ", ".join(f"{width} x {height}" for height, width in sorted(set(sizes))[:3])
        raise UserError(
            f"{where}: one calibration for all pictures, which have {len(set(sizes))} sizes ({shown}); give each frame "
            "its own, or make the pictures alike"
        )
    return sizes[0]
