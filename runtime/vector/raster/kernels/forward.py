"""Compiled: the forward pass, band by band: edges become cells, cells spans, spans pixels."""

from typing import NamedTuple

import numpy as np

from runtime.kernels.jit import entry, finish_job, inlined, take_job
from runtime.vector.raster.kernels.arrays import BLOCK, copy_values, fill_row, make_row
from runtime.vector.raster.kernels.cells import accumulate_cells, locate_band, sort_cells
from runtime.vector.raster.kernels.composite import composite_row, count_blocks
from runtime.vector.raster.kernels.spans import cover_exactly, sweep_row


class Paths(NamedTuple):
    """What is drawn. All threads read it; none writes to it."""

    edges: np.ndarray
    """(E,) EDGE."""
    colours: np.ndarray
    """(B, P, 4) straight RGBA, float64."""
    background: np.ndarray
    """(B, 3) RGB, float64."""
    evenodd: np.ndarray
    """(P,) int64: which paths' rule is even-odd."""


class Saved(NamedTuple):
    """What the forward pass leaves to the backward pass; as in `Bands`, each job has its own stretch of each array."""

    spans: np.ndarray
    """(2 M,) SPAN, from twice each job's first on."""
    rows: np.ndarray
    """(B * H, 2) int64: first span of each row, and the one after its last."""
    cell_ends: np.ndarray
    """(J,) int64: the cell after each job's last."""
    tapes: np.ndarray
    """(J, T) what lies below each path, row by row, as long as there is room; T is 0 where no gradient is wanted."""
    tape_ends: np.ndarray
    """(B * H,) int64: where each row's tape ends; -1: it had no room, so the row is composited again."""


@inlined
def forward_band(paths, bands, saved, band, image, row, coverage):
    """Composite one band into the image (B, 3, H, W); `row` and `coverage` (stride,) are the thread's working space.

    Twin: `reference.forward.forward_band`.
    """
    end = accumulate_cells(paths.edges, bands, band)
    sort_cells(bands, band, end)
    saved.cell_ends[band.job] = end
    tape = saved.tapes[band.job]
    used = np.int64(0)
    key = band.first
    # Twice, because a cell gives at most two spans, see `sweep_row`: so the job's spans never reach the next one's.
    stop = 2 * band.first
    for y in range(band.top, band.bottom):
        at = band.row + y - band.top
        begin = stop
        last = bands.rows[at]
        stop, pending = sweep_row(bands, band, key, last, paths.evenodd, saved.spans, begin)
        if pending:
            cover_exactly(paths.edges, bands, band, y, paths.evenodd, saved.spans, (begin, stop))
        key = last
        saved.rows[at, 0] = begin
        saved.rows[at, 1] = stop
        fill_row(row, band.width, paths.background[band.scene])
        # A row is taped as a whole or not at all, and after one that has no room a smaller one may still fit.
        fits = len(tape) > 0 and used + count_blocks(saved.spans, begin, stop) * 3 * BLOCK <= len(tape)
        start = used if fits else np.int64(-1)
        after = composite_row(row, saved.spans, (begin, stop), paths.colours[band.scene], coverage, tape, start)
        saved.tape_ends[at] = after if fits else -1
        used = after if fits else used
        for k in range(3):
            # Composited aside: in the image, blocks would overrun into the next row, perhaps another thread's.
            copy_values(row.values, k * row.stride, image[band.scene, k, y], 0, band.width)


@entry
def forward(work, paths, bands, saved, image):
    """The forward pass, job by job, as long as any is left. Threads call it at once with the same arguments.

    A job writes to its own stretches of `bands` and `saved`, see there, and to its own rows of the image. Nothing is
    summed across jobs, so that pixels don't depend on who did which job, and when.

    Twin: `reference.forward.forward`.

    Args:
        work: the work counter, see `jit.take_job`.
        paths: what is drawn.
        bands: filled in.
        saved: filled in.
        image: (B, 3, H, W), written.
    """
    size = (image.shape[2], image.shape[3])
    # Each thread makes its own row and coverage, so neither is shared.
    row = make_row(size[1], image)
    coverage = np.empty(row.stride, image.dtype)
    jobs = len(bands.firsts) - 1
    for _ in range(jobs):
        job = take_job(work)
        if job >= jobs:
            break
        band = locate_band(bands, job, len(paths.evenodd), size)
        forward_band(paths, bands, saved, band, image, row, coverage)
        finish_job(work)
