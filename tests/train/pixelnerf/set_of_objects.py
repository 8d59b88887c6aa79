"""A small set of objects on disk: coloured balls seen from 16 sides."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from runtime.field.fields.lookup import DISTANCE, FOCAL
from runtime.field.poses import on_sphere

SIDE = 32


def write_set(folder: Path, count: int = 6, side: int = SIDE) -> Path:
    """Write `count` objects, the last of which is of the validation split, in views of `side` pixels."""
    (folder / "views").mkdir(parents=True)
    azimuth = torch.arange(16) * torch.pi / 8
    poses = on_sphere(azimuth, torch.full((16,), 0.4), torch.full((16,), DISTANCE), "y")
    # A ball of radius r at the origin is a disc of f r / sqrt(d^2 - r^2).
    y, x = np.mgrid[:side, :side] + 0.5 - side / 2
    entries = []
    for row in range(count):
        radius = 0.4 + 0.08 * row
        disc = np.hypot(x, y) < side * FOCAL * radius / np.sqrt(DISTANCE**2 - radius**2)
        cell = np.zeros((side, side, 4), np.uint8)
        cell[disc] = (40 * row, 200, 255 - 40 * row, 255)
        Image.fromarray(np.tile(cell, (4, 4, 1))).save(folder / f"views/{row}.png")
        split = "validation" if row == count - 1 else "train"
        entries.append({"id": f"ball-{row}", "file": f"{row}.png", "split": split, "category": "ball"})
    entries.append({"id": "other", "file": "0.png", "split": "test", "category": "ball"})
    (folder / "objects.json").write_text(json.dumps({"objects": entries}))
    ids = [entry["id"] for entry in reversed(entries)]
    np.savez(folder / "cameras.npz", ids=np.array(ids), c2w=poses.numpy()[None].repeat(count + 1, 0))
    return folder
