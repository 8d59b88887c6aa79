"""Compiled: where rays sample a field that has no nodes of its own: places in cells that may hold something.

A field whose values are costly is asked for a few places of each ray, and then for the next ones of those rays that
still see something.
"""

from runtime.field.kernels.march import RAYS_A_JOB, collect, empty_lanes, enter
from runtime.kernels.jit import entry, finish_job, take_job


@entry
def find_samples(work, grid, rays, taken, distances, counts, stamp):
    """Write the next places of rays, at most `march.LANES` of each, `march.RAYS_A_JOB` rays a job.

    Twin: `reference.grid.steps_of`, and the occupied cells.

    Args:
        work: see `jit.take_job`.
        grid: see `march.Grid`; its values are not read.
        rays: see `march.Rays`.
        taken: (R,) int64: how many steps from its first place each ray has gone; moved on.
        distances: (R, LANES) float32, written: from the origins, in nodes.
        counts: (R,) int64, written: how many there are of each ray; fewer than there is room for at the ray's end.
        stamp: see `march.STAMP`.
    """
    count = len(rays.origins)
    jobs = (count + RAYS_A_JOB - 1) // RAYS_A_JOB
    lanes = empty_lanes()
    leaps = grid.leaps
    job = take_job(work)
    while job < jobs:
        for ray in range(job * RAYS_A_JOB, min(count, (job + 1) * RAYS_A_JOB)):
            position, direction, inverse, begin, far = enter(grid, rays, ray)
            filled, k = collect(grid, leaps, position, direction, inverse, (begin, far, taken[ray]), lanes)
            for i in range(filled):
                distances[ray, i] = lanes.t[i]
            counts[ray] = filled
            taken[ray] = k
        finish_job(work)
        job = take_job(work)
