"""Some objects of the set of posed objects, read by themselves: the whole set takes a minute."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from runtime.arrays import read_arrays
from runtime.errors import UserError
from train.pixelnerf.objects import reduce_sheet


@dataclass(frozen=True)
class PosedObject:
    """One object, seen from 16 sides."""

    name: str
    views: UInt8[np.ndarray, "16 H W 4"]
    """Premultiplied RGBA."""
    poses: Float32[Tensor, "16 4 4"]
    """Camera-to-world, OpenGL, +y up."""
    caption: str = ""
    """What it is."""


def validation_objects(folder: Path, count: int, side: int, split: str = "validation") -> list[PosedObject]:
    """Return validation objects of the set, or others, evenly spaced among all.

    Args:
        folder: of the set.
        count: how many.
        side: pixels that views are reduced to, a divisor of the set's 128.
        split: which objects: `train`, `test` or `validation`.

    Raises:
        UserError: the folder is none of the set.
    """
    try:
        entries = json.loads((folder / "objects.json").read_text("utf-8"))["objects"]
        entries = [entry for entry in entries if entry["split"] == split]
        cameras = read_arrays(folder / "cameras.npz", ("ids", "c2w"))
        rows = {name: row for row, name in enumerate(cameras["ids"].tolist())}
        chosen = entries[:: max(1, len(entries) // count)][:count]
        return [
            PosedObject(
                name=entry["id"],
                views=reduce_sheet(folder / "views" / entry["file"], side),
                poses=torch.from_numpy(cameras["c2w"][rows[entry["id"]]]).float(),
                caption=entry["captions"][0],
            )
            for entry in chosen
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"'{folder}': expected objects.json, cameras.npz and views/, got {error!s:.100}") from None
