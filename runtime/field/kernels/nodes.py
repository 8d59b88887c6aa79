"""Compiled: what is done to nodes between two pictures: total variation, Adam, and which cells are occupied.

Only nodes that some sample can touch, the corners of occupied cells, are visited: `active` lists them in order.
"""

from typing import NamedTuple

import numpy as np

from runtime.field.kernels.activation import ONE, ZERO
from runtime.field.kernels.march import strides
from runtime.field.kernels.vectors import (
    add,
    add_scaled,
    divide,
    lane,
    load,
    maximum,
    minimum,
    multiply,
    pack,
    splat,
    square_root,
    store,
    subtract,
)
from runtime.kernels.jit import entry, finish_job, inlined, take_job

NODES_A_JOB = 4096
"""Active nodes that one thread takes at a time."""


class Moments(NamedTuple):
    """Adam's state, flat as the values are."""

    first: np.ndarray
    second: np.ndarray


class Rates(NamedTuple):
    """How Adam steps."""

    density: np.float32
    """Learning rate of the raw density, times 1 / (1 - beta1^t)."""
    colour: np.float32
    """That of colours."""
    beta1: np.float32
    beta2: np.float32
    correction: np.float32
    """1 / (1 - beta2^t)."""
    epsilon: np.float32
    bounded: bool
    """Whether colours of the first group stay in [0, 1]."""


@inlined
def _add_difference(values, at, other, scale, epsilon, total):
    """Add the gradient of one difference, and return its value: sqrt(d^2 + epsilon), epsilon 0 for d^2 / 2."""
    # Each difference is visited from both of its ends: a node gathers its own gradient and no thread writes another's.
    difference = subtract(load(values, at), load(values, other))
    length = square_root(add(multiply(difference, difference), epsilon))
    return add(total, multiply(scale, divide(difference, length))), length


@entry
def vary(work, grid, active, weights, epsilon, sums, gradients):
    """Write the gradient of the total variation, the sum of sqrt(d^2 + epsilon) over neighbours.

    Twin: automatic differentiation of `reference.grid.total_variation`.

    Args:
        work: see `jit.take_job`.
        grid: see `march.Grid`.
        active: (A,) int32: nodes that are differentiated.
        weights: (2,) float32: of the raw density and of colours.
        epsilon: float32 over 0: below its root a difference counts as its square.
        sums: (jobs,) float64, written: the weighted sum of each job's differences to the next node on each axis.
        gradients: flat (A, groups, 4) float32, written: the gradient of active nodes, one after the other.
    """
    jobs = (len(active) + NODES_A_JOB - 1) // NODES_A_JOB
    size = grid.size
    last = size - 1
    node, row, plane = strides(grid)
    values = grid.values
    smooth = splat(epsilon)
    job = take_job(work)
    while job < jobs:
        energy = 0.0
        for index in range(job * NODES_A_JOB, min(len(active), (job + 1) * NODES_A_JOB)):
            place = np.int64(active[index])
            x = place // (size * size)
            y = (place // size) % size
            z = place % size
            for group in range(grid.groups):
                # Lane 0 is the raw density in the first group, and nothing in the others.
                scale = pack(weights[0] if group == 0 else ZERO, weights[1], weights[1], weights[1])
                at = place * node + 4 * group
                gradient = splat(ZERO)
                length = splat(ZERO)
                if x > 0:
                    gradient, _ = _add_difference(values, at, at - plane, scale, smooth, gradient)
                if y > 0:
                    gradient, _ = _add_difference(values, at, at - row, scale, smooth, gradient)
                if z > 0:
                    gradient, _ = _add_difference(values, at, at - node, scale, smooth, gradient)
                if x < last:
                    # Only differences to the next node count in the value, or each would count twice.
                    gradient, part = _add_difference(values, at, at + plane, scale, smooth, gradient)
                    length = add(length, part)
                if y < last:
                    gradient, part = _add_difference(values, at, at + row, scale, smooth, gradient)
                    length = add(length, part)
                if z < last:
                    gradient, part = _add_difference(values, at, at + node, scale, smooth, gradient)
                    length = add(length, part)
                store(gradients, index * node + 4 * group, gradient)
                length = multiply(length, scale)
                energy += lane(length, 0) + lane(length, 1) + lane(length, 2) + lane(length, 3)
        # A number a job, added up by the caller in their order: the same sum on any number of threads.
        sums[job] = energy
        finish_job(work)
        job = take_job(work)


@entry
def add_rows(work, groups, active, scale, rows, total):
    """Add scaled values of active nodes to an array of all nodes.

    Twin: `torch.Tensor.index_add_`.

    Args:
        work: see `jit.take_job`.
        groups: of four values a node.
        active: (A,) int32: the nodes.
        scale: float32, a factor.
        rows: flat (A, groups, 4) float32.
        total: flat array of all nodes, added to.
    """
    jobs = (len(active) + NODES_A_JOB - 1) // NODES_A_JOB
    node = 4 * groups
    job = take_job(work)
    while job < jobs:
        for index in range(job * NODES_A_JOB, min(len(active), (job + 1) * NODES_A_JOB)):
            for group in range(groups):
                at = np.int64(active[index]) * node + 4 * group
                store(total, at, add_scaled(load(total, at), scale, load(rows, index * node + 4 * group)))
        finish_job(work)
        job = take_job(work)


@entry
def measure(work, groups, active, total, sizes):
    """Write the largest magnitude of the values of each job's active nodes: NaN where one of them is not finite.

    Twin: `runtime.loop.optimize.largest_magnitude`.

    Args:
        work: see `jit.take_job`.
        groups: of four values a node.
        active: (A,) int32: the nodes.
        total: flat array of all nodes.
        sizes: (jobs,) float32, written.
    """
    jobs = (len(active) + NODES_A_JOB - 1) // NODES_A_JOB
    node = 4 * groups
    job = take_job(work)
    while job < jobs:
        low = splat(ZERO)
        high = splat(ZERO)
        # A comparison with NaN is false, and would lose it.
        nothing = splat(ZERO)
        for index in range(job * NODES_A_JOB, min(len(active), (job + 1) * NODES_A_JOB)):
            for group in range(groups):
                values = load(total, np.int64(active[index]) * node + 4 * group)
                low = minimum(low, values)
                high = maximum(high, values)
                nothing = add(nothing, subtract(values, values))
        largest = maximum(high, subtract(splat(ZERO), low))
        size = max(lane(largest, 0), lane(largest, 1), lane(largest, 2), lane(largest, 3))
        sizes[job] = size + (lane(nothing, 0) + lane(nothing, 1) + lane(nothing, 2) + lane(nothing, 3))
        finish_job(work)
        job = take_job(work)


@entry
def adam(work, values, groups, active, moments, rates, total):
    """Update active nodes and set their gradient to zero.

    Twin: `torch.optim.Adam`.

    Args:
        work: see `jit.take_job`.
        values: flat, see `march.Grid`.
        groups: of four values a node.
        active: (A,) int32: nodes that are updated.
        moments: see `Moments`.
        rates: see `Rates`.
        total: flat gradient of the values.
    """
    jobs = (len(active) + NODES_A_JOB - 1) // NODES_A_JOB
    node = 4 * groups
    keep1 = splat(rates.beta1)
    keep2 = splat(rates.beta2)
    new1 = ONE - rates.beta1
    new2 = splat(ONE - rates.beta2)
    rate = pack(-rates.density, -rates.colour, -rates.colour, -rates.colour)
    correction = splat(rates.correction)
    epsilon = splat(rates.epsilon)
    # Bounds by lane cost less than a branch: the density's are out of reach.
    huge = np.float32(np.finfo(np.float32).max)
    low = pack(-huge, ZERO, ZERO, ZERO)
    high = pack(huge, ONE, ONE, ONE)
    job = take_job(work)
    while job < jobs:
        for index in range(job * NODES_A_JOB, min(len(active), (job + 1) * NODES_A_JOB)):
            for group in range(groups):
                at = np.int64(active[index]) * node + 4 * group
                gradient = load(total, at)
                first = add_scaled(multiply(keep1, load(moments.first, at)), new1, gradient)
                square = multiply(multiply(gradient, gradient), new2)
                second = add(multiply(keep2, load(moments.second, at)), square)
                root = add(square_root(multiply(second, correction)), epsilon)
                value = add(load(values, at), multiply(rate, divide(first, root)))
                if rates.bounded and group == 0:
                    value = minimum(maximum(value, low), high)
                store(moments.first, at, first)
                store(moments.second, at, second)
                store(values, at, value)
                # Here, where it is in the cache already: to clear the whole array would touch nodes that no ray sees.
                store(total, at, splat(ZERO))
        finish_job(work)
        job = take_job(work)
