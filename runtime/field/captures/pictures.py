"""Where the pictures of a capture come from: files, or one array; and their masks and depths."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8
from PIL import Image, ImageOps
from torch import Tensor

from runtime.arrays import read_array
from runtime.errors import UserError
from runtime.pictures import open_picture, to_rgba

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
"""Pillow's names of the formats that are read."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".PNG", ".JPG", ".JPEG", ".WEBP")
"""Endings of pictures' names."""

ORIENTATION = 274
"""Exif's tag for a picture that is to be turned; 5 to 8 exchange width and height."""


class Pictures(Protocol):
    """Pictures by index."""

    @property
    def has_alpha(self) -> bool:
        """Whether any of them has an alpha channel."""
        ...

    def read(self, index: int, size: tuple[int, int]) -> Float32[Tensor, "H W 4"]:
        """Return a picture with straight alpha, reduced to a height and width."""
        ...

    def select(self, indices: Sequence[int]) -> "Pictures":
        """Return some of them."""
        ...


@dataclass(frozen=True)
class PictureFiles:
    """Pictures in files, one each."""

    paths: tuple[Path, ...]
    has_alpha: bool

    def read(self, index: int, size: tuple[int, int]) -> Float32[Tensor, "H W 4"]:
        """Return a picture with straight alpha, reduced to a height and width.

        Raises:
            UserError: the file is gone, or is no picture.
        """
        with open_picture(self.paths[index], FORMATS) as image:
            # JPEG decodes to a half, a quarter or an eighth at no cost: no 24 megapixels in memory for a small picture.
            image.draft("RGB", (size[1], size[0]))
            levels = to_rgba(image)
        return torch.from_numpy(_reduced(levels, size))

    def select(self, indices: Sequence[int]) -> "PictureFiles":
        """Return some of them."""
        return PictureFiles(tuple(self.paths[i] for i in indices), self.has_alpha)


@dataclass(frozen=True)
class PictureArray:
    """Pictures in an array, with straight or premultiplied alpha."""

    values: UInt8[np.ndarray, "V H W C"]
    premultiplied: bool

    @property
    def has_alpha(self) -> bool:
        """Whether they have an alpha channel."""
        return self.values.shape[3] == 4

    def read(self, index: int, size: tuple[int, int]) -> Float32[Tensor, "H W 4"]:
        """Return a picture with straight alpha, reduced to a height and width."""
        levels = self.values[index].astype(np.float32) / 255
        if not self.has_alpha:
            levels = np.concatenate([levels, np.ones_like(levels[..., :1])], axis=-1)
        elif not self.premultiplied:
            levels[..., :3] *= levels[..., 3:]
        return torch.from_numpy(_straight(resize_premultiplied(levels, size)))

    def select(self, indices: Sequence[int]) -> "PictureArray":
        """Return some of them."""
        return PictureArray(self.values[list(indices)], self.premultiplied)


def open_pictures(paths: Sequence[Path]) -> tuple[PictureFiles, list[tuple[int, int]]]:
    """Return pictures in files, and the height and width of each, from their headers alone.

    Raises:
        UserError: files are missing, are no pictures, or have more than `runtime.pictures.MAX_PIXELS` pixels.
    """
    missing = [path for path in paths if not is_file(path)]
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(
            f"the picture '{missing[0]}'{others} of {len(paths)} is missing; put it there, or take it out of the "
            "capture"
        )
    sizes, has_alpha = [], False
    for path in paths:
        with open_picture(path, FORMATS) as image:
            sizes.append(_upright_size(image))
            has_alpha = has_alpha or image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    return PictureFiles(tuple(paths), has_alpha), sizes


def is_file(path: Path) -> bool:
    """Return whether there is a file of a name, which may come out of another file and be none."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or with a null byte
        return False


def read_mask(path: Path, size: tuple[int, int]) -> Bool[Tensor, "H W"]:
    """Return where a mask is not black, at a height and width: a pixel counts where all of it does.

    Raises:
        UserError: the file is missing or no picture.
    """
    with open_picture(path, FORMATS) as image:
        grey = np.asarray(ImageOps.exif_transpose(image).convert("L"), dtype=np.float32) / 255
    return torch.from_numpy(resize_premultiplied((grey > 0.5).astype(np.float32)[..., None], size)[..., 0] > 0.999)


def read_depth(path: Path, size: tuple[int, int], unit: float) -> Float32[Tensor, "H W"]:
    """Return a depth file's values times a unit (a .npy file's are taken as they are), at a height and width.

    Raises:
        UserError: the file is missing, or holds no depths.
    """
    if path.suffix == ".npy":
        values = read_array(path)
        unit = 1.0
    else:
        with open_picture(path, FORMATS) as image:
            values = np.asarray(image)
    if values.ndim != 2 or not values.size:
        raise UserError(f"the depths '{path}': expected one number a pixel, got shape {values.shape}")
    # No mean: between a near and a far depth lies nothing.
    rows = ((np.arange(size[0]) + 0.5) * values.shape[0] / size[0]).astype(int)
    columns = ((np.arange(size[1]) + 0.5) * values.shape[1] / size[1]).astype(int)
    return torch.from_numpy(values[rows][:, columns].astype(np.float32) * np.float32(unit))


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """Return height and width of a picture once it stands upright."""
    turned = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
    return (image.width, image.height) if turned else (image.height, image.width)


def _reduced(levels: Float32[np.ndarray, "h w 4"], size: tuple[int, int]) -> Float32[np.ndarray, "H W 4"]:
    """Return a picture with straight alpha at a height and width."""
    if levels.shape[:2] == size:
        return levels  # straight as it is: colours under an alpha of 0 stay what they are
    levels[..., :3] *= levels[..., 3:]
    return _straight(resize_premultiplied(levels, size))


def resize_premultiplied(levels: Float32[np.ndarray, "h w C"], size: tuple[int, int]) -> Float32[np.ndarray, "H W C"]:
    """Return premultiplied levels at another size: means over boxes, which neither ring nor shift."""
    if levels.shape[:2] == size:
        return levels
    target = (size[1], size[0])
    planes = [
        np.asarray(Image.fromarray(np.ascontiguousarray(levels[..., c])).resize(target, Image.Resampling.BOX))
        for c in range(levels.shape[2])
    ]
    return np.stack(planes, axis=-1).astype(np.float32)


def _straight(levels: Float32[np.ndarray, "H W 4"]) -> Float32[np.ndarray, "H W 4"]:
    """Return premultiplied levels with straight alpha; what is fully transparent is black."""
    alpha = levels[..., 3:]
    colour = np.where(alpha > 0, levels[..., :3] / np.where(alpha > 0, alpha, 1), 0).clip(0, 1)
    return np.concatenate([colour, alpha], axis=-1).astype(np.float32)
