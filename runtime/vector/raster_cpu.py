"""The compiled rasterizer as a PyTorch function: threads, dtypes, gradients. The kernels are in the modules beside it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from runtime.errors import UserError
from runtime.vector.paths import Drawing, Kind, Layout
from runtime.vector.raster_cells import prepare_cells
from runtime.vector.raster_outline import Structure, build_outline, pull_points
from runtime.vector.raster_sweep import Pulls, paint, pull


@lru_cache(maxsize=64)
def _structure(layout: Layout) -> tuple[Structure, np.ndarray]:
    """The layout as arrays for the kernels, and which paths are even-odd."""
    counts = [max(n, 1) for contours in layout.contours for n in contours]
    contours = np.cumsum([0, *(len(path) for path in layout.contours)])
    arrays = ([int(kind) for kind in layout.kinds], layout.offsets, contours, counts)
    structure = Structure(*(np.asarray(array, np.int64).reshape(-1) for array in arrays))
    return structure, np.array([kind is Kind.EVENODD for kind in layout.kinds], np.int64)


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="raster")


def _share(kernel: Callable, jobs: int, *args) -> None:
    """Call a kernel on as many threads as PyTorch uses, this one among them, each with its share of the jobs."""
    threads = max(1, min(torch.get_num_threads(), jobs))
    others = [_pool().submit(kernel, *args[:7], first, threads, *args[7:]) for first in range(1, threads)]
    kernel(*args[:7], 0, threads, *args[7:])
    for other in others:
        other.result()


def _double(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to(torch.float64).contiguous().numpy()


class _Rasterize(torch.autograd.Function):
    """(B, 3, H, W) picture of points, colours, widths, background."""

    @staticmethod
    def forward(ctx, points, colours, widths, background, layout, canvas, size):
        structure, evenodd = _structure(layout)
        sx, sy = size[1] / canvas[1], size[0] / canvas[0]
        finite, outline = build_outline(structure, _double(points), _double(widths), sx, sy)
        if not finite:
            raise UserError("drawing: points or widths are not finite numbers; check the loss and the learning rates")
        cells = prepare_cells(outline, len(points), *size)
        image = torch.empty(len(points), 3, *size, dtype=points.dtype)
        kept = outline, cells, _double(colours), _double(background), evenodd
        _share(paint, len(cells.firsts) - 1, *kept, image.view(-1).numpy(), size)
        ctx.kept, ctx.structure, ctx.size, ctx.scale = kept, structure, size, (sx, sy)
        ctx.shapes = points.shape, widths.shape, points.dtype
        return image

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream):
        outline, cells, colours, _, _ = ctx.kept
        points_shape, widths_shape, dtype = ctx.shapes
        batch, paths = colours.shape[:2]
        jobs = len(cells.firsts) - 1
        geometry = ctx.needs_input_grad[0] or ctx.needs_input_grad[2]
        moments = np.zeros((len(cells.entries) if geometry else 0, 2))
        pulls = Pulls(np.zeros((jobs, paths, 4)), np.zeros((jobs, 3)), moments)
        _share(pull, jobs, *ctx.kept, upstream.to(dtype).contiguous().view(-1).numpy(), ctx.size, pulls)
        points, widths = np.zeros(points_shape), np.zeros(widths_shape)
        if geometry:
            pull_points(ctx.structure, outline, cells.entries, moments, *ctx.scale, points, widths)
        sums = (
            pulls.colours.reshape(batch, jobs // batch, paths, 4).sum(1),
            pulls.background.reshape(batch, jobs // batch, 3).sum(1),
        )
        grads = [torch.from_numpy(grad).to(dtype) for grad in (points, sums[0], widths, sums[1])]
        return *grads, None, None, None


def rasterize_numba(drawing: Drawing, size: tuple[int, int]) -> Tensor:
    """(B, 3, H, W) of the points' dtype; see `runtime.vector.raster.rasterize`."""
    return _Rasterize.apply(*drawing.tensors.values(), drawing.layout, drawing.size, size)
