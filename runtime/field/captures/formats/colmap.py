"""COLMAP's sparse models, text and binary: cameras, images and points3D."""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from runtime.errors import UserError
from runtime.field.cameras import Cameras
from runtime.field.captures.capture import Capture
from runtime.field.captures.formats.parts import sizes_tensor
from runtime.field.captures.pictures import open_pictures
from runtime.field.conventions import to_opengl
from runtime.files import read_ordinary

FOLDERS = ("sparse/0", "colmap/sparse/0", "sparse", ".")
"""Where the model may be, below the capture's folder."""

MODELS = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
}
"""Camera models that are taken: their numbers, names and counts of parameters."""

GREATEST_MODEL = 1 << 32
"""Greatest size of a file of a model, bytes: ten million points with their tracks."""

COUNTS = dict(MODELS.values())
"""Counts of parameters by name."""


@dataclass(frozen=True)
class _Camera:
    model: str
    size: tuple[int, int]
    parameters: tuple[float, ...]


@dataclass(frozen=True)
class _Image:
    quaternion: tuple[float, ...]
    translation: tuple[float, ...]
    camera: int
    name: str


def find_model(folder: Path) -> Path | None:
    """Return the folder of a sparse model below a capture's folder; None where there is none."""
    for name in FOLDERS:
        for suffix in ("bin", "txt"):
            if (folder / name / f"cameras.{suffix}").is_file() and (folder / name / f"images.{suffix}").is_file():
                return folder / name
    return None


def read_colmap(folder: Path, images: Path | None = None) -> Capture:
    """Return the capture of a folder with a sparse model; its pictures are in `images`.

    Args:
        folder: of the capture, or of the model.
        images: folder of the pictures; by default images beside or above the model.

    Raises:
        UserError: there is no model, it is damaged, has another camera model, or pictures are missing.
    """
    model = find_model(folder)
    if model is None:
        raise UserError(f"'{folder}': expected cameras and images of a COLMAP model, got neither .bin nor .txt files")
    binary = (model / "cameras.bin").is_file()
    try:
        cameras = dict(_binary_cameras(model) if binary else _text_cameras(model))
        # COLMAP writes images in the sequence in which it registered them, which changes from run to run.
        entries = sorted(_binary_images(model) if binary else _text_images(model), key=lambda entry: entry.name)
        points = _points(model)
    except UserError:
        raise
    except (struct.error, ValueError, IndexError, KeyError, OSError, OverflowError) as error:
        raise UserError(f"'{model}': expected a COLMAP model, got files that are damaged ({error!s:.80})") from None
    if not entries:
        raise UserError(f"'{model}': expected posed images, got a model without any")
    where = images or _picture_folder(folder, model)
    pictures, sizes = open_pictures([where / entry.name for entry in entries])
    matrices = torch.stack([_matrix(entry) for entry in entries])
    rows = [_row(cameras, entry, size, model) for entry, size in zip(entries, sizes, strict=True)]
    table = torch.tensor(rows, dtype=torch.float32)
    lenses = table[:, 4:]
    return Capture(
        format="COLMAP",
        cameras=Cameras(
            poses=to_opengl(matrices, "colmap"),
            intrinsics=table[:, :4].contiguous(),
            sizes=sizes_tensor(sizes),
            distortion=lenses.contiguous() if bool(lenses.any()) else None,
        ),
        names=tuple(entry.name for entry in entries),
        pictures=pictures,
        points=points,
    )


def _picture_folder(folder: Path, model: Path) -> Path:
    # A model lies in sparse/0 below the capture, in sparse, or is handed over by itself.
    for base in (folder, model.parent.parent, model.parent, model):
        if (base / "images").is_dir():
            return base / "images"
    return folder


def _matrix(entry: _Image) -> Float32[Tensor, "4 4"]:
    """Return the world-to-camera matrix of a quaternion (w, x, y, z) and a translation."""
    length = math.hypot(*entry.quaternion)
    if length == 0:
        raise UserError(f"the pose of '{entry.name}': expected a quaternion of a rotation, got four zeros")
    w, x, y, z = (value / length for value in entry.quaternion)
    turn = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = torch.tensor(turn, dtype=torch.float64)
    matrix[:3, 3] = torch.tensor(entry.translation, dtype=torch.float64)
    # Worked out in float64: a quaternion of float32 is no rotation to 1e-6, which `check_poses` asks for.
    return matrix.float()


def _row(cameras: dict[int, _Camera], entry: _Image, size: tuple[int, int], model: Path) -> list[float]:
    """Return fx, fy, cx, cy at the size of the picture, and the lens' six terms."""
    camera = cameras.get(entry.camera)
    if camera is None:
        raise UserError(f"'{model}': the image '{entry.name}' names the camera {entry.camera}, which the model lacks")
    p = camera.parameters
    if camera.model in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL"):
        fx, fy, cx, cy, lens = p[0], p[0], p[1], p[2], p[3:]
        terms = [*lens, *[0.0] * (6 - len(lens))]
    else:
        fx, fy, cx, cy = p[:4]
        k1, k2, p1, p2 = p[4:8] if camera.model == "OPENCV" else (0.0, 0.0, 0.0, 0.0)
        terms = [k1, k2, 0.0, 0.0, p1, p2]
    # Pictures may have been reduced after COLMAP has seen them (images_4 of LLFF's scenes).
    x, y = size[1] / camera.size[1], size[0] / camera.size[0]
    return [fx * x, fy * y, cx * x, cy * y, *terms]


def _text_lines(path: Path) -> list[str]:
    return [
        line for line in read_ordinary(path, GREATEST_MODEL).decode("utf-8").splitlines() if not line.startswith("#")
    ]


def _text_cameras(model: Path) -> Iterator[tuple[int, _Camera]]:
    for line in filter(str.strip, _text_lines(model / "cameras.txt")):
        words = line.split()
        yield int(words[0]), _camera(words[1], (int(words[3]), int(words[2])), tuple(map(float, words[4:])), model)


def _text_images(model: Path) -> Iterator[_Image]:
    # Two lines an image; the second one, its points, may be empty.
    for line in _text_lines(model / "images.txt")[::2]:
        if not line.strip():
            continue
        words = line.split(maxsplit=9)
        yield _Image(tuple(map(float, words[1:5])), tuple(map(float, words[5:8])), int(words[8]), words[9].strip())


def _camera(name: str, size: tuple[int, int], parameters: tuple[float, ...], model: Path) -> _Camera:
    if name not in COUNTS:
        raise UserError(
            f"'{model}': camera model: expected one of {', '.join(COUNTS)}, got {name:.40}; run "
            "colmap image_undistorter"
        )
    if len(parameters) != COUNTS[name] or min(size) < 1:
        raise UserError(
            f"'{model}': camera {name}: expected {COUNTS[name]} parameters and a size, got {len(parameters)}"
        )
    return _Camera(name, size, parameters)


class _Reader:
    """Little-endian numbers out of a file's bytes."""

    def __init__(self, path: Path) -> None:
        self.data, self.at = read_ordinary(path, GREATEST_MODEL), 0

    def take(self, form: str) -> tuple:
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values

    def text(self) -> str:
        end = self.data.index(b"\0", self.at)
        value = self.data[self.at : end].decode("utf-8")
        self.at = end + 1
        return value

    def skip(self, count: int) -> None:
        # A damaged count must end in a message, not in a position far outside that later reads report.
        if self.at + count > len(self.data):
            raise ValueError("the file ends too early")
        self.at += count


def _binary_cameras(model: Path) -> Iterator[tuple[int, _Camera]]:
    reader = _Reader(model / "cameras.bin")
    for _ in range(reader.take("Q")[0]):
        key, kind, width, height = reader.take("iiQQ")
        if kind not in MODELS:
            _camera(f"number {kind}", (1, 1), (), model)
        name, count = MODELS[kind]
        yield key, _camera(name, (height, width), reader.take(f"{count}d"), model)


def _binary_images(model: Path) -> Iterator[_Image]:
    reader = _Reader(model / "images.bin")
    for _ in range(reader.take("Q")[0]):
        _, *numbers, camera = reader.take("i7di")
        name = reader.text()
        # Of each point its place, two float64, and its number, an int64.
        reader.skip(24 * reader.take("Q")[0])
        yield _Image(tuple(numbers[:4]), tuple(numbers[4:]), camera, name)


def _points(model: Path) -> Float32[Tensor, "N 3"] | None:
    """Return the model's points; None where it has no file of them, or an empty one."""
    rows: list[tuple[float, ...]] = []
    if (model / "points3D.bin").is_file():
        reader = _Reader(model / "points3D.bin")
        for _ in range(reader.take("Q")[0]):
            rows.append(reader.take("Q3d3Bd")[1:4])
            reader.skip(8 * reader.take("Q")[0])
    elif (model / "points3D.txt").is_file():
        lines = filter(str.strip, _text_lines(model / "points3D.txt"))
        rows = [tuple(map(float, line.split()[1:4])) for line in lines]
    # Points at infinity occur where two rays are parallel; the scene's box is worked out from the rest.
    finite = np.array(rows, dtype=np.float32).reshape(-1, 3)
    finite = finite[np.isfinite(finite).all(1)]
    return torch.from_numpy(finite) if len(finite) else None
