"""Pictures of an object as the network wants them: square, small, premultiplied, the object in their middle."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from runtime.errors import UserError
from runtime.field.captures.pictures import open_pictures, resize_premultiplied

NEAR = 0.07
"""Greatest difference of a channel from the border's colour with which a pixel is behind the object."""

FILL = 0.9
"""Share of half the picture's side that the object's farthest pixel has from its middle."""

LONGEST = 2048
"""Longest side at which a picture is looked at, pixels: far more than networks take, and far less than photos have."""

MIN_SHARE = 0.001
"""Share of the picture below which there is no object."""


def read_objects(paths: Sequence[Path], side: int, *, as_it_is: bool = False) -> Float32[Tensor, "V 4 S S"]:
    """Return pictures of one object, premultiplied, at the network's size.

    Where a picture has no transparency, what is behind the object is what is like its border and connected to it.
    In each picture the object is moved to the middle; all are scaled alike, since an object that looks narrow from
    one side must not be as large as from the others.

    Args:
        paths: the files.
        side: height and width to return.
        as_it_is: leave the object where it is; the pictures are only made square.

    Raises:
        UserError: a file is no picture, or no object stands out from what is behind it.
    """
    pictures = [_read(path) for path in paths]
    sizes = [max(picture.shape[:2]) for picture in pictures]
    if as_it_is:
        windows = [square_of(*picture.shape[:2]) for picture in pictures]
    else:
        own = [framed(picture[..., 3]) for picture in pictures]
        # In units of each picture's longer side: files of different sizes may be of the same camera.
        share = max(window[2] / size for window, size in zip(own, sizes, strict=True))
        windows = [(x, y, share * size) for (x, y, _), size in zip(own, sizes, strict=True)]
    squares = [_window(picture, *window) for picture, window in zip(pictures, windows, strict=True)]
    small = np.stack([resize_premultiplied(square, (side, side)) for square in squares])
    return torch.from_numpy(small).permute(0, 3, 1, 2).contiguous()


def _read(path: Path) -> Float32[np.ndarray, "H W 4"]:
    """Return a picture, premultiplied, with what is behind the object made transparent."""
    pictures, [(height, width)] = open_pictures([path])
    scale = min(1.0, LONGEST / max(height, width))
    rgba = pictures.read(0, (max(1, round(height * scale)), max(1, round(width * scale)))).numpy().copy()
    if not bool((rgba[..., 3] < 0.5).any()):
        rgba[..., 3] = object_of(rgba[..., :3])
    alpha = rgba[..., 3]
    if not MIN_SHARE < float(alpha.mean()) < 1 - MIN_SHARE:
        raise UserError(
            f"'{path}': expected one object before a plain or a transparent background, got a picture in which "
            f"{100 * float(alpha.mean()):.0f} % would be object; cut it out, as a PNG with transparency"
        )
    rgba[..., :3] *= alpha[..., None]
    return rgba


def object_of(rgb: Float32[np.ndarray, "H W 3"]) -> Float32[np.ndarray, "H W"]:
    """Return 1 where the object is: all that is not reached from the border through its colour."""
    from scipy.ndimage import label

    border = np.concatenate([rgb[0], rgb[-1], rgb[:, 0], rgb[:, -1]])
    near = (np.abs(rgb - np.median(border, axis=0)) < NEAR).all(-1)
    regions = np.asarray(label(near)[0])  # pyright: ignore[reportIndexIssue]
    edge = np.unique(np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]]))
    return (~np.isin(regions, edge[edge > 0])).astype(np.float32)


def framed(alpha: Float32[np.ndarray, "H W"]) -> tuple[float, float, float]:
    """Return middle (x, y) and side of a square in which the object fills its share."""
    rows, columns = np.nonzero(alpha > 0.5)
    if not len(rows):
        return square_of(*alpha.shape)
    middle_x, middle_y = (columns.min() + columns.max() + 1) / 2, (rows.min() + rows.max() + 1) / 2
    reach = np.hypot(columns + 0.5 - middle_x, rows + 0.5 - middle_y).max() + 0.5
    return float(middle_x), float(middle_y), float(2 * reach / FILL)


def square_of(height: int, width: int) -> tuple[float, float, float]:
    """Return middle and side of the smallest square that holds a picture."""
    return width / 2, height / 2, float(max(height, width))


def _window(rgba: Float32[np.ndarray, "H W 4"], x: float, y: float, side: float) -> Float32[np.ndarray, "S S 4"]:
    """Return a square of a picture, transparent beyond its borders, to the nearest pixel."""
    count = max(1, round(side))
    left, top = round(x - count / 2), round(y - count / 2)
    out = np.zeros((count, count, 4), np.float32)
    height, width = rgba.shape[:2]
    x0, x1, y0, y1 = max(left, 0), min(left + count, width), max(top, 0), min(top + count, height)
    out[y0 - top : y1 - top, x0 - left : x1 - left] = rgba[y0:y1, x0:x1]
    return out
