"""Compiled: gradients of samples added to the nodes around them, in the same order on any number of threads.

A sample touches two planes of nodes. Samples are sorted by the lower one, rays in their order; a thread takes all
samples of a plane. First go the even planes, which share no node with one another, then the odd ones. So every node
gets its sums in one order, no addition is atomic, and a thread's part of the grid fits its core's cache.
"""

import numpy as np

from runtime.field.kernels.activation import ONE
from runtime.field.kernels.march import RAYS_A_JOB, strides
from runtime.field.kernels.vectors import add_scaled, load, pack, store
from runtime.kernels.jit import entry, finish_job, inlined, inner, take_job

_SIGN = (np.float32(-1), np.float32(1))


@entry
def sort_samples(work, size, samples, spans, places, order):
    """Write the numbers of all samples, sorted by plane.

    Twin: a stable argsort.

    Args:
        work: see `jit.take_job`.
        size: nodes along an axis.
        samples: see `march.march`.
        spans: see `march.march`.
        places: (jobs, size) int64: where the first sample of each job and plane goes; the kernel counts it up.
        order: (samples,) int32, written.
    """
    count = len(spans)
    jobs = (count + RAYS_A_JOB - 1) // RAYS_A_JOB
    area = size * size
    job = take_job(work)
    while job < jobs:
        for ray in range(job * RAYS_A_JOB, min(count, (job + 1) * RAYS_A_JOB)):
            for i in range(spans[ray, 0], spans[ray, 1]):
                # A sample lies between this plane and the next one.
                plane = samples[i].place // area
                # Each job has a place of its own in each plane: no thread needs to know how far another is.
                order[places[job, plane]] = i
                places[job, plane] += 1
        finish_job(work)
        job = take_job(work)


@inlined
def _add(values, at, weight, gradient):
    store(values, at, add_scaled(load(values, at), weight, gradient))


@inner
def scatter_value(grid, sample, gradient, total):
    """Add the gradient of a sample's raw density and colour to the eight nodes around it.

    Twin: automatic differentiation of `reference.grid.interpolate`.
    """
    f0 = sample.f0
    f1 = sample.f1
    f2 = sample.f2
    g0 = ONE - f0
    g1 = ONE - f1
    g2 = ONE - f2
    node, row, plane = strides(grid)
    at = np.int64(sample.place) * node
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
def _corner(grid, sample, corner):
    """Where the values of one of eight nodes begin, the node's weights along the axes, and their derivatives' signs."""
    node, row, plane = strides(grid)
    a = corner >> 2
    b = (corner >> 1) & 1
    c = corner & 1
    at = np.int64(sample.place) * node + a * plane + b * row + c * node
    w0 = sample.f0 if a else ONE - sample.f0
    w1 = sample.f1 if b else ONE - sample.f1
    w2 = sample.f2 if c else ONE - sample.f2
    return at, (w0, w1, w2), (_SIGN[a], _SIGN[b], _SIGN[c])


@inner
def scatter_directions(grid, sample, gradient, direction, total):
    """Add the gradient of a sample's colour to the groups that are linear in the ray's direction.

    Twin: automatic differentiation of `reference.grid.interpolate`.
    """
    for corner in range(8):
        at, w, _ = _corner(grid, sample, corner)
        weight = w[0] * w[1] * w[2]
        for group in range(1, grid.groups):
            _add(total, at + 4 * group, weight * direction[group - 1], gradient)


@inner
def scatter_slope(grid, sample, slope, total):
    """Add the gradient of the raw density's slope to the raw density of the eight nodes around a sample.

    Twin: automatic differentiation of `reference.grid.slope_of`.
    """
    for corner in range(8):
        at, w, sign = _corner(grid, sample, corner)
        # The derivative of a product of three weights: along each axis one of them is replaced by its sign.
        by_place = sign[0] * slope[0] * w[1] * w[2]
        by_place += sign[1] * slope[1] * w[0] * w[2]
        by_place += sign[2] * slope[2] * w[0] * w[1]
        total[at] += by_place


@entry
def scatter(work, grid, samples, directions, grads, order, ends, total):
    """Add the gradients of all samples to the nodes of every second plane.

    Twin: automatic differentiation of `reference.grid`.

    Args:
        work: see `jit.take_job`.
        grid: see `march.Grid`.
        samples: see `march.march`.
        directions: of the rays, (R, 3).
        grads: see `differentiate.SampleGrads`.
        order: see `sort_samples`.
        ends: (planes, 2) int64: the first and the last place in `order` of each plane to be done.
        total: flat gradient of the values, added to.
    """
    jobs = len(ends)
    slopes = len(grads.slope) > 0
    job = take_job(work)
    while job < jobs:
        for k in range(ends[job, 0], ends[job, 1]):
            i = order[k]
            sample = samples[i]
            value = grads.value[i]
            gradient = pack(value[0], value[1], value[2], value[3])
            scatter_value(grid, sample, gradient, total)
            if grid.groups > 1:
                # The raw density has no part that depends on the direction.
                colour = pack(np.float32(0), value[1], value[2], value[3])
                scatter_directions(grid, sample, colour, directions[sample.ray], total)
            if slopes:
                scatter_slope(grid, sample, grads.slope[i], total)
        finish_job(work)
        job = take_job(work)
