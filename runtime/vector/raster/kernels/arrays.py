"""Compiled: what the passes do with arrays: fill, copy, sum, round. No formula of a picture is here."""

from typing import NamedTuple

import numpy as np

from runtime.kernels.jit import inlined, inner, summing

BLOCK = 32
"""Pixels of a block: a multiple of what the compiler's vector loops take at a time."""


class Row(NamedTuple):
    """Three planes of one row of pixels, each with room for two blocks more."""

    values: np.ndarray
    """(3 * stride,) in the picture's dtype."""
    stride: int
    """From one plane to the next."""


@inlined
def make_row(width, sample):
    """A row of zeros of an array's dtype. The tape takes its margins, too, so they have to be numbers."""
    # No block reaches the next plane: a path's last block begins inside the picture, so it ends less than BLOCK beyond.
    stride = width + 2 * BLOCK
    return Row(np.zeros(3 * stride, sample.dtype), stride)


@inner
def fill_blocks(values, start, blocks, value):
    """Set whole blocks to a value."""
    # Numba tests a signed index for being negative, which hinders vector instructions: so indices are unsigned.
    first = np.uint64(start)
    for i in range(first, first + np.uint64(blocks * BLOCK)):
        values[i] = value


@inlined
def fill_row(row, width, colour):
    """Set a row to a colour."""
    for k in range(3):
        fill_blocks(row.values, k * row.stride, (width + BLOCK - 1) // BLOCK, colour[k])


@inner
def copy_values(source, start, target, at, length):
    """Copy values from one array to another."""
    here = np.uint64(start)
    there = np.uint64(at)
    for i in range(np.uint64(length)):
        target[there + i] = source[here + i]


@summing
def sum_values(values, first, length):
    """Sum in an order fixed when compiled."""
    # Float64 whatever the picture's dtype: a long row would lose digits in float32.
    total = 0.0
    here = np.uint64(first)
    for i in range(here, here + np.uint64(length)):
        total += values[i]
    return total


@inlined
def round_colour(colour, sample):
    """A colour as four numbers of an array's dtype."""
    # With float64 colours the loops over float32 pixels would compute in float64, half as many pixels at a time.
    kind = sample.dtype.type
    return kind(colour[0]), kind(colour[1]), kind(colour[2]), kind(colour[3])


@inner
def all_finite(values):
    """Whether a contiguous array has finite numbers alone."""
    flat = values.reshape(values.size)
    total = 0.0
    # One test after the loop instead of one a number. It needs exact arithmetic: fast-math takes x - x for 0.
    for i in range(len(flat)):
        total += flat[i] - flat[i]  # 0, or not a number
    return total == 0.0
