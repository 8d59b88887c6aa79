"""Compiled: gradients of samples added to the nodes around them, in the same order on any number of threads.

A sample touches two planes of nodes. Samples are sorted by the lower one, rays in their order; a thread takes all
samples of a plane. First go the even planes, which share no node with one another, then the odd ones. So every node
gets its sums in one order, no addition is atomic, and a thread's part of the grid fits its core's cache.
"""

import numpy as np

from runtime.field.kernels.activation import ONE
from runtime.field.kernels.march import strides
from runtime.field.kernels.vectors import add_scaled, load, pack, store
from runtime.kernels.jit import entry, finish_job, inlined, inner, take_job

_SIGN = (np.float32(-1), np.float32(1))


@inlined
def _add(values, at, weight, gradient):
    store(values, at, add_scaled(load(values, at), weight, gradient))


@inner
def _scatter_values(grid, pushes, first, stop, total):
    """Add the gradients of the raw density and colour of some samples to the eight nodes around each.

    Twin: automatic differentiation of `reference.grid.interpolate`.
    """
    node, row, plane = strides(grid)
    for k in range(first, stop):
        push = pushes[k]
        f0 = push.f0
        f1 = push.f1
        f2 = push.f2
        g0 = ONE - f0
        g1 = ONE - f1
        g2 = ONE - f2
        gradient = pack(push.raw, push.red, push.green, push.blue)
        at = np.int64(push.place) * node
        # By hand, not in a loop over corners: the eight addresses are known at once, and the compiler interleaves them.
        _add(total, at, g0 * g1 * g2, gradient)
        _add(total, at + node, g0 * g1 * f2, gradient)
        _add(total, at + row, g0 * f1 * g2, gradient)
        _add(total, at + row + node, g0 * f1 * f2, gradient)
        _add(total, at + plane, f0 * g1 * g2, gradient)
        _add(total, at + plane + node, f0 * g1 * f2, gradient)
        _add(total, at + plane + row, f0 * f1 * g2, gradient)
        _add(total, at + plane + row + node, f0 * f1 * f2, gradient)


@inlined
def _corner(grid, push, corner):
    """Where the values of one of eight nodes begin, the node's weights along the axes, and their derivatives' signs."""
    node, row, plane = strides(grid)
    a = corner >> 2
    b = (corner >> 1) & 1
    c = corner & 1
    at = np.int64(push.place) * node + a * plane + b * row + c * node
    w0 = push.f0 if a else ONE - push.f0
    w1 = push.f1 if b else ONE - push.f1
    w2 = push.f2 if c else ONE - push.f2
    return at, (w0, w1, w2), (_SIGN[a], _SIGN[b], _SIGN[c])


@inner
def _scatter_directions(grid, push, direction, total):
    """Add the gradient of a sample's colour to the groups that are linear in the ray's direction.

    Twin: automatic differentiation of `reference.grid.interpolate`.
    """
    # The raw density has no part that depends on the direction.
    gradient = pack(np.float32(0), push.red, push.green, push.blue)
    for corner in range(8):
        at, w, _ = _corner(grid, push, corner)
        weight = w[0] * w[1] * w[2]
        for group in range(1, grid.groups):
            _add(total, at + 4 * group, weight * direction[group - 1], gradient)


@inner
def _scatter_slope(grid, push, slope, total):
    """Add the gradient of the raw density's slope to the raw density of the eight nodes around a sample.

    Twin: automatic differentiation of `reference.grid.slope_of`.
    """
    for corner in range(8):
        at, w, sign = _corner(grid, push, corner)
        # The derivative of a product of three weights: along each axis one of them is replaced by its sign.
        by_place = sign[0] * slope[0] * w[1] * w[2]
        by_place += sign[1] * slope[1] * w[0] * w[2]
        by_place += sign[2] * slope[2] * w[0] * w[1]
        total[at] += by_place


@entry
def scatter(work, grid, directions, pushes, parity, total):
    """Add the gradients of all samples to the nodes of every second plane, a plane a job.

    Twin: automatic differentiation of `reference.grid`.

    Args:
        work: see `jit.take_job`.
        grid: see `march.Grid`.
        directions: of the rays, (R, 3).
        pushes: see `differentiate.Pushes`.
        parity: 0 for the planes with even numbers, 1 for the others.
        total: flat gradient of the values, added to.
    """
    jobs = (grid.size + 1 - parity) // 2
    directed = len(pushes.ray) > 0
    slopes = len(pushes.slope) > 0
    job = take_job(work)
    while job < jobs:
        plane = 2 * job + parity
        for part in range(len(pushes.starts)):
            first = pushes.starts[part, plane]
            stop = pushes.starts[part, plane + 1]
            if not (directed or slopes):
                _scatter_values(grid, pushes.push, first, stop, total)
                continue
            for k in range(first, stop):
                _scatter_values(grid, pushes.push, k, k + 1, total)
                if directed:
                    _scatter_directions(grid, pushes.push[k], directions[pushes.ray[k]], total)
                if slopes:
                    _scatter_slope(grid, pushes.push[k], pushes.slope[k], total)
        finish_job(work)
        job = take_job(work)
