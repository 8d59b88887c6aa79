"""Morphology of masks: `scipy.ndimage` with plain arrays for results."""

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy import ndimage


def labelled(mask: Bool[np.ndarray, "H W"]) -> tuple[Int64[np.ndarray, "H W"], int]:
    """Return the number of each pixel's connected piece, from 1, 0 outside; and how many pieces there are."""
    labels = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, output=labels)
    return labels.astype(np.int64), int(labels.max(initial=0))


def eroded(mask: Bool[np.ndarray, "H W"], count: int = 1) -> Bool[np.ndarray, "H W"]:
    """Return a mask without so many pixels at its outline; the frame's border counts as outline."""
    return ~_grown(~mask, count, outside=True)


def dilated(mask: Bool[np.ndarray, "H W"], count: int = 1) -> Bool[np.ndarray, "H W"]:
    """Return a mask with so many pixels more around it."""
    return _grown(mask, count, outside=False)


def opened(mask: Bool[np.ndarray, "H W"], count: int = 1) -> Bool[np.ndarray, "H W"]:
    """Return a mask without what is narrower than about twice so many pixels."""
    return dilated(eroded(mask, count), count)


def filled(mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Return a mask without holes."""
    pieces, count = labelled(~mask)
    reaches = np.zeros(count + 1, bool)
    for edge in (pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]):
        reaches[edge] = True
    # What is in the mask has the number 0 and stays in it.
    reaches[0] = False
    return ~reaches[pieces]


def _grown(mask: Bool[np.ndarray, "H W"], count: int, *, outside: bool) -> Bool[np.ndarray, "H W"]:
    """Return a mask with the four neighbours of each of its pixels, so many times; beyond the frame is `outside`."""
    # By slices: SciPy's own takes ten times as long for pictures as small as those of a step of distillation.
    for _ in range(count):
        framed = np.pad(mask, 1, constant_values=outside)
        mask = mask | framed[:-2, 1:-1] | framed[2:, 1:-1] | framed[1:-1, :-2] | framed[1:-1, 2:]
    return mask


def distance_inside(mask: Bool[np.ndarray, "H W"]) -> Float64[np.ndarray, "H W"]:
    """Return each pixel's distance from the nearest one outside a mask; 0 outside."""
    return np.asarray(ndimage.distance_transform_edt(mask))


def nearest_inside(mask: Bool[np.ndarray, "H W"]) -> tuple[Int64[np.ndarray, "H W"], Int64[np.ndarray, "H W"]]:
    """Return row and column of the nearest pixel inside a mask that is not empty."""
    places = np.asarray(ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True))
    return places[0].astype(np.int64), places[1].astype(np.int64)
