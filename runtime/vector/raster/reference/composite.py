"""Twins of `kernels.composite`: one row of pixels (3, W), and the gradient of compositing a path over it.

All take any floating dtype and never round to another; blocks are the kernels' alone.
"""

from itertools import groupby

import numpy as np
from jaxtyping import Float, Float64

from runtime.vector.raster.kernels.arrays import BLOCK

Pixels = Float[np.ndarray, "3 W"]


def row_coverage(spans: np.ndarray, width: int) -> Float64[np.ndarray, " {width}"]:
    """Coverage of a row by one path, given its spans there."""
    coverage = np.zeros(width)
    for span in spans:
        coverage[span["start"] : span["stop"]] = span["coverage"]
    return coverage


def count_blocks(spans: np.ndarray) -> int:
    """Blocks of all paths of a row together: each path's from its first column to after its last, rounded up."""
    paths = [list(group) for _, group in groupby(spans, lambda span: span["path"])]
    return sum(-(-(int(path[-1]["stop"]) - int(path[0]["start"])) // BLOCK) for path in paths)


def blend(pixels: Pixels, coverage: Float[np.ndarray, " W"], colour: Float[np.ndarray, "4"]) -> Pixels:
    """Pixels with a straight RGBA colour over them: x + alpha (colour - x), alpha being opacity times coverage."""
    alpha = colour[3] * coverage
    return pixels + alpha * (colour[:3, None] - pixels)


def blend_taped(
    pixels: Pixels, coverage: Float[np.ndarray, " W"], colour: Float[np.ndarray, "4"]
) -> tuple[Pixels, Pixels]:
    """What `blend` gives, and the pixels as they were."""
    return blend(pixels, coverage, colour), pixels


def composite_row(
    pixels: Pixels, spans: np.ndarray, colours: Float[np.ndarray, "P 4"]
) -> tuple[Pixels, list[tuple[int, Float[np.ndarray, " W"], Pixels]]]:
    """A row with all its paths over it, in order; and of each path its number, its coverage, and what lay below it."""
    tape = []
    for path, group in groupby(spans, lambda span: int(span["path"])):
        coverage = row_coverage(np.array(list(group)), pixels.shape[1])
        pixels, below = blend_taped(pixels, coverage, colours[path])
        tape.append((path, coverage, below))
    return pixels, tape


def blend_backward(
    grad: Pixels, coverage: Float[np.ndarray, " W"], colour: Float[np.ndarray, "4"], below: Pixels
) -> tuple[Pixels, Float[np.ndarray, "4"], Float[np.ndarray, " W"]]:
    """The vector-Jacobian product of `blend`.

    Returns: the gradient by the pixels below; the sums over pixels of coverage times gradient, by channel, which the
    opacity makes the gradient by the colour, and the gradient by the opacity; the gradient by each pixel's alpha.
    """
    # The derivative of x + alpha (colour - x) by alpha is colour - x.
    grad_alpha = (grad * (colour[:3, None] - below)).sum(0)
    sums = np.append((grad * coverage).sum(1), (grad_alpha * coverage).sum())
    return grad * (1 - colour[3] * coverage), sums, grad_alpha
