"""DTU as IDR and NeuS store it: cameras.npz with world_mat_N and scale_mat_N, pictures in image/, masks in mask/."""

from pathlib import Path

import numpy as np
import torch

from runtime.arrays import read_arrays
from runtime.errors import UserError
from runtime.field.cameras import Cameras
from runtime.field.captures.capture import Capture
from runtime.field.captures.formats.parts import (
    first_pictures,
    list_pictures,
    poses_array,
    same_size,
    sizes_tensor,
)
from runtime.field.captures.pictures import open_pictures
from runtime.field.conventions import decompose_projections

NAMES = ("cameras.npz", "cameras_sphere.npz", "cameras_large.npz")
"""Names of the file of cameras."""


def read_dtu(folder: Path) -> Capture:
    """Return the capture of a scan; scale_mat brings its object into the unit ball around the origin.

    In these matrices the first pixel's centre is at 0; the principal point is shifted by half a pixel.

    Raises:
        UserError: the archive or the pictures do not fit.
    """
    path = next((folder / name for name in NAMES if (folder / name).is_file()), folder / NAMES[0])
    arrays = read_arrays(path)
    files = first_pictures(folder, ("image", "images"))
    missing = [f"world_mat_{row}" for row in range(len(files)) if f"world_mat_{row}" not in arrays]
    if not files or missing:
        raise UserError(
            f"'{path}': expected pictures in image/ and a world_mat for each of {len(files)}, got {missing[:1]}"
        )
    pictures, sizes = open_pictures(files)
    same_size(sizes, f"'{path}'")
    world = [arrays[f"world_mat_{row}"] for row in range(len(files))]
    scale = arrays.get("scale_mat_0", np.eye(4))
    if len({array.shape for array in world}) > 1 or scale.shape != (4, 4) or scale.dtype.kind not in "fiu":
        shapes = ", ".join(str(shape) for shape in sorted({array.shape for array in (*world, scale)}))
        raise UserError(f"'{path}': expected matrices of 4 x 4 numbers, got {scale.dtype} of shapes {shapes}")
    matrices = poses_array(np.stack(world), f"'{path}'") @ torch.from_numpy(scale.astype(np.float64))
    if not bool(matrices.isfinite().all()):
        raise UserError(f"'{path}': expected finite numbers in all matrices, got NaN or infinity")
    poses, intrinsics = decompose_projections(matrices)
    masks = list_pictures(folder / "mask") if (folder / "mask").is_dir() else []
    return Capture(
        format=path.name,
        cameras=Cameras(poses.float(), (intrinsics + torch.tensor([0.0, 0, 0.5, 0.5])).float(), sizes_tensor(sizes)),
        names=tuple(file.name for file in files),
        pictures=pictures,
        masks=tuple(masks) if len(masks) == len(files) else (),
        centred=True,
        half=1.0,
        to_world=torch.from_numpy(scale.astype(np.float32)),
    )
