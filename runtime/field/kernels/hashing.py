"""Compiled: features of places in a hashed grid, and their gradients; the formulas are in `reference.hashing`.

Forward, a thread takes places; backward, it takes a level: it owns the level's table and adds up the gradients of all
places in their order. So no addition is atomic, and every entry has one sum on any number of threads.
"""

from typing import NamedTuple

import numpy as np

from runtime.field.kernels.activation import ONE, ZERO
from runtime.field.kernels.vectors import add_scaled, load, splat, store
from runtime.kernels.jit import entry, finish_job, inlined, take_job

POINTS_A_JOB = 1024
"""Neighbouring places that one thread takes at a time."""

VECTOR = 4
"""Numbers at a node that are read and written as one; with another number of them each is by itself."""

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
        # Products of 32 bits each, as on a card; what goes beyond is cut off. A hashed table has a power of two
        # entries, so a mask takes the place of a division.
        index = np.uint32(x) ^ np.uint32(np.uint32(y) * _Y) ^ np.uint32(np.uint32(z) * _Z)
        return levels.offsets[level] + (np.int64(index) & (size - 1))
    along = levels.resolutions[level]
    index = x + along * (y + along * z)
    # A node beyond the last one of an axis runs on, and once over the table's end at most.
    return levels.offsets[level] + (index - size if index >= size else index)


@inlined
def cell_of(levels, level, points, row):
    """The node below a place, and where the place lies between it and the next one along each axis."""
    scale = levels.scales[level]
    at0 = points[row, 0] * scale + _HALF
    at1 = points[row, 1] * scale + _HALF
    at2 = points[row, 2] * scale + _HALF
    low0 = np.floor(at0)
    low1 = np.floor(at1)
    low2 = np.floor(at2)
    return (np.int64(low0), np.int64(low1), np.int64(low2)), (at0 - low0, at1 - low1, at2 - low2)


@inlined
def corner_of(levels, level, node, inside, corner):
    """The entry of one of the eight nodes around a place, and the node's weight."""
    a = corner & 1
    b = (corner >> 1) & 1
    c = corner >> 2
    weight = inside[0] if a else ONE - inside[0]
    weight *= inside[1] if b else ONE - inside[1]
    weight *= inside[2] if c else ONE - inside[2]
    return entry_of(levels, level, node[0] + a, node[1] + b, node[2] + c), weight


@entry
def encode(work, levels, table, points, encoded, stamp):
    """Write the features of places.

    Twin: `reference.hashing.encode`.

    Args:
        work: see `jit.take_job`.
        levels: see `Levels`.
        table: flat (entries, features) float32.
        points: (S, 3) float32 in [0, 1].
        encoded: flat (S, levels, features) float32, written.
        stamp: see `march.STAMP`.
    """
    count = len(points)
    jobs = (count + POINTS_A_JOB - 1) // POINTS_A_JOB
    features = levels.features
    width = len(levels.scales) * features
    job = take_job(work)
    while job < jobs:
        first = job * POINTS_A_JOB
        last = min(count, first + POINTS_A_JOB)
        # A level after the other for neighbouring places: they read the same entries.
        for level in range(len(levels.scales)):
            for row in range(first, last):
                node, inside = cell_of(levels, level, points, row)
                target = row * width + level * features
                if features == VECTOR:
                    total = splat(ZERO)
                    for corner in range(8):
                        place, weight = corner_of(levels, level, node, inside, corner)
                        total = add_scaled(total, weight, load(table, place * VECTOR))
                    store(encoded, target, total)
                else:
                    for f in range(features):
                        encoded[target + f] = 0
                    for corner in range(8):
                        place, weight = corner_of(levels, level, node, inside, corner)
                        for f in range(features):
                            encoded[target + f] += weight * table[place * features + f]
        finish_job(work)
        job = take_job(work)


@entry
def differentiate(work, levels, points, upstream, total, stamp):
    """Add the gradients of all places to the table's, a level a job.

    Twin: automatic differentiation of `reference.hashing.encode`.

    Args:
        work: see `jit.take_job`.
        levels: see `Levels`.
        points: as forward.
        upstream: flat (S, levels, features) float32: derivatives by the features.
        total: flat (entries, features) float32, added to.
        stamp: see `march.STAMP`.
    """
    features = levels.features
    width = len(levels.scales) * features
    level = take_job(work)
    while level < len(levels.scales):
        for row in range(len(points)):
            node, inside = cell_of(levels, level, points, row)
            source = row * width + level * features
            for corner in range(8):
                place, weight = corner_of(levels, level, node, inside, corner)
                if features == VECTOR:
                    at = place * VECTOR
                    store(total, at, add_scaled(load(total, at), weight, load(upstream, source)))
                else:
                    for f in range(features):
                        total[place * features + f] += weight * upstream[source + f]
        finish_job(work)
        level = take_job(work)
