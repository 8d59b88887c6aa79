"""What a thread does: the samples of a ray, what it shows, their gradients, and the sum at a node.

The formulas of `runtime.field.kernels`, one number at a time: a card's threads have no vectors of four. Samples are
rows of two arrays: where they lie, and `WIDTH` numbers by the names below.
"""

import math
from typing import NamedTuple

import numpy as np

from runtime.field.kernels.activation import ONE, ZERO
from runtime.field.kernels.march import OPAQUE, RAW_FLOOR
from runtime.kernels.card import either

T, WEIGHT, AFTER, SLOPE, RED, N0, F0 = 0, 1, 2, 3, 4, 7, 10
"""Places in a sample's row: distance in nodes, weight, light that passes it, d density / d raw, colour (3), gradient of
the raw value (3), and where it lies between nodes (3)."""

WIDTH = 13

_FAR = np.float32(1e9)
_TINY = np.float32(1e-9)
_SLACK = np.float32(1e-3)
_THIRD = np.float32(1 / 3)
_TWO = np.float32(2)


class Grid(NamedTuple):
    """See `kernels.march.Grid`; the box's corner as numbers."""

    values: np.ndarray
    leaps: np.ndarray
    low: np.ndarray
    size: int
    groups: int
    shift: int
    per_unit: np.float32
    step: np.float32
    length: np.float32


class Samples(NamedTuple):
    """Samples of all rays, one ray's after the other's."""

    firsts: np.ndarray
    """(R + 1,) int64: first sample of each ray, and the number of all."""
    places: np.ndarray
    """(S,) int32: the node below each; empty while samples are only counted."""
    owners: np.ndarray
    """(S,) int32: each one's ray."""
    rows: np.ndarray
    """(S, WIDTH) float32."""


class Gradients(NamedTuple):
    """Derivatives of a loss by what samples have; see `kernels.differentiate.Pushes`."""

    values: np.ndarray
    slopes: np.ndarray


class Intervals(NamedTuple):
    """Samples sorted by the interval between nodes that they lie in."""

    order: np.ndarray
    """(S,) int64: numbers of the samples; those of an interval in the order of their rays."""
    starts: np.ndarray
    """(N^3 + 1,) int64: the place in `order` of the first sample of each node's interval."""


@either
def _slab(position, along, extent, near, far):
    """What is left of an interval of a ray between two planes."""
    inverse = ONE / along if abs(along) > _TINY else _FAR
    a = -position * inverse
    b = (extent - position) * inverse
    return max(near, min(a, b)), min(far, max(a, b))


@either
def _until(cell, reach, along, shift, position):
    """Distance to the wall by which a ray leaves the empty cube around a cell, along one axis."""
    inverse = ONE / along if abs(along) > _TINY else _FAR
    wall = (cell + reach if along > ZERO else cell - reach + 1) << shift
    return (np.float32(wall) - position) * inverse


@either
def weight_of(fractions, corner):
    """The weight of one of the eight nodes around a place, and its distance in nodes along each axis."""
    a = corner >> 2
    b = (corner >> 1) & 1
    c = corner & 1
    w0 = fractions[0] if a else ONE - fractions[0]
    w1 = fractions[1] if b else ONE - fractions[1]
    w2 = fractions[2] if c else ONE - fractions[2]
    return w0 * w1 * w2, (a, b, c)


@either
def interpolate(grid, place, fractions, rays, ray):
    """Raw density and colour between the eight nodes around a sample.

    Twin: `reference.grid.interpolate`.
    """
    raw = ZERO
    red = ZERO
    green = ZERO
    blue = ZERO
    for corner in range(8):
        weight, (a, b, c) = weight_of(fractions, corner)
        node = np.int64(place) + (a * grid.size + b) * grid.size + c
        for group in range(grid.groups):
            share = weight if group == 0 else weight * rays.directions[ray, group - 1]
            at = 4 * (node * grid.groups + group)
            raw += share * grid.values[at]
            red += share * grid.values[at + 1]
            green += share * grid.values[at + 2]
            blue += share * grid.values[at + 3]
    return raw, red, green, blue


@either
def slope_at(grid, place, fractions):
    """Gradient of the raw density between eight nodes by position, in nodes.

    Twin: `reference.grid.slope_of`.
    """
    n0 = ZERO
    n1 = ZERO
    n2 = ZERO
    for corner in range(8):
        _, (a, b, c) = weight_of(fractions, corner)
        node = np.int64(place) + (a * grid.size + b) * grid.size + c
        raw = grid.values[4 * node * grid.groups]
        w0 = fractions[0] if a else ONE - fractions[0]
        w1 = fractions[1] if b else ONE - fractions[1]
        w2 = fractions[2] if c else ONE - fractions[2]
        n0 += (raw if a else -raw) * w1 * w2
        n1 += (raw if b else -raw) * w0 * w2
        n2 += (raw if c else -raw) * w0 * w1
    return n0, n1, n2


@either
def opacity(raw, length):
    """Opacity of a sample and the derivative of its density by the raw value.

    Twin: `runtime.field.volume.opacity` of softplus.
    """
    z = np.float32(math.exp(-abs(raw)))
    density = max(raw, ZERO) + np.float32(math.log1p(z))
    slope = (ONE if raw > ZERO else z) / (ONE + z)
    return -np.float32(math.expm1(-density * length)), slope


@either
def march_ray(grid, rays, ray, normals, samples):  # noqa: PLR0915
    """Find a ray's samples, and write them where there is room; returns their number and the transmittance.

    Twin: `reference.grid.march_rays`.
    """
    d0 = rays.directions[ray, 0]
    d1 = rays.directions[ray, 1]
    d2 = rays.directions[ray, 2]
    p0 = (rays.origins[ray, 0] - grid.low[0]) * grid.per_unit
    p1 = (rays.origins[ray, 1] - grid.low[1]) * grid.per_unit
    p2 = (rays.origins[ray, 2] - grid.low[2]) * grid.per_unit
    extent = np.float32(grid.size - 1)
    near, far = _slab(p0, d0, extent, ZERO, _FAR)
    near, far = _slab(p1, d1, extent, near, far)
    near, far = _slab(p2, d2, extent, near, far)
    passing = ONE
    count = 0
    last = grid.size - 2
    cells = (grid.size - 1) >> grid.shift
    first = samples.firsts[ray]
    stored = len(samples.places) > 0
    k = 0
    begin = near + rays.jitter[ray] * grid.step
    t = begin
    while t < far and passing >= OPAQUE:
        q0 = p0 + t * d0
        q1 = p1 + t * d1
        q2 = p2 + t * d2
        x = min(max(int(q0), 0), last)
        y = min(max(int(q1), 0), last)
        z = min(max(int(q2), 0), last)
        c0 = x >> grid.shift
        c1 = y >> grid.shift
        c2 = z >> grid.shift
        reach = int(grid.leaps[(c0 * cells + c1) * cells + c2])
        if reach > 0:
            leap = min(
                _until(c0, reach, d0, grid.shift, q0),
                _until(c1, reach, d1, grid.shift, q1),
                _until(c2, reach, d2, grid.shift, q2),
            )
            # A little less and at least one step; see `kernels.march.collect`.
            k += max(math.ceil(leap / grid.step - _SLACK), 1)
            t = begin + np.float32(k) * grid.step
            continue
        fractions = (q0 - np.float32(x), q1 - np.float32(y), q2 - np.float32(z))
        place = (x * grid.size + y) * grid.size + z
        raw, red, green, blue = interpolate(grid, place, fractions, rays, ray)
        if raw >= RAW_FLOOR:
            share, slope = opacity(raw, grid.length)
            if stored:
                at = first + count
                samples.places[at] = place
                samples.owners[at] = ray
                row = samples.rows[at]
                row[T] = t
                row[WEIGHT] = passing * share
                row[AFTER] = passing * (ONE - share)
                row[SLOPE] = slope
                row[RED] = red
                row[RED + 1] = green
                row[RED + 2] = blue
                row[F0] = fractions[0]
                row[F0 + 1] = fractions[1]
                row[F0 + 2] = fractions[2]
                if normals:
                    n0, n1, n2 = slope_at(grid, place, fractions)
                    row[N0] = n0
                    row[N0 + 1] = n1
                    row[N0 + 2] = n2
            passing = passing * (ONE - share)
            count += 1
        k += 1
        t = begin + np.float32(k) * grid.step
    return count, passing


@either
def unit_normal(row):
    """The direction in which a sample's density falls, and its gradient's inverse length; zeros where it is flat."""
    square = row[N0] * row[N0] + row[N0 + 1] * row[N0 + 1] + row[N0 + 2] * row[N0 + 2]
    inverse = ONE / np.float32(math.sqrt(square)) if square > _TINY * _TINY else ZERO
    return -row[N0] * inverse, -row[N0 + 1] * inverse, -row[N0 + 2] * inverse, inverse


@either
def composite_ray(grid, samples, ray, shown):
    """Write what a ray shows, but for the transmittance.

    Twin: `runtime.field.volume.composite`.
    """
    for c in range(3):
        shown.colour[ray, c] = ZERO
    normals = len(shown.normal) > 0
    if normals:
        for c in range(3):
            shown.normal[ray, c] = ZERO
    depth = ZERO
    sum_w = ZERO
    sum_wt = ZERO
    spread = ZERO
    for i in range(samples.firsts[ray], samples.firsts[ray + 1]):
        row = samples.rows[i]
        w = row[WEIGHT]
        t = row[T]
        for c in range(3):
            shown.colour[ray, c] += w * row[RED + c]
        depth += w * t
        # Each pair counts twice, and a sample's own width as a third.
        spread += w * (_TWO * (t * sum_w - sum_wt) + _THIRD * w * grid.step)
        sum_w += w
        sum_wt += w * t
        if normals:
            u0, u1, u2, _ = unit_normal(row)
            shown.normal[ray, 0] += w * u0
            shown.normal[ray, 1] += w * u1
            shown.normal[ray, 2] += w * u2
    shown.depth[ray] = depth / grid.per_unit
    shown.distortion[ray] = spread / np.float32(grid.size - 1)


@either
def differentiate_ray(grid, samples, ray, upstream, gradients):
    """Write the gradients of a ray's samples by raw density and colour, and by the density's gradient.

    Twin: automatic differentiation of `runtime.field.volume.composite`; the formula is in `kernels.differentiate`.
    """
    values = gradients.values
    slopes = gradients.slopes
    first = samples.firsts[ray]
    stop = samples.firsts[ray + 1]
    g_depth = upstream.depth[ray] / grid.per_unit
    g_spread = upstream.distortion[ray] / np.float32(grid.size - 1)
    all_w = ZERO
    all_wt = ZERO
    for i in range(first, stop):
        all_w += samples.rows[i, WEIGHT]
        all_wt += samples.rows[i, WEIGHT] * samples.rows[i, T]
    sum_w = ZERO
    sum_wt = ZERO
    behind = ZERO
    for i in range(first, stop):
        row = samples.rows[i]
        w = row[WEIGHT]
        t = row[T]
        # Sum over j of w_j |t_i - t_j|: those before lie nearer, those behind farther.
        beyond = (all_wt - sum_wt - w * t) - t * (all_w - sum_w - w)
        by_weight = g_depth * t + g_spread * (_TWO * (t * sum_w - sum_wt + beyond) + _TWO * _THIRD * w * grid.step)
        sum_w += w
        sum_wt += w * t
        for c in range(3):
            by_weight += upstream.colour[ray, c] * row[RED + c]
            values[i, 1 + c] = upstream.colour[ray, c] * w
        if len(slopes) > 0:
            u0, u1, u2, inverse = unit_normal(row)
            g0 = upstream.normal[ray, 0]
            g1 = upstream.normal[ray, 1]
            g2 = upstream.normal[ray, 2]
            along = g0 * u0 + g1 * u1 + g2 * u2
            by_weight += along
            # The normal is the gradient's negative direction: only what is across it turns it.
            slopes[i, 0] = -w * inverse * (g0 - along * u0)
            slopes[i, 1] = -w * inverse * (g1 - along * u1)
            slopes[i, 2] = -w * inverse * (g2 - along * u2)
        values[i, 0] = by_weight
        behind += w * by_weight
    end = upstream.transmittance[ray] * samples.rows[stop - 1, AFTER] if stop > first else ZERO
    for i in range(first, stop):
        row = samples.rows[i]
        by_weight = values[i, 0]
        behind -= row[WEIGHT] * by_weight
        values[i, 0] = row[SLOPE] * grid.length * (row[AFTER] * by_weight - behind - end)


@either
def gather_node(grid, rays, samples, gradients, intervals, node, total):
    """Write the gradient of a node: what the samples in the eight intervals around it give, in their order.

    Twin: automatic differentiation of `reference.grid`.
    """
    values = gradients.values
    slopes = gradients.slopes
    size = grid.size
    x = node // (size * size)
    y = (node // size) % size
    z = node % size
    for corner in range(8):
        a = corner >> 2
        b = (corner >> 1) & 1
        c = corner & 1
        # The node is this corner of the interval that begins so much before it.
        if x < a or y < b or z < c:
            continue
        place = ((x - a) * size + y - b) * size + z - c
        for k in range(intervals.starts[place], intervals.starts[place + 1]):
            i = intervals.order[k]
            row = samples.rows[i]
            fractions = (row[F0], row[F0 + 1], row[F0 + 2])
            weight, _ = weight_of(fractions, corner)
            at = 4 * node * grid.groups
            total[at] += weight * values[i, 0]
            for group in range(grid.groups):
                share = weight if group == 0 else weight * rays.directions[samples.owners[i], group - 1]
                for colour in range(1, 4):
                    total[at + 4 * group + colour] += share * values[i, colour]
            if len(slopes) > 0:
                w0 = fractions[0] if a else ONE - fractions[0]
                w1 = fractions[1] if b else ONE - fractions[1]
                w2 = fractions[2] if c else ONE - fractions[2]
                by_place = (slopes[i, 0] if a else -slopes[i, 0]) * w1 * w2
                by_place += (slopes[i, 1] if b else -slopes[i, 1]) * w0 * w2
                by_place += (slopes[i, 2] if c else -slopes[i, 2]) * w0 * w1
                total[at] += by_place
