"""Compiled: compositing paths over a row of pixels, and the gradient of that.

A row is composited path by path, in blocks of `BLOCK` pixels so that vector loops have no remainders: what lies beyond
a path's end in its last block has coverage 0. The three planes of a row lie `width + 2 * BLOCK` apart.
"""

import numpy as np

from runtime.kernels.jit import inner, summing
from runtime.vector.raster.kernels.arrays import BLOCK, fill_blocks, round_colour


@inner
def row_coverage(spans, first, last, coverage):
    """Write the coverage of the first path's spans from its first column on; returns the span after, and blocks.

    Twin: `reference.composite.row_coverage`.
    """
    start = spans[first].start
    path = spans[first].path
    k = first
    at = np.int64(0)
    while k < last and spans[k].path == path:
        span = spans[k]
        begin = span.start - start
        end = span.stop - start
        # Blocks may run beyond what they are for: what comes next is written after it, over it.
        if begin > at:
            fill_blocks(coverage, at, (begin - at + BLOCK - 1) // BLOCK, 0.0)
        if end == begin + 1:
            coverage[begin] = span.coverage
        else:
            fill_blocks(coverage, begin, (end - begin + BLOCK - 1) // BLOCK, 1.0)
        at = end
        k += 1
    fill_blocks(coverage, at, np.int64(1), 0.0)
    return k, (at + BLOCK - 1) // BLOCK


@inner
def count_blocks(spans, first, last):
    """Blocks of all paths of a row together.

    Twin: `reference.composite.count_blocks`.
    """
    blocks = 0
    while first < last:
        start = spans[first].start
        path = spans[first].path
        stop = 0
        while first < last and spans[first].path == path:
            stop = spans[first].stop
            first += 1
        blocks += (stop - start + BLOCK - 1) // BLOCK
    return blocks


@inner
def _planes(start, stride):
    """Places of one pixel in three planes, unsigned: a place that may be negative costs a comparison a pixel."""
    return np.uint64(start), np.uint64(start + stride), np.uint64(start + 2 * stride)


@inner
def blend(row, start, blocks, coverage, colour):
    """Composite a colour (red, green, blue, opacity) over pixels from column `start` on.

    Twin: `reference.composite.blend`.
    """
    values = row.values
    red, green, blue, opacity = colour
    a, b, c = _planes(start, row.stride)
    for i in range(np.uint64(blocks * BLOCK)):
        # In this form a pixel of coverage 0 keeps its bits: gaps and margins need no branch.
        alpha = opacity * coverage[i]
        values[a + i] += alpha * (red - values[a + i])
        values[b + i] += alpha * (green - values[b + i])
        values[c + i] += alpha * (blue - values[c + i])


@inner
def blend_taped(row, start, blocks, coverage, colour, tape, at):
    """`blend` that leaves the pixels as they were on the tape from `at` on, plane by plane.

    Twin: `reference.composite.blend_taped`.
    """
    values = row.values
    red, green, blue, opacity = colour
    a, b, c = _planes(start, row.stride)
    length = np.uint64(blocks * BLOCK)
    d, e, f = _planes(at, blocks * BLOCK)
    for i in range(length):
        alpha = opacity * coverage[i]
        # The same arithmetic as in `blend`: a picture has the same bits with and without a gradient.
        x = values[a + i]
        y = values[b + i]
        z = values[c + i]
        tape[d + i] = x
        tape[e + i] = y
        tape[f + i] = z
        values[a + i] = x + alpha * (red - x)
        values[b + i] = y + alpha * (green - y)
        values[c + i] = z + alpha * (blue - z)


@inner
def composite_row(row, spans, stretch, colours, coverage, tape, at):
    """Composite a row's spans, `stretch` (first, last + 1), path by path, over what the row holds.

    What lies below each path goes to the tape from `at` on unless that is negative; returns the tape's end.

    Twin: `reference.composite.composite_row`.
    """
    first, last = stretch
    while first < last:
        start = spans[first].start
        # Order of drawing: 'over' does not commute, and keys have sorted the spans by path.
        colour = round_colour(colours[spans[first].path], row.values)
        first, blocks = row_coverage(spans, first, last, coverage)
        if at >= 0:
            blend_taped(row, start, blocks, coverage, colour, tape, at)
            at += 3 * BLOCK * blocks
        else:
            blend(row, start, blocks, coverage, colour)
    return at


@summing
def blend_backward(grad, start, blocks, coverage, colour, tape, at, grad_alpha):
    """The gradient of `blend`: dims the row `grad`, writes the derivative by each pixel's alpha into `grad_alpha`.

    Returns the sums over pixels of coverage times gradient, by channel, and of coverage times derivative by alpha. They
    are added up in an order fixed when compiled, which leaves room for vector instructions.

    Twin: `reference.composite.blend_backward`.
    """
    values = grad.values
    red, green, blue, opacity = colour
    a, b, c = _planes(start, grad.stride)
    length = np.uint64(blocks * BLOCK)
    d, e, f = _planes(at, blocks * BLOCK)
    one = values.dtype.type(1.0)
    # Sums in the picture's dtype, as wide a vector as the pixels; a path's sums over rows are float64.
    x = values.dtype.type(0.0)
    y = values.dtype.type(0.0)
    z = values.dtype.type(0.0)
    w = values.dtype.type(0.0)
    for i in range(length):
        cover = coverage[i]
        p = values[a + i]
        q = values[b + i]
        r = values[c + i]
        # The derivative of x + alpha (c - x) by alpha is c - x, x being what lay below, not what the row holds now.
        change = p * (red - tape[d + i]) + q * (green - tape[e + i]) + r * (blue - tape[f + i])
        grad_alpha[i] = change
        transmittance = one - opacity * cover
        x += cover * p
        y += cover * q
        z += cover * r
        w += cover * change
        values[a + i] = p * transmittance
        values[b + i] = q * transmittance
        values[c + i] = r * transmittance
    return float(x), float(y), float(z), float(w)
