"""Compiled: from what rays show to a picture before a background, enlarged, and to terms of their transmittance.

PyTorch takes some twenty calls for it and back, which cost more than the sums, as each is for a few thousand numbers.
"""

import math

import numpy as np

from runtime.field.kernels.activation import ONE, ZERO
from runtime.kernels.jit import entry, finish_job, take_job

EDGE = np.float32(1e-5)
"""Alpha within the entropy: no nearer to 0 and 1, where the logarithm's slope is endless."""


@entry
def enlarge(work, colour, transmittance, background, low, share, picture):
    """Write the channels of a square picture before a background, enlarged, a channel a job.

    Twin: `runtime.field.volume.Rendering.on` and `torch.nn.functional.interpolate`, bilinear.

    Args:
        work: see `jit.take_job`.
        colour: (side * side, 3) float32, row by row.
        transmittance: (side * side,) float32.
        background: (3,) float32.
        low: (size,) int64: for a row or column of the picture the one before it among the side's.
        share: (size,) float32 in [0, 1): how far it lies towards the next.
        picture: (3, size, size) float32, written.
    """
    size = len(low)
    side = int(math.sqrt(len(transmittance)))
    rows = np.empty((side, size), np.float32)
    line = np.empty(side + 1, np.float32)
    channel = take_job(work)
    while channel < 3:
        for y in range(side):
            for x in range(side):
                at = y * side + x
                line[x] = colour[at, channel] + transmittance[at] * background[channel]
            # Behind the last one it goes on as it is.
            line[side] = line[side - 1]
            for x in range(size):
                rows[y, x] = (ONE - share[x]) * line[low[x]] + share[x] * line[low[x] + 1]
        for y in range(size):
            above = low[y]
            below = min(above + 1, side - 1)
            for x in range(size):
                picture[channel, y, x] = (ONE - share[y]) * rows[above, x] + share[y] * rows[below, x]
        finish_job(work)
        channel = take_job(work)


@entry
def reduce(work, upstream, low, share, gradient):
    """Write the gradient of what `enlarge` took for colours, a channel a job.

    Twin: automatic differentiation of that of `enlarge`.

    Args:
        work: see `jit.take_job`.
        upstream: (3, size, size) float32: by the picture.
        low: see `enlarge`.
        share: see `enlarge`.
        gradient: (side * side, 3) float32, written.
    """
    size = len(low)
    side = int(math.sqrt(len(gradient)))
    rows = np.empty((side, size), np.float32)
    line = np.empty(side + 1, np.float32)
    channel = take_job(work)
    while channel < 3:
        rows[:] = ZERO
        for y in range(size):
            above = low[y]
            below = min(above + 1, side - 1)
            for x in range(size):
                rows[above, x] += (ONE - share[y]) * upstream[channel, y, x]
                rows[below, x] += share[y] * upstream[channel, y, x]
        for y in range(side):
            line[:] = ZERO
            for x in range(size):
                line[low[x]] += (ONE - share[x]) * rows[y, x]
                line[low[x] + 1] += share[x] * rows[y, x]
            line[side - 1] += line[side]
            for x in range(side):
                gradient[y * side + x, channel] = line[x]
        finish_job(work)
        channel = take_job(work)


@entry
def weigh_rays(work, transmittance, inside, outside, sums, by_entropy, by_place):
    """Write the sums of two terms of the transmittance and their gradients, all in one job.

    Twins: `runtime.field.opacity.alpha_entropy` and `misplaced`, times the number of rays.

    Args:
        work: see `jit.take_job`.
        transmittance: (R,) float32.
        inside: (R,) bool: rays that should end.
        outside: (R,) bool: rays that should pass.
        sums: (2,) float64, written: entropy in bits, and what passes or is stopped where it should not.
        by_entropy: (R,) float32, written: derivatives of the first.
        by_place: (R,) float32, written: derivatives of the second.
    """
    at_edge = -(EDGE * np.log2(EDGE) + (ONE - EDGE) * np.log2(ONE - EDGE))
    while take_job(work) < 1:
        entropy = 0.0
        place = 0.0
        for ray in range(len(transmittance)):
            passing = transmittance[ray]
            alpha = ONE - passing
            by_entropy[ray] = ZERO
            if EDGE <= alpha <= ONE - EDGE:
                bits = np.log2(alpha)
                rest = np.log2(ONE - alpha)
                entropy -= alpha * bits + (ONE - alpha) * rest
                by_entropy[ray] = bits - rest
            else:
                # As most rays: no logarithm is needed.
                entropy += at_edge
            by_place[ray] = np.float32(inside[ray]) - np.float32(outside[ray])
            place += passing if inside[ray] else ZERO
            place += alpha if outside[ray] else ZERO
        sums[0] = entropy
        sums[1] = place
        finish_job(work)
