"""Compiled: from gradients of what rays show to gradients of their samples.

With weights w_i = T_i a_i, where a_i = 1 - exp(-density_i dt), and G_i = dL/dw_i,

    dL/d density_i = dt (T_(i+1) G_i - sum over j > i of w_j G_j - dL/dT_end T_end).

A sample's gradient goes to the eight nodes around it. What is needed for that is written as a `PUSH`, those of a job
sorted by the plane of the lower node: so `scatter` reads them one after the other.
"""

from typing import NamedTuple

import numpy as np

from runtime.field.kernels.activation import ZERO
from runtime.field.kernels.march import RAYS_A_JOB, unit_normal
from runtime.kernels.jit import entry, finish_job, inner, take_job

_TWO = np.float32(2)
_TWO_THIRDS = np.float32(2 / 3)

PUSH = np.dtype(
    [
        ("place", np.int32),
        *((name, np.float32) for name in ("f0", "f1", "f2", "raw", "red", "green", "blue")),
    ],
    align=True,
)
"""The node below a sample, where it lies between nodes, and the gradient of its raw value and colour. 32 bytes."""


class Upstream(NamedTuple):
    """Derivatives of a loss by what rays show; see `march.Shown`."""

    colour: np.ndarray
    transmittance: np.ndarray
    depth: np.ndarray
    normal: np.ndarray
    distortion: np.ndarray


class Pushes(NamedTuple):
    """Gradients of samples, each job's at the places of its samples, sorted by plane."""

    push: np.ndarray
    """(samples,) `PUSH`."""
    ray: np.ndarray
    """(samples,) int32: the ray of each; (0,) where colours are alike from all sides."""
    slope: np.ndarray
    """(samples, 3) float32: by the gradient of the raw density; (0, 3) without normals."""
    starts: np.ndarray
    """(jobs, size + 1) int64: where those of each plane begin in each job, and where the last ones end."""


@inner
def _sort_job(samples, first, stop, area, starts, planes):
    """Write where a job's samples of each plane begin, and the plane of each sample.

    Twin: `numpy.bincount` and its sums.
    """
    starts[:] = 0
    for i in range(first, stop):
        # Unsigned: a quotient then needs no care for signs.
        plane = np.uint32(samples[i].place) // area
        planes[i - first] = plane
        starts[plane + 1] += 1
    starts[0] = first
    for plane in range(1, len(starts)):
        starts[plane] += starts[plane - 1]


@inner
def _push_slope(sample, upstream, slope):
    """Write the gradient of a sample's slope from that of its ray's normal."""
    u0, u1, u2, inverse = unit_normal(sample.n0, sample.n1, sample.n2)
    along = upstream[0] * u0 + upstream[1] * u1 + upstream[2] * u2
    # The normal is the gradient's negative direction: only what is across it turns it.
    slope[0] = -sample.weight * inverse * (upstream[0] - along * u0)
    slope[1] = -sample.weight * inverse * (upstream[1] - along * u1)
    slope[2] = -sample.weight * inverse * (upstream[2] - along * u2)


@inner
def _differentiate_job(grid, samples, spans, span, upstream, pushes, starts):  # noqa: PLR0915
    """Write the gradients of the samples of a job's rays."""
    begin = spans[span[0], 0]
    room = spans[span[1] - 1, 1] - begin
    planes = np.empty(room, np.int16)
    _sort_job(samples, begin, begin + room, np.uint32(grid.size * grid.size), starts, planes)
    # Where the next sample of each plane goes.
    places = starts.copy()
    by_weights = np.empty(room, np.float32)
    normals = len(pushes.slope) > 0
    directed = len(pushes.ray) > 0
    for ray in range(span[0], span[1]):
        first = spans[ray, 0]
        stop = spans[ray, 1]
        if first == stop:
            continue
        g_red = upstream.colour[ray, 0]
        g_green = upstream.colour[ray, 1]
        g_blue = upstream.colour[ray, 2]
        # By distances in nodes, as samples have them.
        g_depth = upstream.depth[ray] / grid.per_unit
        g_spread = upstream.distortion[ray] / np.float32(grid.size - 1)
        # A pass of its own over the ray, which only the distortion needs: what lies behind a sample must be known.
        all_w = ZERO
        all_wt = ZERO
        if g_spread != ZERO:
            for i in range(first, stop):
                all_w += samples[i].weight
                all_wt += samples[i].weight * samples[i].t
        sum_w = ZERO
        sum_wt = ZERO
        # Sums of what is behind a sample: begun with the whole ray, and less by one sample at a time.
        behind = ZERO
        for i in range(first, stop):
            sample = samples[i]
            w = sample.weight
            t = sample.t
            by_weight = g_red * sample.red + g_green * sample.green + g_blue * sample.blue + g_depth * t
            if g_spread != ZERO:
                # Sum over j of w_j |t_i - t_j|: those before lie nearer, those behind farther.
                farther = (all_wt - sum_wt - w * t) - t * (all_w - sum_w - w)
                by_weight += g_spread * (_TWO * (t * sum_w - sum_wt + farther) + _TWO_THIRDS * w * grid.step)
                sum_w += w
                sum_wt += w * t
            if normals:
                u0, u1, u2, _ = unit_normal(sample.n0, sample.n1, sample.n2)
                by_weight += upstream.normal[ray, 0] * u0 + upstream.normal[ray, 1] * u1 + upstream.normal[ray, 2] * u2
            by_weights[i - begin] = by_weight
            behind += w * by_weight
        # The light that is left at the end of the ray shows the background.
        end = upstream.transmittance[ray] * samples[stop - 1].after
        for i in range(first, stop):
            sample = samples[i]
            w = sample.weight
            by_weight = by_weights[i - begin]
            behind -= w * by_weight
            by_density = grid.length * (sample.after * by_weight - behind - end)
            plane = planes[i - begin]
            at = places[plane]
            places[plane] += 1
            push = pushes.push[at]
            push.place = sample.place
            push.f0 = sample.f0
            push.f1 = sample.f1
            push.f2 = sample.f2
            # The softplus' own derivative was stored when the sample was drawn.
            push.raw = by_density * sample.slope
            push.red = g_red * w
            push.green = g_green * w
            push.blue = g_blue * w
            if directed:
                pushes.ray[at] = ray
            if normals:
                _push_slope(sample, upstream.normal[ray], pushes.slope[at])


@entry
def differentiate(work, grid, samples, spans, upstream, pushes):
    """Write the gradients of all samples, `march.RAYS_A_JOB` rays a job, each job's sorted by plane.

    Twin: automatic differentiation of `runtime.field.volume.composite`.

    Args:
        work: see `jit.take_job`.
        grid: see `march.Grid`.
        samples: see `march.march`.
        spans: see `march.march`.
        upstream: see `Upstream`.
        pushes: see `Pushes`, written.
    """
    count = len(spans)
    jobs = (count + RAYS_A_JOB - 1) // RAYS_A_JOB
    job = take_job(work)
    while job < jobs:
        span = (job * RAYS_A_JOB, min(count, (job + 1) * RAYS_A_JOB))
        _differentiate_job(grid, samples, spans, span, upstream, pushes, pushes.starts[job])
        finish_job(work)
        job = take_job(work)
