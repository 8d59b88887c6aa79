"""What the back of an object looks like whose front is in a picture.

There are three kinds of objects. What has eyes is seen from in front, and has none at its back: its back is plain.
Eyes are a pair, one on each side of the object's axis; dark spots that are many, or lie anywhere, are a pattern, which
goes on behind. What is lopsided is seen from its side, as a fish: from behind it is its own mirror image. All else, an
apple or a mushroom, looks alike from all around.
"""

from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from runtime.field.lifting.masks import eroded, filled, labelled

Back = Literal["auto", "wrap", "mirror", "plain"]
"""See `runtime.field.lifting.solid.lift`."""

EVEN = 0.8
"""Overlap of an outline with its mirror image from which on an object counts as symmetric."""

DARK = 0.45
"""Greatest brightness of an eye, and `CONTRAST` less than the object's median."""
CONTRAST = 0.2

EYE = (0.002, 0.12)
"""Least and greatest share of the object that an eye has."""


COLOURLESS = 0.65
"""Greatest value of any channel of an eye."""

OFF_AXIS = 0.08
"""Greatest distance of the middle between two eyes from the object's axis, in parts of its width."""

MANY = 6
"""Dark places from which on they are a pattern of spots, and no eyes, nose and mouth."""


class Blob(NamedTuple):
    """A dark place."""

    row: float
    column: float
    size: int


def choose_back(picture: Float[Tensor, "3 H W"], mask: Bool[np.ndarray, "H W"]) -> Literal["wrap", "mirror", "plain"]:
    """Return what suits an object; see the module's text.

    Args:
        picture: RGB in [0, 1].
        mask: the object's foreground.
    """
    if has_eyes(picture, mask):
        return "plain"
    return "wrap" if symmetry(mask) >= EVEN else "mirror"


def symmetry(mask: Bool[np.ndarray, "H W"]) -> float:
    """Return the overlap (intersection over union) of an outline with its mirror image, about the best upright axis."""
    return best_axis(mask)[0]


def best_axis(mask: Bool[np.ndarray, "H W"]) -> tuple[float, float]:
    """Return that overlap, and the column of the axis; 1 and 0 where nothing is."""
    columns = np.flatnonzero(mask.any(0))
    if not len(columns):
        return 1.0, 0.0
    # A handle's opening says nothing about the rest.
    shape = filled(mask)[:, columns[0] : columns[-1] + 1]
    width = shape.shape[1]
    padded = np.pad(shape, ((0, 0), (width // 2, width // 2))).astype(bool)
    best, axis = 0.0, 0.0
    # A mirror image that is moved by n columns is one about an axis that is moved by half of that.
    for shift in range(width // 2 * 2 + 1):
        image = np.zeros_like(padded)
        image[:, shift : shift + width] = shape[:, ::-1]
        overlap = float((image & padded).sum() / (image | padded).sum())
        if overlap > best:
            best, axis = overlap, float(columns[0] + (width - 1) / 2 + (shift - width // 2) / 2)
    return best, axis


def dark_blobs(picture: Float[Tensor, "3 H W"], mask: Bool[np.ndarray, "H W"]) -> list[Blob]:
    """Return small, compact places inside an object that are dark, while most of it is not."""
    smooth = ndimage.gaussian_filter(picture.numpy(), (0, 1.0, 1.0))
    brightness = smooth.mean(0)
    inner = eroded(mask, 4)
    if not inner.any():
        return []
    limit = min(DARK, float(np.median(brightness[inner])) - CONTRAST)
    # Dark in all channels: what lies between the white spots of a red cap is dark but for its red.
    pieces, count = labelled((brightness < limit) & (smooth.max(0) < COLOURLESS) & inner)
    blobs = []
    for index in range(1, count + 1):
        rows, columns = np.nonzero(pieces == index)
        size = len(rows)
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        compact = size > 0.45 * height * width and max(height, width) <= 3 * min(height, width)
        if compact and EYE[0] * mask.sum() <= size <= EYE[1] * mask.sum():
            blobs.append(Blob(float(rows.mean()), float(columns.mean()), size))
    return blobs


def has_eyes(picture: Float[Tensor, "3 H W"], mask: Bool[np.ndarray, "H W"]) -> bool:
    """Return whether two dark places are of like size and height and lie apart as eyes do, not at the very bottom.

    The object's axis passes in their middle, and there are few dark places beside them.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return False
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    axis = best_axis(mask)[1]
    blobs = dark_blobs(picture, mask)
    for first, second in combinations(blobs, 2) if len(blobs) < MANY else ():
        level = abs(first.row - second.row) < 0.1 * height
        apart = 0.1 * width < abs(first.column - second.column) < 0.6 * width
        alike = min(first.size, second.size) > 0.4 * max(first.size, second.size)
        above = max(first.row, second.row) < rows[0] + 0.75 * height
        centred = abs((first.column + second.column) / 2 - axis) < OFF_AXIS * width
        if level and apart and alike and above and centred:
            return True
    return False
