"""Edges of areas moved to where Mumford's and Shah's functional is lower: shorter, and between like colours smoother.

Region merging takes edges away and moves none: between two near shades they follow the noise of the picture. Here each
pixel goes, again and again, to the area that has most of its surroundings and a colour like its own: the threshold
dynamics of Merriman, Bence and Osher, with lengths as Esedoglu and Otto have them (Threshold dynamics for networks with
arbitrary surface tensions, 2015).
"""

import numpy as np
from jaxtyping import Float64, Int64
from scipy import ndimage

from runtime.vector.trace.flat.kernels.moving import cheapest_areas

WIDTH = 3.5
"""Standard deviation in pixels of what counts as a pixel's surroundings. A bend of a larger radius than its square
stays, as it would move by less than a pixel in a round."""
REACH = 3.0
"""Standard deviations after which the surroundings end."""
ROUNDS = 10
"""Most times that pixels at edges are looked at; of what moves in 25 rounds, four fifths move in the first seven."""
NEAR = 3
"""Pixels from an edge up to which one is looked at."""

Labels = Int64[np.ndarray, "h w"]


def settled(
    labels: Labels,
    pixels: Float64[np.ndarray, "h w 3"],
    weights: Float64[np.ndarray, "h w"],
    edge: float,
    width: float = WIDTH,
    rounds: int = ROUNDS,
) -> Labels:
    """Return areas of which no pixel wants to change, or those after the last round.

    Args:
        labels: areas, from 0. One may be lost; the others then have new names.
        pixels: the picture.
        weights: how much each pixel counts, above 0.
        edge: cost per pixel of an edge, as a squared error.
        width: standard deviation in pixels of a pixel's surroundings.
        rounds: most rounds.
    """
    count = int(labels.max()) + 1
    # What flows out of an area in a short time is its length, times the width over the root of two pi.
    tension = edge * np.sqrt(2 * np.pi) / width
    reach = int(REACH * width + 0.5)
    bell = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    bell /= bell.sum()
    looked_at = np.ones(labels.shape, dtype=np.bool_)
    side = 2 * NEAR + 1
    for _ in range(rounds):
        sums = np.maximum(np.bincount(labels.ravel(), weights.ravel(), count), 1e-12)
        colours = [np.bincount(labels.ravel(), (weights * pixels[..., k]).ravel(), count) / sums for k in range(3)]
        looked_at &= ndimage.minimum_filter(labels, side) != ndimage.maximum_filter(labels, side)
        # Mirrored at the border, so that what flows from one pixel to another flows back as well.
        around = np.pad(labels, reach, mode="symmetric")
        after = cheapest_areas(around, pixels, weights, np.stack(colours, axis=1), bell, tension, looked_at)
        looked_at = ndimage.maximum_filter(after != labels, side)
        if not looked_at.any():
            break
        labels = after
    _, names = np.unique(labels, return_inverse=True)
    return names.reshape(labels.shape)
