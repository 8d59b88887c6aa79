"""Compiled: all that comes before the bands, and all that comes after them, as one call each.

A picture of a small drawing takes a millisecond, of which each call from Python and each array made there takes some
microseconds. All of this runs on the thread that calls, before and after the shared passes.
"""

from typing import NamedTuple

import numpy as np

from runtime.kernels.jit import entry, inner
from runtime.vector.raster.kernels.arrays import all_finite
from runtime.vector.raster.kernels.cells import BAND, count_entries, fill_entries
from runtime.vector.raster.kernels.outline import close_loops, count_edges, edges_backward, flatten, flatten_backward


class DrawingGrads(NamedTuple):
    """Gradients of a drawing's tensors, in its dtype."""

    points: np.ndarray
    """(B, N, 2)."""
    radii: np.ndarray
    """(B * P,) by half the widths."""
    colours: np.ndarray
    """(B, 4 P)."""
    background: np.ndarray
    """(B, 3)."""


@entry
def flatten_paths(structure, points, widths, view):
    """The vertices of all paths.

    Twin: `reference.build.flatten_paths`.

    Args:
        structure: the layout.
        points: (B, N, 2) in canvas pixels.
        widths: (B, P) in canvas pixels.
        view: how the canvas becomes a picture.

    Returns: whether all numbers are finite; (B * S + 1,) first vertex of each segment; (V, 2) vertices; (B * P, 2)
    first vertex of each path, and the one after its last. Without vertices where a number isn't finite.
    """
    batch = len(points)
    segments = len(structure.controls)
    paths = len(structure.kinds)
    firsts = np.zeros(batch * segments + 1, np.int64)
    ranges = np.zeros((batch * paths, 2), np.int64)
    finite = all_finite(points) and all_finite(widths)
    # NaN has no number of edges, so nothing is counted: all firsts stay 0, and so do the ranges.
    if finite:
        count_edges(structure.controls, points, view.tolerance, firsts)
    vertices = np.empty((firsts[-1], 2))
    if finite:
        flatten(structure.controls, points, firsts, view.scale, vertices)
    for path in range(batch * paths):
        base = path // paths * segments
        p = path % paths
        ranges[path, 0] = firsts[base + structure.contours[structure.paths[p]]]
        ranges[path, 1] = firsts[base + structure.contours[structure.paths[p + 1]]]
    return finite, firsts, vertices, ranges


@entry
def enter_bands(edges, ranges, batch, size):
    """Which edges touch which band: `entries`, `entry_firsts`, `firsts` of `cells.Bands`.

    Twin: `reference.build.enter_bands`.

    Args:
        edges: all edges; the bands that each touches are written to it.
        ranges: (B * P, 2) first edge of each path, and the one after its last.
        batch: B.
        size: height and width of the picture.
    """
    per_scene = (size[0] + BAND - 1) // BAND
    jobs = batch * per_scene
    paths = len(ranges) // max(batch, 1)
    entry_firsts = np.zeros(jobs + 1, np.int64)
    firsts = np.zeros(jobs + 1, np.int64)
    count_entries(edges, ranges, paths, size, entry_firsts, firsts)
    entries = np.empty(entry_firsts[-1], np.int32)
    # A copy, because each band's place moves on as it is filled, and the firsts are needed later.
    fill_entries(edges, ranges, paths, per_scene, entry_firsts.copy(), entries)
    return entries, entry_firsts, firsts


@entry
def build_fills(structure, points, widths, view):
    """`flatten_paths`, `outline.close_loops` and `enter_bands` of a layout without strokes.

    Twin: `reference.build.build_fills`.

    Returns: whether all numbers are finite; (B * S + 1,) first vertex of each segment; edges; what `enter_bands` gives.
    """
    finite, firsts, vertices, ranges = flatten_paths(structure, points, widths, view)
    edges = np.empty(len(vertices), structure.no_edges.dtype)
    close_loops(structure, firsts, vertices, ranges, edges)
    return finite, firsts, edges, enter_bands(edges, ranges, len(points), view.size)


@inner
def sum_bands(parts, per_scene, sums):
    """Add up (B * per_scene, K) parts of bands, in order, and write them to (B, K) sums.

    Twin: `reference.build.sum_bands`.
    """
    for scene in range(len(sums)):
        for k in range(sums.shape[1]):
            # In the order of bands, not in that in which threads finish: a sum of floats depends on its order.
            total = 0.0
            for band in range(scene * per_scene, (scene + 1) * per_scene):
                total += parts[band, k]
            sums[scene, k] = total


@entry
def gather_gradients(structure, outline, entries, grads, scale, out):
    """Write what the bands have gathered as gradients of the drawing.

    Twin: `reference.build.gather_gradients`.

    Args:
        structure: the layout.
        outline: all edges.
        entries: the edge of each entry.
        grads: what the bands gathered; without moments, gradients of points and radii are 0.
        scale: x and y, of the picture to the canvas.
        out: `DrawingGrads`, written.
    """
    # Summed in float64 and rounded once: many edges add to each point.
    points = np.zeros(out.points.shape)
    radii = np.zeros(len(out.radii))
    if len(grads.moments):
        vertices = np.zeros((outline.firsts[-1], 2))
        edges_backward(outline, entries, grads.moments, vertices, radii)
        flatten_backward(structure.controls, outline.firsts, vertices, scale, points)
    out.points[:] = points
    out.radii[:] = radii
    per_scene = len(grads.background) // max(len(out.background), 1)
    sum_bands(grads.colours.reshape(len(grads.colours), out.colours.shape[1]), per_scene, out.colours)
    sum_bands(grads.background, per_scene, out.background)
