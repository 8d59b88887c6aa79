"""The compiled rasterizer as a PyTorch function: arrays, threads, gradients. The kernels are in modules beside it."""

import math
import os
from collections.abc import Callable
from functools import lru_cache
from queue import SimpleQueue
from threading import Thread
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from runtime.errors import UserError
from runtime.vector.paths import Drawing, Kind, Layout
from runtime.vector.raster_cells import BAND, PART, VISIT, Cells, count_entries, fill_entries
from runtime.vector.raster_jit import wait_for
from runtime.vector.raster_outline import (
    PIECE,
    Structure,
    add_loops,
    count_pieces,
    flatten,
    pull_corners,
    pull_vertices,
)
from runtime.vector.raster_spans import STRIP
from runtime.vector.raster_sweep import Pulls, Strips, paint, pull
from runtime.vector.raster_torch import STROKE_TOLERANCE, TOLERANCE, count_corners, unit_pen

POLLS = 2000
"""How often the calling thread looks whether the others are done before it sleeps: some 20 microseconds."""


def _segments(kind: Kind, base: int, contours: tuple[int, ...]) -> list[np.ndarray]:
    """For each contour of a path (S, 4, 2), see `Structure.corners`."""
    if kind is Kind.RECTANGLE:
        sides = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) + base
        return [np.repeat(sides[:, None], 4, axis=1)]
    arrays = []
    for count in contours:
        rows = 3 * np.arange(count)[:, None] + np.arange(4)
        rows = np.vstack((rows, np.full((1, 4), 3 * count))) if kind is Kind.STROKE else rows % (3 * count)
        arrays.append(np.stack((rows, rows), -1) + base)
        base += 3 * count
    return arrays


class Plan(NamedTuple):
    """What the kernels need to know of a layout."""

    structure: Structure
    evenodd: np.ndarray
    """(P,) int64: which paths are even-odd."""
    strokes: np.ndarray
    """(P,) bool: which paths are strokes."""
    ends: np.ndarray
    """(P + 1,) first segment of each path."""


def make_plan(layout: Layout) -> Plan:
    """The layout's plan, made once."""
    if "raster" not in layout.memo:
        lists = [_segments(*path) for path in zip(layout.kinds, layout.offsets, layout.contours, strict=False)]
        arrays = [array for segments in lists for array in segments]
        paths, contours = np.cumsum([0, *map(len, lists)]), np.cumsum([0, *map(len, arrays)])
        corners = np.concatenate(arrays) if arrays else np.zeros((0, 4, 2))
        kinds = np.array([int(kind) for kind in layout.kinds], np.int64)
        structure = Structure(kinds, *(np.ascontiguousarray(array, np.int64) for array in (paths, contours, corners)))
        plan = Plan(structure, (kinds == Kind.EVENODD).astype(np.int64), kinds == Kind.STROKE, contours[paths])
        layout.memo["raster"] = plan
    return layout.memo["raster"]


class Outline(NamedTuple):
    """The edges of all paths of all scenes, and how they follow from the points."""

    structure: Structure
    scale: tuple[float, float]
    firsts: np.ndarray
    """(B * S + 1,) first vertex of each segment."""
    vertices: np.ndarray
    """(V, 2)."""
    pens: np.ndarray
    """(U, 2) corners of all strokes' pens."""
    ranges: np.ndarray
    """(B * P, 2) pieces of each path."""
    pieces: np.ndarray
    """(E,) PIECE."""


def build_outline(plan: Plan, points: np.ndarray, widths: np.ndarray, scale: tuple[float, float]) -> Outline:
    """The edges of B scenes in a picture `scale` times the canvas: points (B, N, 2), widths (B, P) in canvas pixels."""
    structure, _, strokes, ends = plan
    batch, segments = len(points), len(structure.corners)
    firsts = np.empty(batch * segments + 1, np.int64)
    count_pieces(structure.corners, points, TOLERANCE / max(scale), firsts)
    vertices = np.empty((firsts[-1], 2))
    flatten(structure.corners, points, firsts, scale, vertices)
    bounds = firsts[segments * np.arange(batch)[:, None] + ends]
    ranges = np.stack((bounds[:, :-1], bounds[:, 1:]), -1).reshape(-1, 2)
    if not plan.strokes.any():
        pieces = np.empty(len(vertices), PIECE)
        add_loops(structure, firsts, vertices, ranges, pieces)
        return Outline(structure, scale, firsts, vertices, np.empty((0, 2)), ranges, pieces)
    pens, starts = _make_pens(np.where(strokes, widths / 2, -1.0).reshape(-1), scale)
    rooms, working = ranges[:, 1] - ranges[:, 0], np.empty((2, len(vertices) + 1), np.int64)
    _measure(structure, firsts, vertices, starts, scale, *working, rooms)
    ranges[:, 1] = np.cumsum(rooms)
    ranges[:, 0] = ranges[:, 1] - rooms
    pieces = np.empty(ranges[-1, 1], PIECE)
    add_loops(structure, firsts, vertices, ranges, pieces)
    radii = np.maximum(widths.reshape(-1) / 2, 0)
    _add(structure, firsts, vertices, starts, pens, radii, scale, *working, ranges, pieces)
    return Outline(structure, scale, firsts, vertices, pens, ranges, pieces)


def _measure(*args) -> None:
    from runtime.vector.raster_stroke import measure_strokes

    measure_strokes(*args)


def _add(*args) -> None:
    from runtime.vector.raster_stroke import add_strokes

    add_strokes(*args)


def _make_pens(radii: np.ndarray, scale: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """(U, 2) corners of unit pens for all radii that are not negative, and (B * P + 1,) the first of each radius."""
    counts = [count_corners(radius, STROKE_TOLERANCE / max(scale)) if radius >= 0 else 0 for radius in radii.tolist()]
    pens = [unit_pen(count) for count in counts if count]
    return np.concatenate(pens) * scale, np.cumsum([0, *counts])


def _make_cells(outline: Outline, batch: int, paths: int, size: tuple[int, int]) -> Cells:
    """Empty cells with room for all visits."""
    height, width = size
    jobs = batch * math.ceil(height / BAND)
    entry_firsts, firsts = np.zeros(jobs + 1, np.int64), np.zeros(jobs + 1, np.int64)
    count_entries(outline.pieces, outline.ranges, paths, height, width, entry_firsts, firsts)
    entries = np.empty(entry_firsts[-1], np.int32)
    fill_entries(outline.pieces, outline.ranges, paths, jobs // max(batch, 1), entry_firsts.copy(), entries)
    room = firsts[-1]
    visits, keys, parts = np.empty(room, VISIT), np.empty(room, np.int64), np.empty(room, PART)
    return Cells(entries, entry_firsts, firsts, np.zeros(batch * height, np.int64), visits, keys, parts)


@lru_cache(maxsize=1)
def _helpers() -> tuple[list[Thread], SimpleQueue]:
    """Helper threads, started as they are needed, and the queue of their work: much cheaper a call than an executor."""
    return [], SimpleQueue()


os.register_at_fork(after_in_child=_helpers.cache_clear)


def _help(work: SimpleQueue) -> None:
    while True:
        kernel, args, done = work.get()
        try:
            kernel(*args)
            done.put(None)
        except BaseException as error:  # handed to the caller, who raises it
            done.put(error)
        del kernel, args, done  # else a picture's arrays would live until the next one


def _share(kernel: Callable, jobs: int, *args) -> None:
    """Call a kernel on as many threads as PyTorch uses, this one among them; each takes jobs while any is left."""
    threads, turn = max(1, min(torch.get_num_threads(), jobs)), np.zeros(2, np.int64)
    args = *args[:8], turn, *args[8:]
    if threads > 1:
        (helpers, work), done = _helpers(), SimpleQueue()
        while len(helpers) < threads - 1:
            helpers.append(Thread(target=_help, args=(work,), name="raster", daemon=True))
            helpers[-1].start()
        for _ in range(1, threads):
            work.put((kernel, args, done))
    kernel(*args)
    if threads > 1 and not wait_for(turn, 1, jobs, POLLS):
        errors = [done.get() for _ in range(1, threads)]
        for error in filter(None, errors):
            raise error


def _double(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().numpy(), np.float64)


class _Rasterize(torch.autograd.Function):
    """(B, 3, H, W) picture of points, colours, widths, background."""

    @staticmethod
    def forward(ctx, points, colours, widths, background, layout, canvas, size):
        plan = make_plan(layout)
        places, sizes, batch, paths = _double(points), _double(widths), len(points), layout.num_paths
        if not (np.isfinite(places).all() and np.isfinite(sizes).all()):
            raise UserError("drawing: points or widths are not finite numbers; check the loss and the learning rates")
        outline = build_outline(plan, places, sizes, (size[1] / canvas[1], size[0] / canvas[0]))
        cells = _make_cells(outline, batch, paths, size)
        jobs = len(cells.firsts) - 1
        rows, visits = np.empty((batch * size[0], 2), np.int64), np.empty(jobs, np.int64)
        strips = Strips(np.empty(2 * len(cells.visits), STRIP), rows, visits)
        image = torch.empty(batch, 3, *size, dtype=points.dtype)
        kept = outline.pieces, cells, strips, _double(colours), _double(background), plan.evenodd
        _share(paint, jobs, *kept, image.view(-1).numpy(), size)
        ctx.kept, ctx.outline, ctx.size = kept, outline, size
        ctx.shapes = points.shape, widths.shape, points.dtype
        return image

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream):
        outline, cells = ctx.outline, ctx.kept[1]
        points_shape, widths_shape, dtype = ctx.shapes
        batch, paths = widths_shape
        jobs = len(cells.firsts) - 1
        geometry = ctx.needs_input_grad[0] or ctx.needs_input_grad[2]
        moments = np.zeros((len(cells.entries) if geometry else 0, 2))
        pulls = Pulls(np.zeros((jobs, paths, 4)), np.zeros((jobs, 3)), moments)
        _share(pull, jobs, *ctx.kept, upstream.to(dtype).contiguous().view(-1).numpy(), ctx.size, pulls)
        points, radii, vertices = np.zeros(points_shape), np.zeros(batch * paths), np.zeros(outline.vertices.shape)
        if geometry:
            pull_vertices(outline.pieces, outline.pens, cells.entries, moments, vertices, radii)
            pull_corners(outline.structure.corners, outline.firsts, vertices, outline.scale, points)
        bands = math.ceil(ctx.size[0] / BAND)
        colours = pulls.colours.reshape(batch, bands, paths, 4).sum(1)
        background = pulls.background.reshape(batch, bands, 3).sum(1)
        grads = points, colours, radii.reshape(widths_shape) / 2, background
        return *(torch.from_numpy(grad).to(dtype) for grad in grads), None, None, None


def rasterize_numba(drawing: Drawing, size: tuple[int, int]) -> Tensor:
    """(B, 3, H, W) of the points' dtype; see `runtime.vector.raster.rasterize`."""
    return _Rasterize.apply(*drawing.tensors.values(), drawing.layout, drawing.size, size)
