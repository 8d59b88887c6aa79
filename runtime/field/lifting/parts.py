"""Appendages of an object, by their colour: a leaf, a stem, a flame, an ear.

They stick out of the body, and inflated together with it they would become as thick as it is.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int64
from scipy import ndimage
from torch import Tensor

from runtime.field.lifting.masks import dilated, filled, labelled, opened

COLOURS = (2, 3, 5)
"""Numbers of colours that a picture is divided into, in turn: a shaded leaf may be one of two, or two of five."""

SHARE = (0.015, 0.4)
"""Least and greatest share of the foreground that an appendage has."""

FREE = 0.35
"""Share of an appendage's outline that is the object's own outline, at least: the rest is where it is joined."""

ROUNDS = 12
"""Of Lloyd's algorithm."""


def nearest_colours(colours: Float[np.ndarray, "P 3"], count: int) -> Int64[np.ndarray, " P"]:
    """Return the cluster of each colour: Lloyd's k-means from the colours farthest apart, so nothing is drawn.

    Args:
        colours: at least one.
        count: clusters; some stay empty where there are fewer colours.
    """
    centres = colours.mean(0, keepdims=True)
    for _ in range(count):
        # From the mean on; the mean itself is no colour of the picture and is dropped below.
        gap = ((colours[:, None] - centres) ** 2).sum(-1).min(1)
        centres = np.concatenate([centres, colours[gap.argmax()][None]])
    centres = centres[1:]
    labels = np.zeros(len(colours), np.int64)
    for _ in range(ROUNDS):
        labels = ((colours[:, None] - centres) ** 2).sum(-1).argmin(1)
        # An empty cluster keeps its centre: the mean of nothing is NaN, which would draw all colours to it.
        present = np.bincount(labels, minlength=count) > 0
        means = [colours[labels == label].mean(0) if present[label] else centres[label] for label in range(count)]
        centres = np.stack(means)
    return labels


def colour_regions(
    picture: Float[Tensor, "3 H W"], mask: Bool[np.ndarray, "H W"], count: int
) -> Iterator[Bool[np.ndarray, "H W"]]:
    """Yield the connected regions of one colour in a mask, without bridges one or two pixels wide."""
    smooth = ndimage.median_filter(picture.numpy(), (1, 5, 5)).transpose(1, 2, 0)
    labels = np.full(mask.shape, -1)
    labels[mask] = nearest_colours(smooth[mask], count)
    for label in range(count):
        pieces, number = labelled(opened(labels == label))
        for piece in range(1, number + 1):
            yield pieces == piece


def appendages(picture: Float[Tensor, "3 H W"], mask: Bool[np.ndarray, "H W"]) -> list[Bool[np.ndarray, "H W"]]:
    """Return the appendages of an object.

    Args:
        picture: RGB in [0, 1].
        mask: the object's foreground.
    """
    if not mask.any():
        return []
    low, high = SHARE[0] * mask.sum(), SHARE[1] * mask.sum()
    chosen: list[Bool[np.ndarray, "H W"]] = []
    for count in COLOURS:
        for region in colour_regions(picture, mask, count):
            # The filter and the opening have taken a pixel of its outline.
            grown = filled(dilated(region) & mask)
            taken = any((grown & other).sum() > 0.2 * grown.sum() for other in chosen)
            if not taken and low <= region.sum() <= high and free_outline(grown, mask) > FREE:
                chosen.append(grown)
    return chosen


def free_outline(region: Bool[np.ndarray, "H W"], mask: Bool[np.ndarray, "H W"]) -> float:
    """Return the share of the pixels around a region that lie outside a mask; what is out of the frame counts not."""
    ring = dilated(region) & ~region
    return float((ring & ~mask).sum() / max(ring.sum(), 1))
