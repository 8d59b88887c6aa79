"""A photo as `lift` takes it: square, its object in the middle, before white."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from runtime.errors import UserError
from runtime.field.lifting.masks import filled
from runtime.field.lifting.matte import foreground
from runtime.pictures import read_picture

LONGEST = 512
"""Pixels of the longer side at which a photo is looked at."""

FILLED = 0.8
"""Part of the frame that the object's longer side takes."""

UNEVEN = 0.14
"""Largest difference from the background's colour that is background in a photo: light and noise vary."""


def read_framed(path: Path, side: int) -> Float[Tensor, "3 S S"]:
    """Return the object in a picture file before white, in the middle of a square.

    Args:
        path: of a picture whose background is transparent, or of one colour.
        side: of the square, in pixels.

    Raises:
        UserError: the file is no picture, or shows no object before an even background.
    """
    white, black = (_small(read_picture(path, background=grey)) for grey in (1.0, 0.0))
    # What is opaque looks the same before any background.
    alpha = 1 - (white - black).mean(0)
    if float(alpha.min()) < 0.5:
        mask = filled((alpha > 0.5).numpy())
    else:
        mask = foreground(white, near=UNEVEN)
        white = torch.where(torch.from_numpy(mask), white, 1.0)
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    if not mask.any() or edge.mean() > 0.5:
        got = "one without an object" if not mask.any() else "one that has no such border"
        raise UserError(
            f"'{path}': expected a picture of one object before a background of one colour, got {got}; "
            "cut the object out, as a PNG with transparency"
        )
    return _centred(white, mask, side)


def _small(picture: Float[Tensor, "3 H W"]) -> Float[Tensor, "3 h w"]:
    """Return a picture whose longer side has at most `LONGEST` pixels."""
    height, width = picture.shape[1:]
    factor = min(1.0, LONGEST / max(height, width))
    size = [max(8, round(length * factor)) for length in (height, width)]
    return functional.interpolate(picture[None], size=size, mode="bilinear", antialias=True)[0].clamp(0, 1)


def _centred(picture: Float[Tensor, "3 H W"], mask: Bool[np.ndarray, "H W"], side: int) -> Float[Tensor, "3 S S"]:
    """Return a square around a mask's bounding box, which takes `FILLED` of it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    spans = [(int(places[0]), int(places[-1]) + 1) for places in (rows, columns)]
    edge = round(max(last - first for first, last in spans) / FILLED)
    square = torch.ones(3, edge, edge)
    (top, bottom), (left, right) = spans
    y, x = (edge - bottom + top) // 2, (edge - right + left) // 2
    square[:, y : y + bottom - top, x : x + right - left] = picture[:, top:bottom, left:right]
    resized = functional.interpolate(square[None], size=(side, side), mode="bilinear", antialias=edge > side)
    return resized[0].clamp(0, 1)
