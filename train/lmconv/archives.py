"""Readers of the files that data sets come in: IDX, CIFAR-10's binary version, npz archives, folders of pictures.

All return uint8 (N, channels, H, W) and say what was wrong with a file. Nothing is unpickled.
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from runtime.arrays import read_arrays
from runtime.errors import UserError
from runtime.files import check_ordinary, read_ordinary

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
_IDX = ("train-images", "t10k-images")
_CIFAR_ROW = 1 + 3 * 32 * 32

MAX_PIXELS = 64_000_000
"""Most pixels in one picture of a folder."""

MAX_BYTES = 1 << 30
"""Most bytes that a compressed file may unpack to; MNIST has 47 million."""


def read_idx(path: Path) -> np.ndarray:
    """Return the pictures (N, 1, H, W) of an IDX file, which may be gzipped.

    Raises:
        UserError: where it is no IDX file of bytes with three axes, or is cut short.
    """
    try:
        data = _unpack(path) if path.suffix == ".gz" else read_ordinary(path, MAX_BYTES)
    except (OSError, EOFError, zlib.error, MemoryError) as error:
        raise UserError(f"'{path}' cannot be read: {error}") from error
    if data[:4] != b"\x00\x00\x08\x03":
        raise UserError(
            f"'{path}': expected an IDX file of pictures (magic 00000803), got {data[:4].hex() or 'nothing'}"
        )
    if len(data) < 16:
        raise UserError(f"'{path}': expected an IDX file of at least 16 bytes, got {len(data)}; copy the file again")
    shape = np.frombuffer(data, ">u4", 3, 4).tolist()
    size = 16 + math.prod(shape)  # of Python's integers, which do not overflow
    if len(data) != size:
        raise UserError(f"'{path}': expected {size} bytes, got {len(data)}; copy the file again")
    return np.frombuffer(data, np.uint8, offset=16).reshape(shape[0], 1, shape[1], shape[2])


def _unpack(path: Path) -> bytes:
    """Return the content of a gzip file, which must not be more than any set of pictures."""
    check_ordinary(path)
    with gzip.open(path) as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise UserError(f"'{path}' unpacks to more than {MAX_BYTES} bytes: expected a set of small pictures")
    return data


def read_idx_folder(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return MNIST's training and test pictures of a folder with the standard IDX files."""
    arrays = []
    for name in _IDX:
        names = (f"{name}-idx3-ubyte", f"{name}.idx3-ubyte", f"{name}-idx3-ubyte.gz", f"{name}.idx3-ubyte.gz")
        files = [folder / n for n in names if (folder / n).is_file()]
        if not files:
            raise UserError(f"'{folder}': expected {name}-idx3-ubyte or {name}-idx3-ubyte.gz, got neither")
        arrays.append(read_idx(files[0]))
    return arrays[0], arrays[1]


def read_cifar10(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return CIFAR-10's training and test pictures of a folder with its binary version."""
    train = [_read_cifar_file(folder / f"data_batch_{i}.bin") for i in range(1, 6)]
    return np.concatenate(train), _read_cifar_file(folder / "test_batch.bin")


def _read_cifar_file(path: Path) -> np.ndarray:
    if not path.is_file():
        raise UserError(
            f"'{path}' is missing: CIFAR-10's binary version is needed (data_batch_1.bin ... test_batch.bin); the "
            "Python version is a pickle and is not read"
        )
    data = np.fromfile(path, np.uint8)
    if len(data) == 0 or len(data) % _CIFAR_ROW:
        raise UserError(f"'{path}': expected a multiple of {_CIFAR_ROW} bytes, got {len(data)}; copy the file again")
    return data.reshape(-1, _CIFAR_ROW)[:, 1:].reshape(-1, 3, 32, 32)


def read_npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the arrays `x_train` and `x_test` of an archive, grey (N, H, W) or colour (N, H, W, 3), uint8.

    Raises:
        UserError: where one is missing or has another type or shape.
    """
    arrays = read_arrays(path, ("x_train", "x_test"))
    if len(arrays) < 2:
        raise UserError(f"'{path}': expected arrays x_train and x_test, got {', '.join(arrays) or 'neither'}")
    pictures = []
    for name, array in arrays.items():
        colour = array.ndim == 4 and array.shape[3] == 3
        if array.dtype != np.uint8 or not (array.ndim == 3 or colour):
            raise UserError(
                f"'{path}', {name}: expected uint8 (N, H, W) or (N, H, W, 3), got {array.dtype} {array.shape}"
            )
        pictures.append(array.transpose(0, 3, 1, 2) if colour else array[:, None])
    return pictures[0], pictures[1]


def read_folder(folder: Path, size: int | None) -> np.ndarray:
    """Return the colour pictures of a folder in the sequence of their names, bilinearly reduced to `size` if given.

    Raises:
        UserError: where there are fewer than two, one cannot be read, or they differ in size.
    """
    from PIL import Image

    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES)
    if len(files) < 2:
        raise UserError(
            f"'{folder}': expected at least two pictures ({', '.join(sorted(_SUFFIXES))}), got {len(files)}"
        )
    pictures = []
    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    for file in files:
        try:
            # no other decoder: an EPS under another name would start Ghostscript
            with Image.open(file, formats=_FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UserError(f"'{file}': expected at most {MAX_PIXELS} pixels, got {image.width * image.height}")
                picture = image.convert("RGB")
        except UserError:
            raise
        except (OSError, SyntaxError, ValueError, *bombs) as error:
            raise UserError(f"'{file}' cannot be read as a picture: {error}") from error
        if size is not None:
            picture = picture.resize((size, size), Image.Resampling.BILINEAR)
        pictures.append(np.asarray(picture).transpose(2, 0, 1))
        if pictures[-1].shape != pictures[0].shape:
            came = f"{picture.width} x {picture.height}"
            raise UserError(f"'{file}': expected pictures of one size, got {came}; give --size to reduce all to one")
    return np.stack(pictures)
