"""Compiled: from gradients of what rays show to gradients of their samples.

With weights w_i = T_i a_i, where a_i = 1 - exp(-density_i dt), and G_i = dL/dw_i,

    dL/d density_i = dt (T_(i+1) G_i - sum over j > i of w_j G_j - dL/dT_end T_end).
"""

from typing import NamedTuple

import numpy as np

from runtime.field.kernels.activation import ZERO
from runtime.field.kernels.march import RAYS_A_JOB, unit_normal
from runtime.kernels.jit import entry, finish_job, inner, take_job

_TWO = np.float32(2)
_TWO_THIRDS = np.float32(2 / 3)


class Upstream(NamedTuple):
    """Derivatives of a loss by what rays show; see `march.Shown`."""

    colour: np.ndarray
    transmittance: np.ndarray
    depth: np.ndarray
    normal: np.ndarray
    distortion: np.ndarray


class SampleGrads(NamedTuple):
    """Derivatives of a loss by what samples have."""

    value: np.ndarray
    """(samples, 4) float32: by the raw density and the colour."""
    slope: np.ndarray
    """(samples, 3) float32: by the gradient of the raw density; (0, 3) without normals."""


@inner
def differentiate_weights(grid, samples, first, stop, upstream, grads):
    """Write dL/dw_i of a ray's samples to `grads.value[:, 0]` and the gradients of their colours and normals.

    Twin: automatic differentiation of `runtime.field.volume.composite`. Returns the sum of all w_i dL/dw_i.
    """
    ray = samples[first].ray
    g_red = upstream.colour[ray, 0]
    g_green = upstream.colour[ray, 1]
    g_blue = upstream.colour[ray, 2]
    # By distances in nodes, as samples have them.
    g_depth = upstream.depth[ray] / grid.per_unit
    g_spread = upstream.distortion[ray] / np.float32(grid.size - 1)
    normals = len(grads.slope) > 0
    # A pass of its own over the ray, which only the distortion needs: what lies behind a sample must be known.
    all_w = ZERO
    all_wt = ZERO
    if g_spread != ZERO:
        for i in range(first, stop):
            all_w += samples[i].weight
            all_wt += samples[i].weight * samples[i].t
    sum_w = ZERO
    sum_wt = ZERO
    total = ZERO
    for i in range(first, stop):
        sample = samples[i]
        w = sample.weight
        t = sample.t
        by_weight = g_red * sample.red + g_green * sample.green + g_blue * sample.blue + g_depth * t
        if g_spread != ZERO:
            # Sum over j of w_j |t_i - t_j|: those before lie nearer, those behind farther.
            behind = (all_wt - sum_wt - w * t) - t * (all_w - sum_w - w)
            by_weight += g_spread * (_TWO * (t * sum_w - sum_wt + behind) + _TWO_THIRDS * w * grid.step)
            sum_w += w
            sum_wt += w * t
        if normals:
            u0, u1, u2, inverse = unit_normal(sample.n0, sample.n1, sample.n2)
            g0 = upstream.normal[ray, 0]
            g1 = upstream.normal[ray, 1]
            g2 = upstream.normal[ray, 2]
            along = g0 * u0 + g1 * u1 + g2 * u2
            by_weight += along
            # The normal is the gradient's negative direction: only what is across it turns it.
            grads.slope[i, 0] = -w * inverse * (g0 - along * u0)
            grads.slope[i, 1] = -w * inverse * (g1 - along * u1)
            grads.slope[i, 2] = -w * inverse * (g2 - along * u2)
        grads.value[i, 0] = by_weight
        grads.value[i, 1] = g_red * w
        grads.value[i, 2] = g_green * w
        grads.value[i, 3] = g_blue * w
        total += w * by_weight
    return total


@entry
def differentiate(work, grid, samples, spans, upstream, grads, counts):
    """Write the gradients of all samples, and count samples by the plane that their lower node lies in.

    Twin: automatic differentiation of `runtime.field.volume.composite`.

    Args:
        work: see `jit.take_job`.
        grid: see `march.Grid`.
        samples: see `march.march`.
        spans: see `march.march`.
        upstream: see `Upstream`.
        grads: see `SampleGrads`.
        counts: (jobs, size) int64 zeros: samples of each job in each plane.
    """
    count = len(spans)
    jobs = (count + RAYS_A_JOB - 1) // RAYS_A_JOB
    area = grid.size * grid.size
    job = take_job(work)
    while job < jobs:
        for ray in range(job * RAYS_A_JOB, min(count, (job + 1) * RAYS_A_JOB)):
            first = spans[ray, 0]
            stop = spans[ray, 1]
            if first == stop:
                continue
            # Sums of what is behind a sample: begun with the whole ray, and less by one sample at a time.
            behind = differentiate_weights(grid, samples, first, stop, upstream, grads)
            # The light that is left at the end of the ray shows the background.
            end = upstream.transmittance[ray] * samples[stop - 1].after
            for i in range(first, stop):
                sample = samples[i]
                by_weight = grads.value[i, 0]
                behind -= sample.weight * by_weight
                by_density = grid.length * (sample.after * by_weight - behind - end)
                # The softplus' own derivative was stored when the sample was drawn.
                grads.value[i, 0] = by_density * sample.slope
                counts[job, sample.place // area] += 1
        finish_job(work)
        job = take_job(work)
