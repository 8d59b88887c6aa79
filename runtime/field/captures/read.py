"""Reading a capture of any format from a file or a folder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from runtime.errors import UserError
from runtime.field.captures.capture import Capture
from runtime.field.captures.checks import check_intrinsics, check_poses, find_flips, find_tilt
from runtime.field.captures.formats.archives import read_archive, read_posed_folder
from runtime.field.captures.formats.blender import read_blender
from runtime.field.captures.formats.colmap import find_model, read_colmap
from runtime.field.captures.formats.dtu import NAMES, read_dtu
from runtime.field.captures.formats.llff import read_llff
from runtime.field.captures.formats.transforms import read_transforms
from runtime.field.captures.normalize import Frame, normalize
from runtime.field.conventions import Convention

FORMATS = (
    "transforms.json, transforms_train.json (Blender), poses_bounds.npy (LLFF), sparse/0 (COLMAP), cameras.npz (DTU), "
    "poses.npz with pictures, or one .npz with images and poses"
)
"""What is looked for, for messages."""


def read_capture(path: Path, convention: Convention = "opengl") -> Capture:
    """Return a capture in the coordinates that it is stored in, its poses checked.

    Args:
        path: a file, or a folder in which the formats are looked for.
        convention: of the matrices of transforms.json and of poses, where it is not OpenGL's.

    Raises:
        UserError: nothing is there that can be read, or something in it is wrong.
    """
    try:
        capture = _read(path, convention)
    except torch.linalg.LinAlgError:  # pyright: ignore[reportPrivateImportUsage]
        # World-to-camera matrices and projections are inverted, those of any format.
        raise UserError(
            f"'{path}': expected matrices of cameras, got one without an inverse; check its numbers, and --convention"
        ) from None
    poses = check_poses(capture.cameras.poses, capture.names)
    check_intrinsics(capture.cameras, capture.names)
    cameras = capture.cameras.moved(poses)
    notes = find_flips(cameras, capture.names)
    if capture.upright and not notes:
        notes = find_tilt(cameras)
    return replace(capture, cameras=cameras, notes=(*capture.notes, *notes))


def load_capture(path: Path, frame: Frame | None = None, convention: Convention = "opengl") -> Capture:
    """Return a capture whose scene lies in the box [-1, 1]^3 with +z up; `to_world` leads back.

    Args:
        path: a file or folder, see `read_capture`.
        frame: what is up, where the middle is, how large the box; by default as the format and the cameras have it.
        convention: of matrices that are not OpenGL's.

    Raises:
        UserError: as `read_capture`, or the box has no size.
    """
    return normalize(read_capture(path, convention), frame)


def _read(path: Path, convention: Convention) -> Capture:
    if path.is_file():
        return _read_file(path, convention)
    if not path.is_dir():
        raise UserError(f"'{path}': expected a capture, got nothing of that name; give {FORMATS}")
    if find_model(path) is not None and not (path / "transforms.json").is_file():
        return read_colmap(path)
    for name in ("transforms.json", "transforms_train.json", "poses_bounds.npy", *NAMES, "poses.npz"):
        if (path / name).is_file():
            return _read_file(path / name, convention)
    raise UserError(f"'{path}': expected {FORMATS} in the folder, got none of them")


def _read_file(path: Path, convention: Convention) -> Capture:
    readers: dict[str, Callable[[], Capture]] = {
        "transforms_train.json": lambda: read_blender(path.parent, convention),
        "poses.npz": lambda: read_posed_folder(path.parent, convention),
        "poses_bounds.npy": lambda: read_llff(path.parent),
        **{name: lambda: read_dtu(path.parent) for name in NAMES},
    }
    if path.name in readers:
        return readers[path.name]()
    if path.suffix == ".json":
        return read_transforms(path, convention)
    if path.suffix == ".npz":
        return read_archive(path, convention)
    raise UserError(f"'{path}': expected {FORMATS}, got a file of another name")
