"""Compiled: samples of rays through a grid, and what a ray shows.

A ray advances in equal steps, with one jitter for all of it, and leaps over cells that are empty, as far as to the
nearest one that is not (Zuiderveld et al. 1992); a leap skips samples and moves none.

Positions are in node coordinates: node (i, j, k) is at (i, j, k), lengths are counted in nodes.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from runtime.field.kernels.activation import ONE, ZERO, opacity
from runtime.field.kernels.vectors import add_scaled, lane, load, splat
from runtime.kernels.jit import entry, finish_job, inlined, inner, stamp_of, take_job

RAYS_A_JOB = 128
"""Neighbouring rays that one thread takes at a time."""

LANES = 8
"""Samples of a ray that are looked up together."""

RAW_FLOOR = np.float32(-12)
"""Raw values below this have no density: softplus is 6e-6 there."""

OPAQUE = np.float32(1e-3)
"""A ray ends where less than this share of light passes."""

_FAR = np.float32(1e9)
_TINY = np.float32(1e-9)
_SLACK = np.float32(1e-3)
_THIRD = np.float32(1 / 3)

STAMP = stamp_of(Path(__file__).parent)
"""A field of `SAMPLE`, an array of which is in the arguments of every entry kernel."""

SAMPLE = np.dtype(
    [
        ("place", np.int32),
        ("ray", np.int32),
        *((name, np.float32) for name in ("f0", "f1", "f2", "t", "weight", "after", "slope")),
        *((name, np.float32) for name in ("red", "green", "blue", "n0", "n1", "n2")),
        (STAMP, np.int32),
    ],
    align=True,
)
"""A sample: the node below it and its ray; where it lies between nodes, each in [0, 1]; its distance from the origin;
its weight in the picture; the share of light that passes it; d density / d raw; its colour; the gradient of the raw
value by position, in nodes. 64 bytes, a line of the cache."""


class Grid(NamedTuple):
    """Values at nodes of a box, and which of its cells hold anything."""

    values: np.ndarray
    """Flat (size, size, size, groups, 4): raw density and colour; further groups: zero, and colour by direction."""
    leaps: np.ndarray
    """Flat (cells, cells, cells) uint8 with cells = (size - 1) >> shift: 0 for cells that may hold something, else how
    many cells on each side, itself among them, are empty along every axis. Beyond the box all is empty."""
    low: np.ndarray
    """(3,) float32: the box's lowest corner."""
    size: int
    """Nodes along an axis."""
    groups: int
    """1: colour alike from all sides; 4: and linear in the direction."""
    shift: int
    """Binary logarithm of a cell's side in nodes: a shift takes a cycle, a division thirty."""
    per_unit: np.float32
    """Nodes a unit of the world."""
    step: np.float32
    """Between two samples, in nodes."""
    length: np.float32
    """Of a step, in the unit whose inverse the density has."""


class Rays(NamedTuple):
    """R rays."""

    origins: np.ndarray
    """(R, 3) float32."""
    directions: np.ndarray
    """(R, 3) float32 unit vectors."""
    jitter: np.ndarray
    """(R,) float32 in [0, 1): where the first sample lies in the first step."""


class Shown(NamedTuple):
    """What R rays show."""

    colour: np.ndarray
    """(R, 3) float32, without a background."""
    transmittance: np.ndarray
    """(R,) float32: share of the background's light that arrives."""
    depth: np.ndarray
    """(R,) float32: mean distance in units of the world, weighted as colours are."""
    normal: np.ndarray
    """(R, 3) float32: mean normal, weighted; (0, 3) if none is asked for."""
    distortion: np.ndarray
    """(R,) float32: spread of the weights along the ray, distances in sides of the box."""


class Lanes(NamedTuple):
    """Samples that are worked on together: arrays of `LANES` numbers, a thread's own."""

    place: np.ndarray
    """int32: the node below each; the others are float32, as in `SAMPLE`."""
    t: np.ndarray
    f0: np.ndarray
    f1: np.ndarray
    f2: np.ndarray
    raw: np.ndarray
    red: np.ndarray
    green: np.ndarray
    blue: np.ndarray
    share: np.ndarray
    slope: np.ndarray


@inlined
def empty_lanes():
    """Return room for the samples of a thread."""
    floats = np.empty((10, LANES), np.float32)
    return Lanes(
        np.empty(LANES, np.int32),
        floats[0],
        floats[1],
        floats[2],
        floats[3],
        floats[4],
        floats[5],
        floats[6],
        floats[7],
        floats[8],
        floats[9],
    )


@inlined
def _slab(position, inverse, extent, near, far):
    """What is left of an interval of a ray between two planes."""
    a = -position * inverse
    b = (extent - position) * inverse
    return max(near, min(a, b)), min(far, max(a, b))


@inlined
def _wall(cell, reach, along, shift):
    """Where the empty cube around a cell ends along an axis: the farther wall if the ray climbs it, else the nearer."""
    return np.float32((cell + reach if along > ZERO else cell - reach + 1) << shift)


@inlined
def _inverse(number):
    """1 / number, huge instead of infinite: infinity times zero would be NaN."""
    return ONE / number if abs(number) > _TINY else _FAR


@inlined
def _inside(position, inverse, extent):
    """The interval of a ray in a box; its end is not behind its beginning where the ray misses the box."""
    # From zero on: what lies behind the camera is not seen, and a camera inside the box begins where it is.
    near, far = _slab(position[0], inverse[0], extent, ZERO, _FAR)
    near, far = _slab(position[1], inverse[1], extent, near, far)
    return _slab(position[2], inverse[2], extent, near, far)


@inlined
def enter(grid, rays, ray):
    """A ray in nodes: its origin, direction and inverse direction; its first place, and where it leaves the box."""
    direction = (rays.directions[ray, 0], rays.directions[ray, 1], rays.directions[ray, 2])
    p0 = (rays.origins[ray, 0] - grid.low[0]) * grid.per_unit
    p1 = (rays.origins[ray, 1] - grid.low[1]) * grid.per_unit
    p2 = (rays.origins[ray, 2] - grid.low[2]) * grid.per_unit
    inverse = (_inverse(direction[0]), _inverse(direction[1]), _inverse(direction[2]))
    near, far = _inside((p0, p1, p2), inverse, np.float32(grid.size - 1))
    return (p0, p1, p2), direction, inverse, near + rays.jitter[ray] * grid.step, far


@inlined
def _write(sample, lanes, i, ray, weight, after):
    """Write a sample, but for its normal."""
    sample.place = lanes.place[i]
    sample.ray = ray
    sample.f0 = lanes.f0[i]
    sample.f1 = lanes.f1[i]
    sample.f2 = lanes.f2[i]
    sample.t = lanes.t[i]
    sample.weight = weight
    sample.after = after
    sample.slope = lanes.slope[i]
    sample.red = lanes.red[i]
    sample.green = lanes.green[i]
    sample.blue = lanes.blue[i]


@inlined
def strides(grid):
    """Numbers from one node's values to the next one's along the last, the middle and the first axis."""
    node = 4 * grid.groups
    return node, grid.size * node, grid.size * grid.size * node


@inlined
def interpolate(grid, place, fractions, direction):
    """Raw density and colour between the eight nodes around a sample.

    Twin: `reference.grid.interpolate`.
    """
    f0, f1, f2 = fractions
    g0 = ONE - f0
    g1 = ONE - f1
    g2 = ONE - f2
    node, row, plane = strides(grid)
    base = place * node
    total = splat(ZERO)
    for group in range(grid.groups):
        # The first group counts whole, the others as much as the ray goes along their axis.
        factor = ONE if group == 0 else direction[group - 1]
        at = base + 4 * group
        total = add_scaled(total, factor * (g0 * g1 * g2), load(grid.values, at))
        total = add_scaled(total, factor * (g0 * g1 * f2), load(grid.values, at + node))
        total = add_scaled(total, factor * (g0 * f1 * g2), load(grid.values, at + row))
        total = add_scaled(total, factor * (g0 * f1 * f2), load(grid.values, at + row + node))
        total = add_scaled(total, factor * (f0 * g1 * g2), load(grid.values, at + plane))
        total = add_scaled(total, factor * (f0 * g1 * f2), load(grid.values, at + plane + node))
        total = add_scaled(total, factor * (f0 * f1 * g2), load(grid.values, at + plane + row))
        total = add_scaled(total, factor * (f0 * f1 * f2), load(grid.values, at + plane + row + node))
    return total


@inlined
def slope_of(grid, place, fractions):
    """Gradient of the raw density between eight nodes by position, in nodes.

    Twin: `reference.grid.slope_of`.
    """
    f0, f1, f2 = fractions
    g0 = ONE - f0
    g1 = ONE - f1
    node, row, plane = strides(grid)
    base = place * node
    v = grid.values
    a = v[base + node] - v[base]
    b = v[base + row + node] - v[base + row]
    c = v[base + plane + node] - v[base + plane]
    d = v[base + plane + row + node] - v[base + plane + row]
    n2 = g0 * (g1 * a + f1 * b) + f0 * (g1 * c + f1 * d)
    # Means along the last axis at the four edges that are parallel to it; their differences are the other two slopes.
    e = v[base] + f2 * a
    f = v[base + row] + f2 * b
    g = v[base + plane] + f2 * c
    h = v[base + plane + row] + f2 * d
    n1 = g0 * (f - e) + f0 * (h - g)
    n0 = g1 * (g - e) + f1 * (h - f)
    return n0, n1, n2


@inlined
def collect(grid, leaps, position, direction, inverse, span, lanes):
    """Find the next places of a ray in cells that may hold something: as many as there are lanes, or what is left.

    Args:
        grid: see `Grid`.
        leaps: its own; of a local variable the compiler knows that no store changes it.
        position: of the ray's origin, in nodes.
        direction: of the ray.
        inverse: of the direction's components.
        span: the first place's distance, the end's, and how many steps from the first one to begin.
        lanes: see `Lanes`; places, distances and where they lie between nodes are written.

    Returns:
        How many there are, and how many steps from the first place the ray goes on.
    """
    begin, far, k = span
    last = grid.size - 2
    shift = grid.shift
    cells = (grid.size - 1) >> shift
    per_step = ONE / grid.step
    count = 0
    t = begin + np.float32(k) * grid.step
    while t < far and count < LANES:
        q0 = position[0] + t * direction[0]
        q1 = position[1] + t * direction[1]
        q2 = position[2] + t * direction[2]
        # Rounding may put the first or last sample just outside of the box.
        x = min(max(int(q0), 0), last)
        y = min(max(int(q1), 0), last)
        z = min(max(int(q2), 0), last)
        c0 = x >> shift
        c1 = y >> shift
        c2 = z >> shift
        reach = np.int64(leaps[(c0 * cells + c1) * cells + c2])
        if reach > 0:
            # To the wall of the empty cube around the cell by which the ray leaves it.
            e0 = (_wall(c0, reach, direction[0], shift) - q0) * inverse[0]
            e1 = (_wall(c1, reach, direction[1], shift) - q1) * inverse[1]
            e2 = (_wall(c2, reach, direction[2], shift) - q2) * inverse[2]
            # A little less, as rounding must not leap over a sample, and at least one step, or the ray would stand
            # still.
            k += max(int(np.ceil(min(e0, e1, e2) * per_step - _SLACK)), 1)
        else:
            lanes.place[count] = (x * grid.size + y) * grid.size + z
            lanes.t[count] = t
            lanes.f0[count] = q0 - np.float32(x)
            lanes.f1[count] = q1 - np.float32(y)
            lanes.f2[count] = q2 - np.float32(z)
            count += 1
            k += 1
        # From the count, not by adding steps: a leap must not move the samples behind it.
        t = begin + np.float32(k) * grid.step
    return count, k


@inlined
def unit_normal(n0, n1, n2):
    """The direction in which the density falls, and the inverse length of its gradient; zeros where it is flat."""
    square = n0 * n0 + n1 * n1 + n2 * n2
    inverse = ONE / np.sqrt(square) if square > _TINY * _TINY else ZERO
    return -n0 * inverse, -n1 * inverse, -n2 * inverse, inverse


@inner
def add_normals(grid, samples, first, stop, shown, ray):
    """Write the normals of a ray's samples, and the ray's own, weighted as colours are.

    A loop of its own, as few pictures have normals, and within the other loop they would slow down all.

    Twin: `runtime.field.volume.composite`.
    """
    m0 = ZERO
    m1 = ZERO
    m2 = ZERO
    for i in range(first, stop):
        sample = samples[i]
        sample.n0, sample.n1, sample.n2 = slope_of(grid, np.int64(sample.place), (sample.f0, sample.f1, sample.f2))
        u0, u1, u2, _ = unit_normal(sample.n0, sample.n1, sample.n2)
        m0 += sample.weight * u0
        m1 += sample.weight * u1
        m2 += sample.weight * u2
    shown.normal[ray, 0] = m0
    shown.normal[ray, 1] = m1
    shown.normal[ray, 2] = m2


@inner
def march_job(grid, rays, span, samples, first, spans, shown):
    """Draw the rays of a job.

    Some samples of a ray at a time, each step of the work for all of them: their reads of the grid do not wait for one
    another, and opacities are computed in vectors. Those behind the ray's end are computed in vain.

    One function for all rays, as Numba counts the references to each array that a function is given: once a ray, that
    took a third of the time.

    Twins: `reference.grid.march_rays` and `runtime.field.volume.composite`.

    Args:
        grid: see `Grid`.
        rays: see `Rays`.
        span: the first ray and the one after the last.
        samples: room for their samples and for those of the jobs before; what is beyond its end is counted only.
        first: where their samples begin.
        spans: see `march`.
        shown: see `Shown`.
    """
    normals = len(shown.normal) > 0
    leaps = grid.leaps
    lanes = empty_lanes()
    for ray in range(span[0], span[1]):
        position, direction, inverse, begin, far = enter(grid, rays, ray)
        passing = ONE
        red = green = blue = depth = ZERO
        # Weight, and weight times distance, of the samples before; the sum over pairs needs no second loop then.
        sum_w = sum_wt = spread = ZERO
        stop = first
        k = 0
        filled = LANES
        while filled == LANES and passing >= OPAQUE:
            filled, k = collect(grid, leaps, position, direction, inverse, (begin, far, k), lanes)
            for i in range(filled):
                value = interpolate(grid, np.int64(lanes.place[i]), (lanes.f0[i], lanes.f1[i], lanes.f2[i]), direction)
                lanes.raw[i] = lane(value, 0)
                lanes.red[i] = lane(value, 1)
                lanes.green[i] = lane(value, 2)
                lanes.blue[i] = lane(value, 3)
            for i in range(filled):
                share, slope = opacity(lanes.raw[i], grid.length)
                lanes.share[i] = share
                lanes.slope[i] = slope
            for i in range(filled):
                if lanes.raw[i] < RAW_FLOOR:
                    continue
                t = lanes.t[i]
                w = passing * lanes.share[i]
                passing = passing * (ONE - lanes.share[i])
                red += w * lanes.red[i]
                green += w * lanes.green[i]
                blue += w * lanes.blue[i]
                depth += w * t
                # Each pair counts twice, and a sample's own width as a third.
                spread += w * (np.float32(2) * (t * sum_w - sum_wt) + _THIRD * w * grid.step)
                sum_w += w
                sum_wt += w * t
                if stop < len(samples):
                    _write(samples[stop], lanes, i, ray, w, passing)
                stop += 1
                if passing < OPAQUE:
                    break
        shown.colour[ray, 0] = red
        shown.colour[ray, 1] = green
        shown.colour[ray, 2] = blue
        shown.transmittance[ray] = passing
        # Samples count in nodes; rays are in units of the world.
        shown.depth[ray] = depth / grid.per_unit
        shown.distortion[ray] = spread / np.float32(grid.size - 1)
        if normals:
            # Without room the picture is drawn again with more: nothing of it is used.
            add_normals(grid, samples, first, min(stop, len(samples)), shown, ray)
        if len(spans) > 0:
            spans[ray, 0] = first
            spans[ray, 1] = stop
            first = stop


@entry
def march(work, grid, rays, samples, capacity, spans, shown):
    """Draw rays, `RAYS_A_JOB` of them a job.

    Twins: those of `march_job` and `add_normals`.

    Args:
        work: see `jit.take_job`.
        grid: see `Grid`.
        rays: see `Rays`.
        samples: (jobs * capacity,) `SAMPLE`; with `spans`, the samples of all rays, else room that is used again.
        capacity: samples that a job has room for.
        spans: (R, 2) int64: first sample of each ray and the one after its last, as if there were room enough; (0, 2)
            if samples are not used after this call.
        shown: see `Shown`.
    """
    count = len(rays.origins)
    jobs = (count + RAYS_A_JOB - 1) // RAYS_A_JOB
    job = take_job(work)
    while job < jobs:
        span = (job * RAYS_A_JOB, min(count, (job + 1) * RAYS_A_JOB))
        march_job(grid, rays, span, samples[: (job + 1) * capacity], job * capacity, spans, shown)
        finish_job(work)
        job = take_job(work)
