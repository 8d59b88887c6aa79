"""LLFF: pictures with poses_bounds.npy, (V, 17): a 3 x 5 matrix [R | t | height, width, focal], near, far."""

from pathlib import Path

import numpy as np
import torch

from runtime.arrays import read_array
from runtime.errors import UserError
from runtime.field.cameras import Cameras
from runtime.field.captures.capture import Capture
from runtime.field.captures.formats.parts import first_pictures, poses_array, same_size, sizes_tensor
from runtime.field.captures.pictures import open_pictures
from runtime.field.conventions import to_opengl

FOLDERS = ("images", "images_4", "images_8", "images_2", ".")
"""Where the pictures may be, the full size first."""


def read_llff(folder: Path) -> Capture:
    """Return the capture of a folder with poses_bounds.npy.

    Raises:
        UserError: the array has another shape, or there are not as many pictures as poses.
    """
    path = folder / "poses_bounds.npy"
    rows = read_array(path)
    if rows.ndim != 2 or rows.shape[1] != 17 or not len(rows):
        raise UserError(f"'{path}': expected numbers of shape (V, 17), got {rows.dtype} {rows.shape}")
    files = first_pictures(folder, FOLDERS)
    if len(files) != len(rows):
        raise UserError(
            f"'{path}': expected a picture for each of {len(rows)} poses, got {len(files)}; put them all there"
        )
    pictures, sizes = open_pictures(files)
    same_size(sizes, f"'{path}'")
    matrices = rows[:, :15].reshape(-1, 3, 5).astype(np.float64)
    height, width, focal = (torch.from_numpy(matrices[:, i, 4]) for i in range(3))
    small = sizes_tensor(sizes).double()
    fx, fy = focal * small[:, 1] / width, focal * small[:, 0] / height
    intrinsics = torch.stack([fx, fy, small[:, 1] / 2, small[:, 0] / 2], dim=1).float()
    return Capture(
        format="poses_bounds.npy",
        cameras=Cameras(
            poses=to_opengl(poses_array(matrices[:, :, :4], f"'{path}'").float(), "llff"),
            intrinsics=intrinsics,
            sizes=sizes_tensor(sizes),
        ),
        names=tuple(file.name for file in files),
        pictures=pictures,
        bounds=torch.from_numpy(rows[:, 15:].astype(np.float32)),
    )
