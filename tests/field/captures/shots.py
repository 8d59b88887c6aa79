"""A scene to write captures of: cameras around a coloured square of pixels, and its pictures."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from runtime.field.cameras import Cameras
from runtime.field.poses import draw_sphere

COUNT, HEIGHT, WIDTH, FOCAL = 6, 24, 32, 40.0


def cameras() -> Cameras:
    """Return cameras on the upper hemisphere around the origin at a distance of 4."""
    poses = draw_sphere(COUNT, torch.Generator().manual_seed(7), radius=(4.0, 4.0), elevation=(0.2, 1.2))
    intrinsics = torch.tensor([FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2]).repeat(COUNT, 1)
    return Cameras(poses, intrinsics, torch.tensor([[HEIGHT, WIDTH]]).repeat(COUNT, 1))


def levels(row: int) -> np.ndarray:
    """Return the RGBA picture of a view: a square whose colour tells the view."""
    picture = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    picture[6:18, 10:22] = (40 * row, 255 - 40 * row, 128, 255)
    return picture


def write_pictures(folder: Path, *, mode: str = "RGBA", suffix: str = ".png") -> list[Path]:
    """Write the pictures view_0, view_1 ... into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"view_{row}{suffix}" for row in range(COUNT)]
    for row, file in enumerate(files):
        Image.fromarray(levels(row)).convert(mode).save(file)
    return files


def document(folder: Path, **keys: Any) -> dict[str, Any]:
    """Write pictures and return a transforms.json of them."""
    files = write_pictures(folder / "images")
    poses = cameras().poses
    frames = [
        {"file_path": f"images/{file.name}", "transform_matrix": pose.tolist()}
        for file, pose in zip(files, poses, strict=True)
    ]
    return {"fl_x": FOCAL, "w": WIDTH, "h": HEIGHT, "frames": frames, **keys}


def write_document(folder: Path, value: Any, name: str = "transforms.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(value))
    return folder / name


def angle() -> float:
    """Return what the width of a picture sees, in radians."""
    return 2 * math.atan(WIDTH / 2 / FOCAL)
