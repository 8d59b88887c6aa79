"""The compiled rasterizer as a PyTorch function: arrays, threads, gradients. The kernels are in modules beside it."""

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
from runtime.vector.raster.kernels.build import build_fills, enter_bands, gather_gradients, trace_outline
from runtime.vector.raster.kernels.cells import PART, VISIT, Cells
from runtime.vector.raster.kernels.composite import Pulls, Strips, paint, pull
from runtime.vector.raster.kernels.jit import wait_for
from runtime.vector.raster.kernels.outline import PIECE, Structure, add_loops
from runtime.vector.raster.kernels.spans import STRIP
from runtime.vector.raster.reference import STROKE_TOLERANCE, TOLERANCE, count_corners, unit_pen

TAPE = 1 << 19
"""Numbers that a forward pass leaves to the backward pass at most, beside edges: what fits a core's cache is faster
read than painted again."""

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
    any_strokes: bool
    """Whether there are any."""
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
        strokes = kinds == Kind.STROKE
        rules = (kinds == Kind.EVENODD).astype(np.int64)
        plan = Plan(structure, rules, strokes, bool(strokes.any()), contours[paths])
        layout.memo["raster"] = plan
    return layout.memo["raster"]


class Outline(NamedTuple):
    """The edges of all paths of all scenes, and how they follow from the points."""

    firsts: np.ndarray
    """(B * S + 1,) first vertex of each segment."""
    vertices: int
    """How many there are."""
    pens: np.ndarray
    """(U, 2) corners of all strokes' pens."""
    pieces: np.ndarray
    """(E,) PIECE."""
    bands: tuple[np.ndarray, np.ndarray, np.ndarray]
    """What `build.enter_bands` gives."""


NO_PIECES, NO_PENS = np.empty(0, PIECE), np.empty((0, 2))


def build_outline(
    plan: Plan, points: np.ndarray, widths: np.ndarray, scale: tuple[float, float], size: tuple[int, int]
) -> Outline:
    """The edges of B scenes in a picture `scale` times the canvas: points (B, N, 2), widths (B, P) in canvas pixels.

    Errors: `UserError` for points or widths that are not finite.
    """
    structure, given = plan.structure, (plan.structure, plan.ends, points, widths, TOLERANCE / max(scale), scale)
    if plan.any_strokes:
        finite, firsts, vertices, ranges = trace_outline(*given)
    else:
        finite, firsts, vertices, ranges, pieces, bands = build_fills(*given, size, NO_PIECES)
    if not finite:
        raise UserError("drawing: points or widths are not finite numbers; check the loss and the learning rates")
    if not plan.any_strokes:
        return Outline(firsts, len(vertices), NO_PENS, pieces, bands)
    pens, starts = _make_pens(np.where(plan.strokes, widths / 2, -1.0).reshape(-1), scale)
    rooms, working = ranges[:, 1] - ranges[:, 0], np.empty((2, len(vertices) + 1), np.int64)
    _measure(structure, firsts, vertices, starts, scale, *working, rooms)
    ranges[:, 1] = np.cumsum(rooms)
    ranges[:, 0] = ranges[:, 1] - rooms
    pieces = np.empty(ranges[-1, 1], PIECE)
    add_loops(structure, firsts, vertices, ranges, pieces)
    radii = np.maximum(widths.reshape(-1) / 2, 0)
    _add(structure, firsts, vertices, starts, pens, radii, scale, *working, ranges, pieces)
    bands = enter_bands(pieces, ranges, len(points), size)
    return Outline(firsts, len(vertices), pens, pieces, bands)


def _measure(*args) -> None:
    from runtime.vector.raster.kernels.stroke import measure_strokes

    measure_strokes(*args)


def _add(*args) -> None:
    from runtime.vector.raster.kernels.stroke import add_strokes

    add_strokes(*args)


def _make_pens(radii: np.ndarray, scale: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """(U, 2) corners of unit pens for all radii that are not negative, and (B * P + 1,) the first of each radius."""
    counts = [count_corners(radius, STROKE_TOLERANCE / max(scale)) if radius >= 0 else 0 for radius in radii.tolist()]
    pens = [unit_pen(count) for count in counts if count]
    return np.concatenate(pens) * scale, np.cumsum([0, *counts])


def _make_room(outline: Outline, rows: int, dtype: torch.dtype, *, taped: bool) -> tuple[Cells, Strips]:
    """Empty cells and strips for `rows` pixel rows of all scenes, with tapes if a gradient is wanted."""
    room, jobs = outline.bands[2][-1], len(outline.bands[2]) - 1
    visits, keys, parts = np.empty(room, VISIT), np.empty(room, np.int64), np.empty(room, PART)
    cells = Cells(*outline.bands, np.zeros(rows, np.int64), visits, keys, parts)
    tapes = np.empty(
        (jobs, TAPE // jobs if taped and jobs else 0), np.float32 if dtype == torch.float32 else np.float64
    )
    taken = np.empty((rows, 2), np.int64), np.empty(jobs, np.int64), tapes, np.empty(rows, np.int64)
    return cells, Strips(np.empty(2 * room, STRIP), *taken)


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
        scale = size[1] / canvas[1], size[0] / canvas[0]
        outline = build_outline(plan, _double(points), _double(widths), scale, size)
        taped = any(ctx.needs_input_grad)
        cells, strips = _make_room(outline, len(points) * size[0], points.dtype, taped=taped)
        image = torch.empty(len(points), 3, *size, dtype=points.dtype)
        kept = outline.pieces, cells, strips, _double(colours), _double(background), plan.evenodd
        _share(paint, len(strips.visits), *kept, image.view(-1).numpy(), size)
        ctx.kept, ctx.outline, ctx.structure, ctx.scale, ctx.size = kept, outline, plan.structure, scale, size
        ctx.shapes = points.shape, colours.shape, widths.shape, background.shape
        return image

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream):
        outline, cells = ctx.outline, ctx.kept[1]
        jobs, paths = len(cells.firsts) - 1, ctx.shapes[1][1]
        geometry = ctx.needs_input_grad[0] or ctx.needs_input_grad[2]
        moments = np.zeros((len(cells.entries) if geometry else 0, 2))
        pulls = Pulls(np.zeros((jobs, paths, 4)), np.zeros((jobs, 3)), moments)
        _share(pull, jobs, *ctx.kept, upstream.contiguous().view(-1).numpy(), ctx.size, pulls)
        points, colours, widths, background = grads = [torch.empty(shape, dtype=upstream.dtype) for shape in ctx.shapes]
        gather_gradients(
            ctx.structure, outline.firsts, outline.vertices, outline.pieces, outline.pens, cells.entries, pulls,
            ctx.scale, points.numpy(), widths.view(-1).numpy(), colours.flatten(1).numpy(), background.numpy(),
        )  # fmt: skip
        widths *= 0.5
        return *grads, None, None, None


def rasterize_numba(drawing: Drawing, size: tuple[int, int]) -> Tensor:
    """(B, 3, H, W) of the points' dtype; see `runtime.vector.raster.rasterize`."""
    return _Rasterize.apply(*drawing.tensors.values(), drawing.layout, drawing.size, size)
