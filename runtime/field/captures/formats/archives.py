"""Arrays: one .npz with pictures and poses, or a folder of pictures with poses.npz.

The arrays are poses (V, 4, 4) and, of the lens, one of intrinsics (4) or (V, 4) as fx, fy, cx, cy; focal in pixels; or
camera_angle_x in radians. A single file also holds images (V, H, W, 3 or 4), uint8. `premultiplied` (a bool) says how
alpha is meant; without it, pictures in which no colour exceeds its alpha are taken to be premultiplied.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from runtime.arrays import read_arrays
from runtime.errors import UserError
from runtime.field.cameras import Cameras
from runtime.field.captures.capture import Capture
from runtime.field.captures.formats.parts import focal_of, list_pictures, poses_array, same_size, sizes_tensor
from runtime.field.captures.pictures import PictureArray, open_pictures
from runtime.field.conventions import CONVENTIONS, Convention, to_opengl


def read_archive(path: Path, convention: Convention = "opengl") -> Capture:
    """Return the capture of one .npz with images and poses.

    Raises:
        UserError: an array is missing or has another shape.
    """
    arrays = read_arrays(path)
    images = arrays.get("images")
    if (
        images is None
        or images.dtype != np.uint8
        or images.ndim != 4
        or images.shape[3] not in (3, 4)
        or not images.size
    ):
        got = "none" if images is None else f"{images.dtype} {images.shape}"
        raise UserError(f"'{path}': images: expected uint8 of shape (V, H, W, 3 or 4), got {got}")
    sizes = [(images.shape[1], images.shape[2])] * len(images)
    premultiplied = _is_premultiplied(arrays, images, f"'{path}'")
    return Capture(
        format=path.name,
        cameras=_cameras(arrays, sizes, convention, f"'{path}'"),
        names=_names(arrays, [f"{row}" for row in range(len(images))], f"'{path}'"),
        pictures=PictureArray(images, premultiplied),
        upright=True,
        centred=True,
    )


def read_posed_folder(folder: Path, convention: Convention = "opengl") -> Capture:
    """Return the capture of a folder with poses.npz and as many pictures, in the order of their names.

    The pictures are beside poses.npz or in images/; the array names, where there is one, lists them in the order of
    the poses.

    Raises:
        UserError: an array is missing or has another shape, or pictures are missing.
    """
    path = folder / "poses.npz"
    arrays = read_arrays(path)
    # Beside poses.npz, other pictures than the posed ones may lie: a folder of their own goes first.
    where = folder / "images" if (folder / "images").is_dir() else folder
    if "names" in arrays:
        names = _names(arrays, [], f"'{path}'")
        files = [where / name for name in names]
    else:
        files = list_pictures(where)
        names = tuple(file.name for file in files)
    if not files:
        raise UserError(f"'{folder}': expected pictures beside poses.npz or in images/, got none")
    pictures, sizes = open_pictures(files)
    return Capture(
        format="poses.npz",
        cameras=_cameras(arrays, sizes, convention, f"'{path}'"),
        names=names,
        pictures=pictures,
    )


def _cameras(
    arrays: Mapping[str, np.ndarray], sizes: Sequence[tuple[int, int]], convention: Convention, where: str
) -> Cameras:
    if "poses" not in arrays:
        raise UserError(f"{where}: expected an array of poses, got {', '.join(arrays) or 'none'}")
    if "convention" in arrays and convention == "opengl":
        # The archive knows best, but for what a user has asked for.
        convention = _convention(arrays["convention"], where)
    poses = poses_array(arrays["poses"], where).float()
    if len(poses) != len(sizes):
        raise UserError(f"{where}: expected a pose for each of {len(sizes)} pictures, got {len(poses)}")
    return Cameras(to_opengl(poses, convention), _intrinsics(arrays, sizes, where), sizes_tensor(sizes))


def _convention(value: np.ndarray, where: str) -> Convention:
    # From an array of any type: only a text that is one of the names gets through.
    name = str(value)
    for convention in CONVENTIONS:
        if name == convention:
            return convention
    raise UserError(f"{where}: convention: expected one of {', '.join(CONVENTIONS)}, got {name!r:.40}")


def _intrinsics(
    arrays: Mapping[str, np.ndarray], sizes: Sequence[tuple[int, int]], where: str
) -> Float32[Tensor, "V 4"]:
    count = len(sizes)
    given = arrays.get("intrinsics")
    if given is not None:
        if given.shape not in ((4,), (count, 4)) or given.dtype.kind not in "fiu":
            raise UserError(f"{where}: intrinsics: expected (4) or ({count}, 4) numbers, got {given.shape}")
        # One calibration for all is about pixels, so it needs pictures of one size.
        if given.ndim == 1:
            same_size(sizes, where)
        return torch.from_numpy(np.broadcast_to(given, (count, 4)).astype(np.float32))
    height, width = same_size(sizes, where)
    if "focal" in arrays:
        focal = _scalar(arrays["focal"], "focal", where)
    elif "camera_angle_x" in arrays:
        focal = focal_of(_scalar(arrays["camera_angle_x"], "camera_angle_x", where), width)
    else:
        raise UserError(f"{where}: expected intrinsics, focal or camera_angle_x, got {', '.join(arrays)}")
    return torch.tensor([[focal, focal, width / 2, height / 2]]).repeat(count, 1)


def _scalar(array: np.ndarray, name: str, where: str) -> float:
    if array.size != 1 or array.dtype.kind not in "fiu":
        raise UserError(f"{where}: {name}: expected one number, got {array.dtype} {array.shape}")
    return float(array.reshape(()))


def _names(arrays: Mapping[str, np.ndarray], default: list[str], where: str) -> tuple[str, ...]:
    names = arrays.get("names")
    if names is None:
        return tuple(default)
    if names.dtype.kind != "U" or names.ndim != 1 or (default and len(names) != len(default)):
        raise UserError(f"{where}: names: expected a text for each picture, got {names.dtype} {names.shape}")
    return tuple(names.tolist())


def _is_premultiplied(arrays: Mapping[str, np.ndarray], images: np.ndarray, where: str) -> bool:
    if images.shape[3] == 3:
        return False
    flag = arrays.get("premultiplied")
    if flag is not None:
        if flag.size != 1 or flag.dtype.kind not in "biuf":
            raise UserError(f"{where}: premultiplied: expected True or False, got {flag.dtype} {flag.shape}")
        return bool(flag.reshape(()))
    # A premultiplied colour never exceeds its alpha; straight ones nearly always do somewhere.
    return not bool((images[..., :3] > images[..., 3:]).any())
