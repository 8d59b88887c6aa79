"""Objects of the set of posed objects as captures: one archive each."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from runtime.files import replace_file
from train.pixelnerf.objects import load_objects

SIDE = 64
"""Pixels, half of the set's."""

ANGLE = 2 * math.asin(1 / 4)
"""Angle of view of the set's cameras: the unit ball just fits at distance 4."""

TO_Z_UP = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], np.float32)
"""The set has +y up, archives have +z."""


def archives(folder: Path, cache: Path, count: int) -> Iterator[tuple[str, Path]]:
    """Yield the name and the archive of validation objects, evenly spaced among all."""
    objects = load_objects(folder, cache, SIDE)
    rows = objects.validation[:: max(1, len(objects.validation) // count)][:count].tolist()
    for row in rows:
        path = cache / f"{objects.ids[row].replace('/', '-')}.npz"
        views = np.ascontiguousarray(objects.views[row])
        replace_file(path, archive_of(views, TO_Z_UP @ objects.poses[row].numpy()))
        yield objects.ids[row], path


def archive_of(views: np.ndarray, poses: np.ndarray) -> bytes:
    """Return an archive of premultiplied RGBA pictures and their poses."""
    import io

    file = io.BytesIO()
    np.savez(file, images=views, poses=poses, camera_angle_x=np.float32(ANGLE), premultiplied=np.bool_(True))
    return file.getvalue()
