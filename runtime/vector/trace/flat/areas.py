"""Areas: connected parts of one colour, and which of them are lines too thin to have an inside.

Every pixel belongs in shares to up to three areas. A thin area gives its pixels to the areas around as well, for it is
drawn over them.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy import ndimage
from skimage.measure import label as label_areas

from runtime.vector.trace.flat.colours import Shares
from runtime.vector.trace.flat.kernels.owners import REACH, assign, far_from_thick

Mask = Bool[np.ndarray, "H W"]

SQUARE = np.ones((3, 3), dtype=bool)
THICK = 3
"""Side in pixels of the square that an area holds unless it is thin."""
MIN_TAIL = 6
"""Pixels of a thin part of a thick area from which on it is a line of its own."""


@dataclass(frozen=True)
class Thin:
    """A thin area."""

    label: int
    """Its colour in the palette."""
    rows: slice
    columns: slice
    coverage: Float64[np.ndarray, "h w"]
    """Its share of each pixel of that box."""


@dataclass(frozen=True)
class Areas:
    """Thick areas, and the thin ones over them."""

    labels: Int64[np.ndarray, " N"]
    """The colour of each thick area, an index of the palette."""
    owner: Int64[np.ndarray, "H W"]
    """The thick area that has most of each pixel."""
    areas: Int64[np.ndarray, "H W 3"]
    """The thick areas that share each pixel; -1 where there are fewer than three."""
    shares: Float64[np.ndarray, "H W 3"]
    """Sum to 1."""
    thin: list[Thin]


def areas_of(picture: Shares) -> Areas:
    """Return the areas of a picture."""
    most = picture.labels[..., 0]
    thick = _thick(most)
    far, near = far_from_thick(picture.labels, picture.shares, most, thick)
    thin = []
    thin_mask = np.zeros(most.shape, dtype=bool)
    if (far >= 0).any():
        parts = np.asarray(label_areas(far + 1, background=0, connectivity=2))
        for index, box in enumerate(ndimage.find_objects(parts), 1):
            part = _thin_part(parts, index, box, picture, far, near, thick)
            if part is not None:
                thin.append(part)
                own = (part.coverage > 0) & (most[part.rows, part.columns] == part.label)
                thin_mask[part.rows, part.columns] |= own
    owner, labels = _components(most, thin_mask)
    areas, shares = _shared(picture, labels, owner, thin)
    return Areas(labels, owner, areas, shares, thin)


def _thick(most) -> Mask:
    """Return the pixels that lie in a square of `THICK` pixels a side of one label; the edge of a picture goes on."""
    side = THICK - 1
    padded = np.pad(most, side, mode="edge")
    block = np.ones((padded.shape[0], padded.shape[1] - side), dtype=bool)
    for shift in range(side):
        block &= padded[:, shift : shift + block.shape[1]] == padded[:, shift + 1 : shift + 1 + block.shape[1]]
    rows = block.shape[0] - side
    square = block[:rows].copy()
    for shift in range(side):
        low, high = padded[shift : shift + rows, : -side or None], padded[shift + 1 : shift + 1 + rows, : -side or None]
        square &= block[shift + 1 : shift + 1 + rows] & (low == high)
    result = np.zeros(most.shape, dtype=bool)
    for down in range(THICK):
        for right in range(THICK):
            result |= square[down : down + most.shape[0], right : right + most.shape[1]]
    return result


def _thin_part(parts, index, box, picture: Shares, far, near, thick) -> Thin | None:
    """Return a connected part that is far from where its colour is thick, with the faint pixels around it."""
    own = parts[box] == index
    label = int(far[box][own][0])
    # A corner or a spike of a thick area stays with it.
    if near[box][own].any() and max(own.shape) < MIN_TAIL:
        return None
    margin = REACH + 3
    grown = tuple(slice(max(side.start - margin, 0), side.stop + margin) for side in box)
    share = np.where(picture.labels[grown] == label, picture.shares[grown], 0).sum(-1)
    core = thick[grown] & (picture.labels[grown][..., 0] == label)
    reach = np.asarray(ndimage.binary_dilation(core, SQUARE, iterations=REACH), dtype=bool)
    mask = parts[grown] == index
    # Up to where it meets a thick area.
    around = np.asarray(ndimage.binary_dilation(mask, SQUARE, iterations=2))
    beside = np.asarray(ndimage.binary_dilation(mask, SQUARE))
    coverage = np.where((around & np.logical_not(reach)) | beside, share, 0)
    return Thin(label, grown[0], grown[1], coverage)


def _components(most, thin) -> tuple[Int64[np.ndarray, "H W"], Int64[np.ndarray, " N"]]:
    """Return the thick area of every pixel, and each one's colour; thin pixels belong to what is nearest."""
    owner, labels = _connected(np.where(thin, -1, most))
    if thin.any():
        nearest = np.asarray(ndimage.distance_transform_edt(owner < 0, return_distances=False, return_indices=True))
        # What a line has cut in two may be one area once the line is taken off.
        owner, labels = _connected(labels[owner[nearest[0], nearest[1]]])
    return owner, labels


def _connected(labels) -> tuple[Int64[np.ndarray, "H W"], Int64[np.ndarray, " N"]]:
    """Return the areas of equal label, from 0, and the label of each; -1 where that is negative."""
    owner = np.asarray(label_areas(labels + 1, background=0, connectivity=1), dtype=np.int64) - 1
    result = np.zeros(owner.max() + 1, dtype=np.int64)
    result[owner[owner >= 0]] = labels[owner >= 0]
    return owner, result


def _shared(picture: Shares, colours, owner, thin: list[Thin]):
    """Return the areas that share each pixel, and their shares, without the thin ones."""
    areas = np.full(picture.labels.shape, -1)
    shares = picture.shares.copy()
    taken = np.zeros(owner.shape)
    ink = np.full(owner.shape, -1)
    for part in thin:
        box = (part.rows, part.columns)
        more = part.coverage > taken[box]
        ink[box] = np.where(more, part.label, ink[box])
        taken[box] = np.maximum(taken[box], part.coverage)
    assign(picture.labels, shares, owner, colours, ink, areas)
    return areas, shares
