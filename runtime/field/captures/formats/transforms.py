"""transforms.json, as nerfstudio, instant-ngp and Blender's NeRF scenes write it.

Intrinsics may be given once or for each frame: fl_x and fl_y in pixels, or camera_angle_x in radians. Poses are
camera-to-world in the OpenGL convention unless another one is named.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float32
from torch import Tensor

from runtime.errors import UserError
from runtime.field.cameras import Cameras
from runtime.field.captures.capture import Capture
from runtime.field.captures.formats.parts import focal_of, matrix, number, read_json, same_size, sizes_tensor
from runtime.field.captures.pictures import SUFFIXES, PictureFiles, is_file, open_pictures
from runtime.field.conventions import Convention, to_opengl

LENSES = ("k1", "k2", "k3", "k4", "p1", "p2")
"""Names of the distortion's terms."""

MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
"""Camera models that are taken: a pinhole with OpenCV's polynomial."""

NGP_HALF = 0.5 / 0.33
"""Half the side of instant-ngp's unit cube in the units of its transforms.json, at an aabb_scale of 1."""

OWN_INTRINSICS = ("fl_x", "camera_angle_x")
"""Keys of a frame that has intrinsics of its own."""


def read_transforms(path: Path, convention: Convention = "opengl") -> Capture:
    """Return the capture of a transforms.json.

    Args:
        path: the file; its pictures are named relative to its folder.
        convention: of its matrices, where they are not OpenGL's.

    Raises:
        UserError: something is missing or wrong; the frame is named.
    """
    document = read_json(path)
    frames = frames_of(document, path)
    model = document.get("camera_model", "OPENCV")
    if model not in MODELS:
        raise UserError(
            f"'{path}': camera_model: expected one of {', '.join(MODELS)}, got {model!r:.60}; undistort the "
            "pictures first"
        )
    files, pictures, sizes = frame_pictures(frames, path)
    names = tuple(str(frame["file_path"]) for frame in frames)
    poses = torch.stack([matrix(f.get("transform_matrix"), f"'{n}'") for f, n in zip(frames, names, strict=True)])
    cameras = Cameras(
        poses=to_opengl(poses.float(), convention),
        intrinsics=intrinsics_of(document, frames, sizes, path),
        sizes=sizes_tensor(sizes),
        distortion=_distortion(document, frames, str(path)),
    )
    # Blender's scenes have neither focal length nor size; they stand upright in the middle already.
    synthetic = "fl_x" not in document and "camera_angle_x" in document and "w" not in document
    return Capture(
        format=path.name,
        cameras=cameras,
        names=names,
        pictures=pictures,
        masks=_beside(frames, "mask_path", path),
        depths=_beside(frames, "depth_file_path", path),
        depth_unit=number(document.get("depth_unit_scale_factor", 1e-3), "depth_unit_scale_factor", f"'{path}'"),
        splits=_splits(document, files, path),
        upright=synthetic or document.get("orientation_override") == "none",
        centred=synthetic or "aabb_scale" in document,
        half=_ngp_half(document, str(path)),
    )


def frames_of(document: Mapping[str, Any], path: Path) -> Sequence[Mapping[str, Any]]:
    """Return the frames of a document, each an object with a file_path.

    Raises:
        UserError: there are none, or one is something else.
    """
    frames = document.get("frames")
    if not isinstance(frames, list) or not frames:
        raise UserError(f"'{path}': expected a list of frames, got {frames!r:.60}; is it a capture's transforms.json?")
    for row, frame in enumerate(frames):
        if not isinstance(frame, dict) or not isinstance(frame.get("file_path"), str):
            raise UserError(f"'{path}': frame {row}: expected an object with a file_path, got {frame!r:.60}")
    return frames


def frame_pictures(
    frames: Sequence[Mapping[str, Any]], path: Path
) -> tuple[list[Path], PictureFiles, list[tuple[int, int]]]:
    """Return the files of frames, what reads them, and their heights and widths."""
    files = [picture_path(path.parent, frame["file_path"]) for frame in frames]
    pictures, sizes = open_pictures(files)
    return files, pictures, sizes


def picture_path(folder: Path, name: str) -> Path:
    """Return the file that a frame names; its ending may be left out, as Blender's scenes do."""
    try:
        # Captures that were made on Windows name their pictures with backslashes.
        path = folder / name.replace("\\", "/")
        if path.is_file():
            return path
        # `with_suffix` would take "r_0.5" for a name that ends on ".5".
        tries = (path.with_name(path.name + suffix) for suffix in SUFFIXES)
        return next((file for file in tries if file.is_file()), path)
    except (OSError, ValueError) as error:
        raise UserError(f"the picture {name!r:.80} cannot be read: {error!s:.80}") from None


def intrinsics_of(
    document: Mapping[str, Any], frames: Sequence[Mapping[str, Any]], sizes: Sequence[tuple[int, int]], path: Path
) -> Float32[Tensor, "V 4"]:
    """Return fx, fy, cx, cy of each frame at the size of its file.

    Raises:
        UserError: none are given, they are no numbers, or one calibration stands for pictures of different sizes.
    """
    where = f"'{path}'"
    if not all(any(key in frame for key in OWN_INTRINSICS) for frame in frames):
        same_size(sizes, where)
    rows = []
    for frame, (height, width) in zip(frames, sizes, strict=True):
        own = any(key in frame for key in OWN_INTRINSICS)
        # A frame's own keys come before the document's, one by one: nerfstudio allows both in one file.
        rows.append(_intrinsics({**document, **frame} if own else document, height, width, where))
    return torch.tensor(rows, dtype=torch.float32)


def _intrinsics(keys: Mapping[str, Any], height: int, width: int, where: str) -> list[float]:
    """Return fx, fy, cx, cy for a picture of a height and width, which may be smaller than the calibration's."""

    def of(name: str, default: float) -> float:
        return number(keys[name], name, where) if keys.get(name) is not None else default

    full_width, full_height = of("w", width), of("h", height)
    if (
        full_width <= 0
        or full_height <= 0
        # Two in a hundred: reduced pictures are rounded to whole pixels.
        or abs(full_width * height - full_height * width) > 0.02 * full_width * height
    ):
        raise UserError(
            f"{where}: w and h: expected the proportions of the pictures ({width} x {height}), got {full_width:g} x "
            f"{full_height:g}"
        )
    if keys.get("fl_x") is not None:
        fx = of("fl_x", 0)
        fy = of("fl_y", fx)
    elif keys.get("camera_angle_x") is not None:
        fx = focal_of(of("camera_angle_x", 0), full_width)
        fy = focal_of(of("camera_angle_y", 0), full_height) if keys.get("camera_angle_y") is not None else fx
    else:
        raise UserError(f"{where}: expected fl_x in pixels or camera_angle_x in radians, got neither")
    # instant-ngp's files keep the calibration of full-size pictures when the pictures are reduced.
    x, y = width / full_width, height / full_height
    return [fx * x, fy * y, of("cx", full_width / 2) * x, of("cy", full_height / 2) * y]


def _distortion(
    document: Mapping[str, Any], frames: Sequence[Mapping[str, Any]], where: str
) -> Float32[Tensor, "V 6"] | None:
    """Return the terms of each frame's lens; None where all are 0."""
    rows = []
    for frame in frames:
        keys = {**document, **frame} if any(k in frame for k in LENSES) else document
        rows.append([number(keys.get(name, 0.0), name, f"'{where}'") for name in LENSES])
    # Without a lens no ray has to be undistorted, which takes an iteration a pixel.
    terms = torch.tensor(rows, dtype=torch.float32)
    return terms if bool(terms.any()) else None


def _beside(frames: Sequence[Mapping[str, Any]], key: str, path: Path) -> tuple[Path | None, ...]:
    """Return the files that frames name under a key; empty where none does."""
    names = [frame.get(key) for frame in frames]
    if not any(names):
        return ()
    for name in names:
        if name is not None and not isinstance(name, str):
            raise UserError(f"'{path}': {key}: expected a file name, got {name!r:.60}")
    files = tuple(None if not name else path.parent / name.replace("\\", "/") for name in names)
    missing = [file for file in files if file is not None and not is_file(file)]
    if missing:
        raise UserError(f"'{path}': {key}: the file '{missing[0]}' is missing ({len(missing)} in all); put it there")
    return files


def _splits(document: Mapping[str, Any], files: Sequence[Path], path: Path) -> dict[str, tuple[int, ...]]:
    """Return the indices of the frames that nerfstudio's train_filenames, val_filenames and test_filenames list."""
    rows = {file: row for row, file in enumerate(files)}
    splits = {}
    for name in ("train", "val", "test"):
        listed = document.get(f"{name}_filenames")
        if listed is None:
            continue
        if not isinstance(listed, list) or not all(isinstance(entry, str) for entry in listed):
            raise UserError(f"'{path}': {name}_filenames: expected a list of file names, got {listed!r:.60}")
        # By file, not by text: lists leave out endings that frames have.
        chosen = [rows.get(picture_path(path.parent, entry)) for entry in listed]
        if None in chosen:
            missing = listed[chosen.index(None)]
            raise UserError(f"'{path}': {name}_filenames: {missing!r:.80} is the file_path of no frame")
        splits[name] = tuple(row for row in chosen if row is not None)
    return splits


def _ngp_half(document: Mapping[str, Any], where: str) -> float | None:
    """Return half the side of instant-ngp's box, where the document is of its kind."""
    if "aabb_scale" not in document:
        return None
    return NGP_HALF * number(document["aabb_scale"], "aabb_scale", f"'{where}'")
