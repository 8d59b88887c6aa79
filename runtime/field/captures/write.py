"""Writing transforms.json, which nerfstudio, instant-ngp and `read_transforms` read."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.field.cameras import Cameras
from runtime.field.captures.formats.transforms import LENSES
from runtime.files import replace_file


def write_transforms(
    path: Path,
    cameras: Cameras,
    files: Sequence[str],
    *,
    splits: Mapping[str, Sequence[int]] | None = None,
    masks: Sequence[str] | None = None,
    orientation: str | None = None,
) -> None:
    """Write cameras and the names of their pictures, with intrinsics for each frame where they differ.

    Args:
        path: the file to write.
        cameras: one for each picture.
        files: names of the pictures, relative to the folder of `path`.
        splits: indices of the pictures of named parts: train, val, test.
        masks: names of their masks.
        orientation: nerfstudio's orientation_override; "none" says that +z is up already.

    Raises:
        OSError: the file cannot be written.
    """
    rows = [_intrinsics(cameras, row) for row in range(len(cameras))]
    common = all(row == rows[0] for row in rows)
    frames = []
    for row, name in enumerate(files):
        frame: dict[str, Any] = {"file_path": name}
        if masks is not None:
            frame["mask_path"] = masks[row]
        if not common:
            frame |= rows[row]
        frames.append({**frame, "transform_matrix": cameras.poses[row].tolist()})
    document: dict[str, Any] = {"camera_model": "OPENCV", **(rows[0] if common else {})}
    if orientation is not None:
        document["orientation_override"] = orientation
    for name, indices in (splits or {}).items():
        document[f"{name}_filenames"] = [files[index] for index in indices]
    replace_file(path, json.dumps({**document, "frames": frames}, indent=1) + "\n")


def _intrinsics(cameras: Cameras, row: int) -> dict[str, float]:
    """Return nerfstudio's keys of a camera."""
    height, width = cameras.sizes[row].tolist()
    fx, fy, cx, cy = cameras.intrinsics[row].tolist()
    keys = {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": width, "h": height}
    if cameras.distortion is not None:
        keys |= dict(zip(LENSES, cameras.distortion[row].tolist(), strict=True))
    return keys
