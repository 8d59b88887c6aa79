"""The set of posed objects, reduced to the network's size and cached as one array.

The folder of the set holds `objects.json`, `cameras.npz` and `views/`, one sheet of 4 x 4 RGBA views an object.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from PIL import Image
from torch import Tensor

from runtime.arrays import read_arrays
from runtime.errors import UserError
from runtime.files import check_ordinary, make_temporary, read_ordinary
from train.outputs import make_folder

VIEWS = 16
"""Views of an object."""


@dataclass(frozen=True)
class Objects:
    """Objects of the set, each seen from 16 sides."""

    views: UInt8[np.ndarray, "N 16 H W 4"] | UInt8[Tensor, "N 16 H W 4"]
    """Premultiplied RGBA, memory-mapped, or a tensor on the device of the poses."""
    poses: Float32[Tensor, "N 16 4 4"]
    """Camera-to-world, OpenGL, +y up."""
    train: Int64[Tensor, " T"]
    """Rows of the training split."""
    validation: Int64[Tensor, " U"]
    """Rows of the validation split."""
    ids: tuple[str, ...]
    """Names."""
    categories: tuple[str, ...]
    """Kinds."""

    def pictures(self, rows: Int64[Tensor, " B"], views: Int64[Tensor, "B V"]) -> Float32[Tensor, "B V 4 H W"]:
        """Return views of objects, premultiplied RGBA in [0, 1]."""
        if isinstance(self.views, Tensor):
            chosen = self.views[rows[:, None], views]
        else:
            chosen = torch.from_numpy(self.views[rows[:, None].numpy(), views.numpy()])
        return chosen.permute(0, 1, 4, 2, 3).float().div_(255)


def load_objects(folder: Path, cache: Path, side: int) -> Objects:
    """Return the set, reading all sheets the first time.

    Args:
        folder: of the set.
        cache: folder of the reduced pictures; they are written where they are missing.
        side: height and width to reduce the pictures to, a divisor of theirs.

    Raises:
        UserError: the folder is none of the set, or the sizes do not fit.
    """
    entries, poses = read_set(folder)
    path = cache / f"objects-{side}.npy"
    if not path.is_file():
        _write_cache(folder, [entry["file"] for entry in entries], path, side)
    try:
        check_ordinary(path)
        views = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"'{path}': expected the reduced pictures, got {error!s:.100}; delete it") from None
    if views.shape != (len(entries), VIEWS, side, side, 4):
        raise UserError(f"'{path}': expected {len(entries)} objects of {side} px, got {views.shape}; delete it")
    splits = np.array([entry["split"] for entry in entries])
    return Objects(
        views=views,
        poses=poses,
        train=torch.from_numpy(np.flatnonzero(splits == "train")),
        validation=torch.from_numpy(np.flatnonzero(splits == "validation")),
        ids=tuple(entry["id"] for entry in entries),
        categories=tuple(entry["category"] for entry in entries),
    )


def read_set(folder: Path) -> tuple[list[dict[str, Any]], Float32[Tensor, "N 16 4 4"]]:
    """Return the entries of a set's objects of both splits, and their cameras.

    Raises:
        UserError: the folder is none of the set.
    """
    try:
        entries = json.loads(read_ordinary(folder / "objects.json", 1 << 30))["objects"]
        cameras = read_arrays(folder / "cameras.npz", ("ids", "c2w"))
        rows = {name: i for i, name in enumerate(cameras["ids"].tolist())}
        poses = torch.from_numpy(cameras["c2w"]).float()
        entries = [entry for entry in entries if entry["split"] in ("train", "validation")]
        poses = poses[[rows[entry["id"]] for entry in entries]]
        if not all(isinstance(entry[name], str) for entry in entries for name in ("file", "category")):
            raise ValueError("a file or a kind without a name")
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise UserError(f"'{folder}': expected objects.json, cameras.npz and views/, got {error!s:.100}") from None
    return entries, poses


def _write_cache(folder: Path, files: list[str], path: Path, side: int) -> None:
    """Write the reduced views of all sheets, under another name until they are whole."""
    make_folder(path.parent)
    handle, part = make_temporary(path, ".npy")
    os.close(handle)
    try:
        views = np.lib.format.open_memmap(part, "w+", np.uint8, (len(files), VIEWS, side, side, 4))
        for row, file in enumerate(files):
            views[row] = reduce_sheet(folder / "views" / file, side)
        views.flush()
        os.chmod(part, 0o644)  # mkstemp's 0600 is for secrets
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def reduce_sheet(path: Path, side: int) -> UInt8[np.ndarray, "16 H W 4"]:
    """Return a sheet's views, premultiplied and reduced by means over boxes."""
    try:
        with Image.open(path, formats=("PNG", "WEBP", "JPEG")) as image:
            sheet = np.asarray(image.convert("RGBA"), dtype=np.float32)
    except OSError as error:
        raise UserError(f"'{path}': expected a sheet of 16 views, got {error!s:.100}; fetch the set anew") from None
    cell = sheet.shape[0] // 4
    if sheet.shape != (4 * cell, 4 * cell, 4) or cell % side:
        raise UserError(f"'{path}': expected 4 x 4 views of a multiple of {side} px, got {sheet.shape[:2]}")
    box = cell // side
    cells = sheet.reshape(4, side, box, 4, side, box, 4)
    alpha = cells[..., 3:] / 255
    cells = np.concatenate([cells[..., :3] * alpha, cells[..., 3:]], axis=-1)
    reduced = cells.mean(axis=(2, 5))  # (4, side, 4, side, 4): rows of views, y, columns of views, x
    return np.rint(reduced.swapaxes(1, 2).reshape(VIEWS, side, side, 4)).astype(np.uint8)
