"""Compiled: the backward pass, band by band: a row's upstream gradient goes to colours and, as moments, to edges."""

from typing import NamedTuple

import numpy as np

from runtime.kernels.jit import entry, finish_job, inlined, inner, take_job
from runtime.vector.raster.kernels.arrays import BLOCK, Row, copy_values, fill_row, make_row, round_colour, sum_values
from runtime.vector.raster.kernels.cells import cell_of, locate_band
from runtime.vector.raster.kernels.composite import blend_backward, composite_row, count_blocks, row_coverage
from runtime.vector.raster.kernels.pixel import pixel_moments
from runtime.vector.raster.kernels.spans import EXACT, gather_edges


class Grads(NamedTuple):
    """Gradients, float64, by job: each adds to its own, and `build.gather_gradients` sums over jobs in their order."""

    colours: np.ndarray
    """(J, P, 4) of each job."""
    background: np.ndarray
    """(J, 3) of each job."""
    moments: np.ndarray
    """(N, 2) of each entry, see `pixel.PIXEL_EDGE`; (0, 2) if not wanted. An entry belongs to one job."""


class PathSpans(NamedTuple):
    """One path's spans in one row."""

    first: int
    last: int
    """The span after the last."""
    row: int
    """Of the picture."""
    evenodd: int
    """Whether the path's rule is even-odd."""
    opacity: float


class RowSpace(NamedTuple):
    """A thread's working space for a row."""

    row: Row
    """Pixels, where the tape had no room for them."""
    grad: Row
    """The gradient of pixels."""
    coverage: np.ndarray
    """(stride,) in the picture's dtype, of one path."""
    grad_alpha: np.ndarray
    """(stride,) in the picture's dtype, of one path."""


@inner
def spans_backward(bands, spans, path, grad_alpha):
    """Leave the gradient by each cell's signed area in `area`, which is free by now, for one path's spans in a row.

    Returns whether pixels with several cells are left to `exact_spans_backward`.

    Twin: `reference.backward.spans_backward`.
    """
    start = spans[path.first].start
    several = False
    for k in range(path.first, path.last):
        span = spans[k]
        if span.cells == 1 and span.slope != EXACT:
            # Alpha is opacity times coverage, and coverage is linear in the signed area, with this slope.
            bands.cells[span.first].area = path.opacity * span.slope * grad_alpha[span.start - start]
        elif span.cells > 0:
            several = True
    return several


@inner
def exact_spans_backward(edges, bands, band, spans, path, grad_alpha, moments):
    """`spans_backward` for pixels with several cells, or one that may cross itself: their edges' moments at once.

    Twin: `reference.backward.exact_spans_backward`.
    """
    start = spans[path.first].start
    for k in range(path.first, path.last):
        span = spans[k]
        if span.cells == 0 or (span.cells == 1 and span.slope != EXACT):
            continue
        grad = path.opacity * grad_alpha[span.start - start]
        for n in range(span.first, span.first + span.cells):
            cell = bands.cells[cell_of(bands, band, bands.keys[n])]
            # 0, else `cells_backward` would take the area from the forward pass for a gradient.
            cell.area = 0.0 if span.slope == EXACT else grad * span.slope
        if span.slope == EXACT:
            gathered = gather_edges(edges, bands, band, span, path.row)
            pixel_moments(gathered, span.corner, path.evenodd)
            for i in range(len(gathered)):
                # An entry belongs to one band, so no other thread adds here.
                moments[gathered[i].entry, 0] += grad * gathered[i].zeroth
                moments[gathered[i].entry, 1] += grad * gathered[i].first


@inner
def cells_backward(bands, first, last, moments):
    """Add the gradients that cells hold to the moments of their parts' entries.

    Twin: `reference.backward.cells_backward`.
    """
    for c in range(first, last):
        # No span has overwritten the area of a cell left of the picture, but such a cell has no parts.
        grad = bands.cells[c].area
        for k in range(bands.cells[c].part, bands.cells[c].part + bands.cells[c].count):
            part = bands.parts[k]
            # The integral of the parameter is length times mean: a difference of squares would cancel for short parts.
            share = grad * (part.t - part.s)
            moments[part.entry, 0] += share
            moments[part.entry, 1] += share * 0.5 * (part.s + part.t)


@inlined
def row_backward(paths, bands, saved, band, y, space, grads, tape):
    """Take the gradient of row y, `space.grad`, back through its paths, highest first.

    `tape` is a pair: what lay below each path, and where the row's part of it ends. Afterwards `space.grad` is the
    gradient of the background.

    Twin: `reference.backward.row_backward`.
    """
    below, at = tape
    begin, end = saved.rows[band.row + y - band.top]
    colours = paths.colours[band.scene]
    out = grads.colours[band.job]
    # From the highest path down, because each dims the gradient of what lies below it.
    while end > begin:
        path = saved.spans[end - 1].path
        last = end
        while end > begin and saved.spans[end - 1].path == path:
            end -= 1
        start = saved.spans[end].start
        blocks = row_coverage(saved.spans, end, last, space.coverage)[1]
        # The same spans give the same number of blocks as when the tape was written, so it is read back exactly.
        at -= 3 * BLOCK * blocks
        colour = round_colour(colours[path], below)
        sums = blend_backward(space.grad, start, blocks, space.coverage, colour, below, at, space.grad_alpha)
        opacity = colours[path, 3]
        # `out` is this job's own copy: a path spans many bands, and threads would race for a common one.
        out[path, 0] += opacity * sums[0]
        out[path, 1] += opacity * sums[1]
        out[path, 2] += opacity * sums[2]
        out[path, 3] += sums[3]
        if len(grads.moments):
            one = PathSpans(end, last, y, paths.evenodd[path], opacity)
            if spans_backward(bands, saved.spans, one, space.grad_alpha):
                exact_spans_backward(paths.edges, bands, band, saved.spans, one, space.grad_alpha, grads.moments)


@inlined
def backward_band(paths, bands, saved, band, upstream, space, grads):
    """Add one band's part to the gradients, given the upstream gradient (B, 3, H, W).

    Twin: `reference.backward.backward_band`.
    """
    spare = np.empty(0, upstream.dtype)
    for y in range(band.top, band.bottom):
        at = band.row + y - band.top
        # A copy: the gradient is dimmed in place, and the upstream one belongs to PyTorch.
        for k in range(3):
            copy_values(upstream[band.scene, k, y], 0, space.grad.values, k * space.grad.stride, band.width)
        below = saved.tapes[band.job]
        end = saved.tape_ends[at]
        if end < 0:
            begin, last = saved.rows[at]
            room = count_blocks(saved.spans, begin, last) * 3 * BLOCK
            if room > len(spare):
                spare = np.empty(2 * room, upstream.dtype)
            below = spare
            # The same operations in the same order as in the forward pass, so this is what a tape would have held.
            fill_row(space.row, band.width, paths.background[band.scene])
            colours = paths.colours[band.scene]
            end = composite_row(space.row, saved.spans, (begin, last), colours, space.coverage, below, np.int64(0))
        row_backward(paths, bands, saved, band, y, space, grads, (below, end))
        for k in range(3):
            grads.background[band.job, k] += sum_values(space.grad.values, k * space.grad.stride, band.width)
    if len(grads.moments):
        cells_backward(bands, band.first, saved.cell_ends[band.job], grads.moments)


@entry
def backward(work, paths, bands, saved, upstream, grads):
    """The backward pass, job by job, as long as any is left. Threads call it at once with the same arguments.

    A job writes to its own places of `grads`, and to its own cells. Sums within a job are in the order of its rows and
    paths; sums over jobs come later, on one thread: so gradients don't depend on the number of threads.

    Twin: `reference.backward.backward`.

    Args:
        work: the work counter, see `jit.take_job`.
        paths: what was drawn.
        bands: as the forward pass left it; `area` of cells is overwritten.
        saved: as the forward pass left it.
        upstream: (B, 3, H, W) gradient of the image.
        grads: zeros, written.
    """
    size = (upstream.shape[2], upstream.shape[3])
    # Each thread makes its own working space, so none of it is shared.
    row = make_row(size[1], upstream)
    grad = make_row(size[1], upstream)
    space = RowSpace(row, grad, np.empty(row.stride, upstream.dtype), np.empty(row.stride, upstream.dtype))
    jobs = len(bands.firsts) - 1
    for _ in range(jobs):
        job = take_job(work)
        if job >= jobs:
            break
        band = locate_band(bands, job, len(paths.evenodd), size)
        backward_band(paths, bands, saved, band, upstream, space, grads)
        finish_job(work)
