"""Compiled: compositing paths over a row of pixels, and taking a row's upstream gradient back to paint and edges.

A row is composited path by path, in blocks of `BLOCK` pixels so that vector loops have no remainders: what lies beyond
a path's end in its last block has coverage 0. The three planes of a row lie `width + 2 * BLOCK` apart.
"""

from typing import NamedTuple

import numpy as np

from runtime.vector.raster.kernels.cells import BAND, sort_job, trace_job
from runtime.vector.raster.kernels.jit import add_at_once, entry, inner, summing
from runtime.vector.raster.kernels.pixel import find_moments
from runtime.vector.raster.kernels.spans import EXACT, VISIT_BITS, fill_lacking, find_strips, gather_edges

BLOCK = 32
"""Pixels of a block: a multiple of what the compiler's vector loops take at a time."""


class Strips(NamedTuple):
    """What the forward pass leaves to the backward pass."""

    strips: np.ndarray
    """(2 M,) STRIP, from twice each job's first on."""
    rows: np.ndarray
    """(B * H, 2) int64: first strip of each row, and the one after its last."""
    visits: np.ndarray
    """(J,) int64: the visit after each job's last."""
    tapes: np.ndarray
    """(J, T) what lies below each path, row by row, as long as there is room; T is 0 where no gradient is wanted."""
    taped: np.ndarray
    """(B * H,) int64: where each row's tape ends; -1: it had no room, so the row is painted again."""


class Pulls(NamedTuple):
    """Gradients, float64; the backward pass adds to them."""

    colours: np.ndarray
    """(J, P, 4) of each job."""
    background: np.ndarray
    """(J, 3) of each job."""
    moments: np.ndarray
    """(N, 2) of each entry, see `pixel.EDGE`; (0, 2) if not wanted."""


@inner
def _fill(values, start, blocks, value):
    """Set whole blocks to a value."""
    first = np.uint64(start)
    for i in range(first, first + np.uint64(blocks * BLOCK)):
        values[i] = value


@inner
def _cover(strips, first, last, covers):
    """Write the coverages of the first path's strips from its first column on; returns the strip after, and blocks."""
    start, path, k, at = strips[first].start, strips[first].path, first, np.int64(0)
    while k < last and strips[k].path == path:
        strip = strips[k]
        begin, end = strip.start - start, strip.stop - start
        if begin > at:
            _fill(covers, at, (begin - at + BLOCK - 1) // BLOCK, 0.0)
        if end == begin + 1:
            covers[begin] = strip.cover
        else:
            _fill(covers, begin, (end - begin + BLOCK - 1) // BLOCK, 1.0)
        at = end
        k += 1
    _fill(covers, at, np.int64(1), 0.0)
    return k, (at + BLOCK - 1) // BLOCK


@inner
def _blend(row, start, stride, blocks, covers, opacity, red, green, blue):
    """Composite a colour over pixels."""
    a, b, c = np.uint64(start), np.uint64(start + stride), np.uint64(start + 2 * stride)
    for i in range(np.uint64(blocks * BLOCK)):
        alpha = opacity * covers[i]
        row[a + i] += alpha * (red - row[a + i])
        row[b + i] += alpha * (green - row[b + i])
        row[c + i] += alpha * (blue - row[c + i])


@inner
def _blend_taped(row, start, stride, blocks, covers, opacity, red, green, blue, tape, at):
    """`_blend` that leaves the pixels as they were on the tape, plane by plane."""
    a, b, c = np.uint64(start), np.uint64(start + stride), np.uint64(start + 2 * stride)
    length = np.uint64(blocks * BLOCK)
    d, e, f = np.uint64(at), np.uint64(at) + length, np.uint64(at) + length + length
    for i in range(length):
        alpha, x, y, z = opacity * covers[i], row[a + i], row[b + i], row[c + i]
        tape[d + i], tape[e + i], tape[f + i] = x, y, z
        row[a + i], row[b + i], row[c + i] = x + alpha * (red - x), y + alpha * (green - y), z + alpha * (blue - z)


@inner
def _move(source, start, target, at, length):
    here, there = np.uint64(start), np.uint64(at)
    for i in range(np.uint64(length)):
        target[there + i] = source[here + i]


@inner
def _paint_strips(strips, first, last, colours, row, stride, covers, tape, at):
    """Composite a row's strips; what lies below each path goes to the tape from `at` on unless that is negative.

    Returns the tape's end.
    """
    kind = row.dtype.type
    while first < last:
        start, path = strips[first].start, strips[first].path
        first, blocks = _cover(strips, first, last, covers)
        red, green, blue, opacity = colours[path]
        red, green, blue, opacity = kind(red), kind(green), kind(blue), kind(opacity)
        if at >= 0:
            _blend_taped(row, start, stride, blocks, covers, opacity, red, green, blue, tape, at)
            at += 3 * BLOCK * blocks
        else:
            _blend(row, start, stride, blocks, covers, opacity, red, green, blue)
    return at


@summing
def _pull_blend(grad, start, stride, blocks, covers, tape, at, opacity, red, green, blue, changes):
    """The gradient of `_blend`: dims `grad`, writes the derivative by each pixel's alpha.

    Returns the sums over pixels of coverage times gradient, by channel, and of coverage times derivative by alpha. They
    are added up in an order fixed when compiled, which leaves room for vector instructions.
    """
    a, b, c = np.uint64(start), np.uint64(start + stride), np.uint64(start + 2 * stride)
    length = np.uint64(blocks * BLOCK)
    d, e, f = np.uint64(at), np.uint64(at) + length, np.uint64(at) + length + length
    zero = grad.dtype.type(0.0)
    one = grad.dtype.type(1.0)
    x = y = z = w = zero
    for i in range(length):
        cover, p, q, r = covers[i], grad[a + i], grad[b + i], grad[c + i]
        change = p * (red - tape[d + i]) + q * (green - tape[e + i]) + r * (blue - tape[f + i])
        changes[i] = change
        keep = one - opacity * cover
        x, y, z, w = x + cover * p, y + cover * q, z + cover * r, w + cover * change
        grad[a + i], grad[b + i], grad[c + i] = p * keep, q * keep, r * keep
    return float(x), float(y), float(z), float(w)


@summing
def _sum(values, first, length):
    """Sum in an order fixed when compiled."""
    total = 0.0
    here = np.uint64(first)
    for i in range(here, here + np.uint64(length)):
        total += values[i]
    return total


@inner
def _pull_strips(visits, strips, first, last, opacity, changes):
    """Leave the pull on each visit's signed area in `area`, for one path's strips in a row.

    Returns whether pixels with several visits are left to `_pull_several`.
    """
    start, several = strips[first].start, False
    for k in range(first, last):
        strip = strips[k]
        if strip.number == 1 and strip.slope != EXACT:
            visits[strip.first].area = opacity * strip.slope * changes[strip.start - start]
        elif strip.number > 0:
            several = True
    return several


@inner
def _pull_several(pieces, entries, visits, parts, keys, at, strips, first, last, y, evenodd, opacity, changes, moments):
    """`_pull_strips` for pixels with several visits, or one that may cross itself: their edges' moments at once."""
    start = strips[first].start
    for k in range(first, last):
        strip = strips[k]
        if strip.number == 0 or (strip.number == 1 and strip.slope != EXACT):
            continue
        pull = opacity * changes[strip.start - start]
        for n in range(strip.first, strip.first + strip.number):
            visits[at + (keys[n] & ((1 << VISIT_BITS) - 1))].area = 0.0 if strip.slope == EXACT else pull * strip.slope
        if strip.slope == EXACT:
            edges = gather_edges(pieces, entries, visits, parts, keys, at, strip, y)
            find_moments(edges, strip.corner, evenodd)
            for i in range(len(edges)):
                moments[edges[i].entry, 0] += pull * edges[i].zeroth
                moments[edges[i].entry, 1] += pull * edges[i].first


@inner
def _add_moments(visits, parts, first, last, moments):
    """Add the pulls that visits hold to the moments of their parts' entries."""
    for v in range(first, last):
        pull = visits[v].area
        for k in range(visits[v].part, visits[v].part + visits[v].count):
            part = parts[k]
            share = pull * (part.t - part.s)
            moments[part.entry, 0] += share
            moments[part.entry, 1] += share * 0.5 * (part.s + part.t)


@entry
def paint(pieces, cells, kept, colours, background, evenodd, image, size, turn):
    """The forward pass: trace edges and composite, job by job, as long as any is left.

    Args:
        pieces: all edges.
        cells: filled in.
        kept: filled in.
        colours: (B, P, 4) straight RGBA, float64.
        background: (B, 3) RGB, float64.
        evenodd: (P,) which paths' rule is even-odd.
        image: (B * 3 * H * W,), written.
        size: height and width.
        turn: (2,) int64: the next job that no thread has taken, and how many are done.
    """
    height, width = size
    bands, plane, stride = (height + BAND - 1) // BAND, height * width, width + 2 * BLOCK
    entries, visits, parts, paths = cells.entries, cells.visits, cells.parts, len(evenodd)
    keys, strips = cells.keys, kept.strips
    row, covers = np.zeros(3 * stride, image.dtype), np.empty(stride, image.dtype)  # the tape takes its margins, too
    for _ in range(len(cells.firsts) - 1):
        job = add_at_once(turn, 0, 1)
        if job >= len(cells.firsts) - 1:
            break
        scene, top = job // bands, job % bands * BAND
        bottom, base, at = min(top + BAND, height), scene * height, cells.firsts[job]
        span, rows = (cells.entry_firsts[job], cells.entry_firsts[job + 1]), cells.rows[base + top : base + bottom]
        stop = trace_job(pieces, entries, span, scene * paths, visits, parts, at, rows, top, bottom, width)
        sort_job(visits, at, stop, keys, rows, top)
        kept.visits[job] = stop
        tape, used = kept.tapes[job], np.int64(0)
        key, end = at, 2 * at
        for y in range(top, bottom):
            begin, last = end, rows[y - top]
            end, lacking = find_strips(visits, at, keys, key, last, evenodd, width, strips, begin)
            if lacking:
                fill_lacking(pieces, entries, visits, parts, keys, at, evenodd, y, strips, begin, end)
            key = last
            kept.rows[base + y, 0], kept.rows[base + y, 1] = begin, end
            for k in range(3):
                _fill(row, k * stride, (width + BLOCK - 1) // BLOCK, background[scene, k])
            fits = len(tape) > 0 and used + _count_blocks(strips, begin, end) * 3 * BLOCK <= len(tape)
            after = _paint_strips(
                strips, begin, end, colours[scene], row, stride, covers, tape, used if fits else np.int64(-1)
            )
            kept.taped[base + y] = after if fits else -1
            used = after if fits else used
            for k in range(3):
                _move(row, k * stride, image, (3 * scene + k) * plane + y * width, width)
        add_at_once(turn, 1, 1)


@entry
def pull(pieces, cells, kept, colours, background, evenodd, image, size, turn, pulls):
    """The backward pass over the jobs that are left: `image` is the upstream gradient, `pulls` grows."""
    height, width = size
    bands, plane, stride = (height + BAND - 1) // BAND, height * width, width + 2 * BLOCK
    kind, strips, moments, visits = image.dtype.type, kept.strips, pulls.moments, cells.visits
    row, grad = np.zeros(3 * stride, image.dtype), np.zeros(3 * stride, image.dtype)
    covers, changes, spare = np.empty(stride, image.dtype), np.empty(stride, image.dtype), np.empty(0, image.dtype)
    for _ in range(len(cells.firsts) - 1):
        job = add_at_once(turn, 0, 1)
        if job >= len(cells.firsts) - 1:
            break
        scene, top = job // bands, job % bands * BAND
        base, out, paints = scene * height, pulls.colours[job], colours[scene]
        for y in range(top, min(top + BAND, height)):
            begin, end = kept.rows[base + y]
            for k in range(3):
                _move(image, (3 * scene + k) * plane + y * width, grad, k * stride, width)
            tape, at = kept.tapes[job], kept.taped[base + y]
            if at < 0:
                room = _count_blocks(strips, begin, end) * 3 * BLOCK
                if room > len(spare):
                    spare = np.empty(2 * room, image.dtype)
                tape = spare
                for k in range(3):
                    _fill(row, k * stride, (width + BLOCK - 1) // BLOCK, background[scene, k])
                at = _paint_strips(strips, begin, end, paints, row, stride, covers, tape, np.int64(0))
            while end > begin:
                path, last = strips[end - 1].path, end
                while end > begin and strips[end - 1].path == path:
                    end -= 1
                start, (_, blocks) = strips[end].start, _cover(strips, end, last, covers)
                at -= 3 * BLOCK * blocks
                red, green, blue, opacity = paints[path]
                x, z, u, w = _pull_blend(
                    grad, start, stride, blocks, covers, tape, at, kind(opacity), kind(red), kind(green), kind(blue),
                    changes,
                )  # fmt: skip
                out[path, 0] += opacity * x
                out[path, 1] += opacity * z
                out[path, 2] += opacity * u
                out[path, 3] += w
                if len(moments) and _pull_strips(visits, strips, end, last, opacity, changes):
                    _pull_several(
                        pieces, cells.entries, visits, cells.parts, cells.keys, cells.firsts[job], strips, end, last, y,
                        evenodd[path], opacity, changes, moments,
                    )  # fmt: skip
            for k in range(3):
                pulls.background[job, k] += _sum(grad, k * stride, width)
        if len(moments):
            _add_moments(visits, cells.parts, cells.firsts[job], kept.visits[job], moments)
        add_at_once(turn, 1, 1)


@inner
def _count_blocks(strips, first, last):
    """Blocks of all paths of a row together."""
    blocks = 0
    while first < last:
        start, path, stop = strips[first].start, strips[first].path, 0
        while first < last and strips[first].path == path:
            stop = strips[first].stop
            first += 1
        blocks += (stop - start + BLOCK - 1) // BLOCK
    return blocks
