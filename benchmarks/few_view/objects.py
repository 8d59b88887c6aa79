"""Objects of the set of posed objects as captures: one archive each."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.posed_objects import validation_objects
from runtime.files import replace_file

SIDE = 64
"""Pixels, half of the set's."""

ANGLE = 2 * math.asin(1 / 4)
"""Angle of view of the set's cameras: the unit ball just fits at distance 4."""

TO_Z_UP = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], np.float32)
"""The set has +y up, archives have +z."""


def archives(folder: Path, cache: Path, count: int) -> Iterator[tuple[str, Path]]:
    """Yield the name and the archive of validation objects, evenly spaced among all."""
    for index, one in enumerate(validation_objects(folder, count, SIDE)):
        path = cache / f"{index}.npz"
        replace_file(path, archive_of(one.views, TO_Z_UP @ one.poses.numpy()))
        yield one.name, path


def archive_of(views: np.ndarray, poses: np.ndarray) -> bytes:
    """Return an archive of premultiplied RGBA pictures and their poses."""
    import io

    file = io.BytesIO()
    np.savez(file, images=views, poses=poses, camera_angle_x=np.float32(ANGLE), premultiplied=np.bool_(True))
    return file.getvalue()
