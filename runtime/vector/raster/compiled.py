"""The compiled rasterizer as a PyTorch function: arrays, threads, gradients. The kernels are in `kernels`."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from runtime.errors import UserError
from runtime.kernels.threads import share_jobs
from runtime.vector.paths import Drawing, Kind, Layout
from runtime.vector.raster.checks import NOT_FINITE, check_widths
from runtime.vector.raster.kernels.backward import Grads, backward
from runtime.vector.raster.kernels.build import DrawingGrads, build_fills, enter_bands, flatten_paths, gather_gradients
from runtime.vector.raster.kernels.cells import CELL, PART, Bands
from runtime.vector.raster.kernels.forward import Paths, Saved, forward
from runtime.vector.raster.kernels.limits import STROKE_TOLERANCE, TOLERANCE
from runtime.vector.raster.kernels.outline import EDGE, Outline, Structure, View, close_loops
from runtime.vector.raster.kernels.spans import SPAN
from runtime.vector.raster.reference.stroke import count_corners, unit_pen

TAPE = 1 << 19
"""Numbers that a forward pass leaves to the backward pass at most, beside edges: what fits a core's cache is faster
read than composited again."""


def _segments(kind: Kind, base: int, contours: tuple[int, ...]) -> list[np.ndarray]:
    """For each contour of a path (S, 4, 2), see `Structure.controls`."""
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
    """What is derived from a layout."""

    structure: Structure
    evenodd: np.ndarray
    """(P,) int64: which paths are even-odd."""
    strokes: np.ndarray
    """(P,) bool: which paths are strokes."""
    any_strokes: bool
    """Whether there are any."""


def make_plan(layout: Layout) -> Plan:
    """The layout's plan, made once."""
    if "raster" not in layout.memo:
        lists = [_segments(*path) for path in zip(layout.kinds, layout.offsets, layout.contours, strict=False)]
        arrays = [array for segments in lists for array in segments]
        kinds = np.array([int(kind) for kind in layout.kinds], np.int64)
        paths = np.cumsum([0, *map(len, lists)], dtype=np.int64)
        contours = np.cumsum([0, *map(len, arrays)], dtype=np.int64)
        controls = np.concatenate(arrays) if arrays else np.zeros((0, 4, 2))
        controls = np.ascontiguousarray(controls, np.int64)
        structure = Structure(kinds, paths, contours, controls, np.empty(0, EDGE))
        strokes = kinds == Kind.STROKE
        layout.memo["raster"] = Plan(structure, (kinds == Kind.EVENODD).astype(np.int64), strokes, bool(strokes.any()))
    return layout.memo["raster"]


NO_PENS = np.empty((0, 2))

Entered = tuple[np.ndarray, np.ndarray, np.ndarray]
"""What `build.enter_bands` gives."""


def build_outline(plan: Plan, points: np.ndarray, widths: np.ndarray, view: View) -> tuple[Outline, Entered]:
    """The edges of B scenes in a picture, and which band each touches.

    Args:
        plan: of the layout.
        points: (B, N, 2) in canvas pixels.
        widths: (B, P) in canvas pixels.
        view: how the canvas becomes the picture.

    Errors: `UserError` for points or widths that are not finite, and for strokes of a negative width.
    """
    if plan.any_strokes:
        return _build_strokes(plan, points, widths, view)
    finite, firsts, edges, entered = build_fills(plan.structure, points, widths, view)
    if not finite:
        raise UserError(NOT_FINITE)
    return Outline(firsts, NO_PENS, edges), entered


def _build_strokes(plan: Plan, points: np.ndarray, widths: np.ndarray, view: View) -> tuple[Outline, Entered]:
    # Imported here, so that a drawing of fills alone need not wait for these kernels.
    from runtime.vector.raster.kernels.stroke import Pens, Polylines, build_strokes

    finite, firsts, vertices, ranges = flatten_paths(plan.structure, points, widths, view)
    if not finite:
        raise UserError(NOT_FINITE)
    check_widths(widths, plan.strokes)
    # -1 marks what has no pen, since a stroke may have a width of 0.
    radii = np.where(plan.strokes, widths / 2, -1.0).reshape(-1)
    corners, pen_firsts = _make_pens(radii, view.scale)
    pens = Pens(pen_firsts, corners, radii)
    polylines = Polylines(firsts, vertices, view.scale)
    edges = build_strokes(plan.structure, polylines, pens, ranges)
    close_loops(plan.structure, firsts, vertices, ranges, edges)
    return Outline(firsts, corners, edges), enter_bands(edges, ranges, len(points), view.size)


def _make_pens(radii: np.ndarray, scale: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Corners of unit pens for all radii that are not negative, and the first corner of each radius: see `Pens`."""
    counts = [count_corners(radius, STROKE_TOLERANCE / max(scale)) if radius >= 0 else 0 for radius in radii.tolist()]
    pens = [unit_pen(count) for count in counts if count]
    return np.concatenate(pens) * scale, np.cumsum([0, *counts])


def _make_room(entered: Entered, rows: int, dtype: torch.dtype, *, taped: bool) -> tuple[Bands, Saved]:
    """Room for `rows` pixel rows of all scenes, with tapes if a gradient is wanted."""
    room = entered[2][-1]
    jobs = len(entered[2]) - 1
    keys = np.empty(room, np.int64)
    bands = Bands(*entered, np.zeros(rows, np.int64), np.empty(room, CELL), keys, np.empty(room, PART))
    # Equal shares, fixed before the threads begin: which rows are taped does not depend on who is first.
    length = TAPE // jobs if taped and jobs else 0
    tapes = np.empty((jobs, length), np.float32 if dtype == torch.float32 else np.float64)
    # A cell gives at most two spans: its pixel and the run after it.
    spans = np.empty(2 * room, SPAN)
    return bands, Saved(spans, np.empty((rows, 2), np.int64), np.empty(jobs, np.int64), tapes, np.empty(rows, np.int64))


def _double(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().numpy(), np.float64)


class _Rasterize(torch.autograd.Function):
    """(B, 3, H, W) picture of points, colours, widths, background."""

    @staticmethod
    def forward(ctx, points, colours, widths, background, layout, canvas, size):
        plan = make_plan(layout)
        scale = size[1] / canvas[1], size[0] / canvas[0]
        # Curves are flattened on the canvas, so the tolerance is made to hold in the picture along its larger scale.
        view = View(scale, TOLERANCE / max(scale), size)
        outline, entered = build_outline(plan, _double(points), _double(widths), view)
        bands, saved = _make_room(entered, len(points) * size[0], points.dtype, taped=any(ctx.needs_input_grad))
        paths = Paths(outline.edges, _double(colours), _double(background), plan.evenodd)
        image = torch.empty(len(points), 3, *size, dtype=points.dtype)
        share_jobs(forward, len(saved.cell_ends), paths, bands, saved, image.numpy())
        # The backward pass overwrites cells' areas only, and uses none that it has not written: it may run again.
        ctx.saved = outline, paths, bands, saved
        ctx.structure = plan.structure
        ctx.scale = scale
        ctx.shapes = points.shape, colours.shape, widths.shape, background.shape
        return image

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream):
        outline, paths, bands, saved = ctx.saved
        jobs = len(saved.cell_ends)
        geometry = ctx.needs_input_grad[0] or ctx.needs_input_grad[2]
        moments = np.zeros((len(bands.entries) if geometry else 0, 2))
        grads = Grads(np.zeros((jobs, ctx.shapes[1][1], 4)), np.zeros((jobs, 3)), moments)
        # The gradient of a plain sum is one number with strides of 0, but kernels take contiguous arrays.
        share_jobs(backward, jobs, paths, bands, saved, upstream.contiguous().numpy(), grads)
        points, colours, widths, background = [torch.empty(shape, dtype=upstream.dtype) for shape in ctx.shapes]
        # Views, so that what the kernel writes is in the tensors that are returned.
        out = DrawingGrads(points.numpy(), widths.view(-1).numpy(), colours.flatten(1).numpy(), background.numpy())
        gather_gradients(ctx.structure, outline, bands.entries, grads, ctx.scale, out)
        # The kernels differentiate by the radius.
        widths *= 0.5
        return points, colours, widths, background, None, None, None


def rasterize_numba(drawing: Drawing, size: tuple[int, int]) -> Float[Tensor, "B 3 H W"]:
    """RGB of the points' dtype; see `runtime.vector.raster.rasterize`."""
    return _Rasterize.apply(*drawing.tensors.values(), drawing.layout, drawing.size, size)
