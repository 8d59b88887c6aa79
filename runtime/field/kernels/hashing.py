"""Compiled: features of places in a hashed grid, and their gradients; the formulas are in `reference.hashing`.

Forward, a thread takes places; backward, it takes a level: it owns the level's table and adds up the gradients of all
places in their order. So no addition is atomic, and every entry has one sum on any number of threads.
"""

from typing import NamedTuple

import numpy as np

from runtime.kernels.jit import entry, finish_job, inlined, take_job

POINTS_A_JOB = 1024
"""Neighbouring places that one thread takes at a time."""

_ONE = np.float32(1)
_HALF = np.float32(0.5)
_Y = np.uint32(2654435761)
_Z = np.uint32(805459861)


class Levels(NamedTuple):
    """A layout as the kernels take it; see `reference.hashing.HashLayout`."""

    scales: np.ndarray
    """(L,) float32."""
    resolutions: np.ndarray
    """(L,) int64."""
    sizes: np.ndarray
    """(L,) int64."""
    offsets: np.ndarray
    """(L,) int64: first entry of each level."""
    hashed: np.ndarray
    """(L,) uint8."""
    features: int


@inlined
def entry_of(levels, level, x, y, z):
    """The entry of a node, counted from the first one of all levels.

    Twin: `reference.hashing.entries_of`.
    """
    size = levels.sizes[level]
    if levels.hashed[level]:
        # Products of 32 bits each, as on a card; what goes beyond is cut off.
        index = np.uint32(x) ^ np.uint32(np.uint32(y) * _Y) ^ np.uint32(np.uint32(z) * _Z)
        return levels.offsets[level] + np.int64(index) % size
    along = levels.resolutions[level]
    return levels.offsets[level] + (x + along * (y + along * z)) % size


@inlined
def corner_of(levels, level, points, row, corner):
    """The entry of one of the eight nodes around a place, and the node's weight."""
    weight = _ONE
    x = np.int64(0)
    y = np.int64(0)
    z = np.int64(0)
    for axis in range(3):
        at = points[row, axis] * levels.scales[level] + _HALF
        low = np.floor(at)
        inside = at - low
        up = (corner >> axis) & 1
        weight *= inside if up else _ONE - inside
        node = np.int64(low) + up
        if axis == 0:
            x = node
        elif axis == 1:
            y = node
        else:
            z = node
    return entry_of(levels, level, x, y, z), weight


@entry
def encode(work, levels, table, points, encoded):
    """Write the features of places.

    Twin: `reference.hashing.encode`.

    Args:
        work: see `jit.take_job`.
        levels: see `Levels`.
        table: (entries, features) float32.
        points: (S, 3) float32 in [0, 1].
        encoded: (S, levels * features) float32, written.
    """
    count = len(points)
    jobs = (count + POINTS_A_JOB - 1) // POINTS_A_JOB
    features = levels.features
    job = take_job(work)
    while job < jobs:
        first = job * POINTS_A_JOB
        last = min(count, first + POINTS_A_JOB)
        # A level after the other for neighbouring places: they read the same entries.
        for level in range(len(levels.scales)):
            for row in range(first, last):
                for f in range(features):
                    encoded[row, level * features + f] = 0
                for corner in range(8):
                    place, weight = corner_of(levels, level, points, row, corner)
                    for f in range(features):
                        encoded[row, level * features + f] += weight * table[place, f]
        finish_job(work)
        job = take_job(work)


@entry
def differentiate(work, levels, points, upstream, total):
    """Add the gradients of all places to the table's, a level a job.

    Twin: automatic differentiation of `reference.hashing.encode`.

    Args:
        work: see `jit.take_job`.
        levels: see `Levels`.
        points: as forward.
        upstream: (S, levels * features) float32: derivatives by the features.
        total: (entries, features) float32, added to.
    """
    features = levels.features
    level = take_job(work)
    while level < len(levels.scales):
        for row in range(len(points)):
            for corner in range(8):
                place, weight = corner_of(levels, level, points, row, corner)
                for f in range(features):
                    total[place, f] += weight * upstream[row, level * features + f]
        finish_job(work)
        level = take_job(work)
