"""Compiled: all that comes before the bands, and all that comes after them, as one call each.

A picture of a small drawing takes a millisecond, of which each call from Python and each array made there takes some
microseconds.
"""

import numpy as np

from runtime.vector.raster.kernels.cells import BAND, count_entries, fill_entries
from runtime.vector.raster.kernels.jit import entry, inner
from runtime.vector.raster.kernels.outline import add_loops, count_pieces, flatten, pull_corners, pull_vertices


@inner
def _all_finite(values):
    """Whether a contiguous array has finite numbers alone."""
    flat, total = values.reshape(values.size), 0.0
    for i in range(len(flat)):
        total += flat[i] - flat[i]  # 0, or not a number
    return total == 0.0


@entry
def trace_outline(structure, ends, points, widths, tolerance, scale):
    """The vertices of all paths.

    Args:
        structure: the layout.
        ends: (P + 1,) first segment of each path.
        points: (B, N, 2) in canvas pixels.
        widths: (B, P) in canvas pixels.
        tolerance: largest distance between curve and chord in canvas pixels.
        scale: x and y, of the picture to the canvas.

    Returns: whether all numbers are finite; (B * S + 1,) first vertex of each segment; (V, 2) vertices; (B * P, 2)
    first vertex of each path, and the one after its last. Without vertices where a number isn't finite.
    """
    batch, segments, paths = len(points), len(structure.corners), len(structure.kinds)
    firsts, ranges = np.zeros(batch * segments + 1, np.int64), np.zeros((batch * paths, 2), np.int64)
    finite = _all_finite(points) and _all_finite(widths)
    if finite:
        count_pieces(structure.corners, points, tolerance, firsts)
    vertices = np.empty((firsts[-1], 2))
    if finite:
        flatten(structure.corners, points, firsts, scale, vertices)
    for path in range(batch * paths):
        base, p = path // paths * segments, path % paths
        ranges[path, 0], ranges[path, 1] = firsts[base + ends[p]], firsts[base + ends[p + 1]]
    return finite, firsts, vertices, ranges


@entry
def enter_bands(pieces, ranges, batch, size):
    """Which edges touch which band: `entries`, `entry_firsts`, `firsts` of `cells.Cells`.

    Args:
        pieces: all edges; each is told the bands that it touches.
        ranges: (B * P, 2) first piece of each path, and the one after its last.
        batch: B.
        size: height and width of the picture.
    """
    bands = (size[0] + BAND - 1) // BAND
    jobs, paths = batch * bands, len(ranges) // max(batch, 1)
    entry_firsts, firsts = np.zeros(jobs + 1, np.int64), np.zeros(jobs + 1, np.int64)
    count_entries(pieces, ranges, paths, size[0], size[1], entry_firsts, firsts)
    entries = np.empty(entry_firsts[-1], np.int32)
    fill_entries(pieces, ranges, paths, bands, entry_firsts.copy(), entries)
    return entries, entry_firsts, firsts


@entry
def build_fills(structure, ends, points, widths, tolerance, scale, size, none):
    """`trace_outline`, `outline.add_loops` and `enter_bands` of a layout without strokes; `none`: no pieces."""
    finite, firsts, vertices, ranges = trace_outline(structure, ends, points, widths, tolerance, scale)
    pieces = np.empty(len(vertices), none.dtype)
    add_loops(structure, firsts, vertices, ranges, pieces)
    return finite, firsts, vertices, ranges, pieces, enter_bands(pieces, ranges, len(points), size)


@inner
def _sum_bands(parts, bands, sums):
    """Add up (B * bands, ...) parts of bands, in order, and write them to (B, ...) sums; both two-dimensional."""
    for scene in range(len(sums)):
        for k in range(sums.shape[1]):
            total = 0.0
            for band in range(scene * bands, (scene + 1) * bands):
                total += parts[band, k]
            sums[scene, k] = total


@entry
def gather_gradients(structure, firsts, count, pieces, pens, entries, pulls, scale, points, radii, colours, background):
    """Write what the bands pulled at as gradients of the drawing.

    Args:
        structure: the layout.
        firsts: (B * S + 1,) first vertex of each segment.
        count: V.
        pieces: all edges.
        pens: (U, 2) corners of all strokes' pens.
        entries: the piece of each entry.
        pulls: what the bands gathered; without moments, points and radii are 0.
        scale: x and y, of the picture to the canvas.
        points: (B, N, 2), written.
        radii: (B * P,), written.
        colours: (B, 4 P), written.
        background: (B, 3), written.
    """
    moved, grown, vertices = np.zeros(points.shape), np.zeros(len(radii)), np.zeros((count, 2))
    if len(pulls.moments):
        pull_vertices(pieces, pens, entries, pulls.moments, vertices, grown)
        pull_corners(structure.corners, firsts, vertices, scale, moved)
    points[:], radii[:] = moved, grown
    bands = len(pulls.background) // max(len(background), 1)
    _sum_bands(pulls.colours.reshape(len(pulls.colours), colours.shape[1]), bands, colours)
    _sum_bands(pulls.background, bands, background)
