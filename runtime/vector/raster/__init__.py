"""Pictures of drawings: exact area coverage, composited in order, differentiable, the same bits on every run.

The coverage of a pixel by a path is the exact area of the filled region within the pixel: no samples, no smoothing.
Paths are composited by straight-alpha 'over' in drawing order over the background colour, on the RGB values as given.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.errors import UserError
from runtime.vector.paths import Drawing

__all__ = ["MAX_SIZE", "rasterize"]

MAX_SIZE = 16384
"""Largest height and width of a picture, in pixels."""


def rasterize(
    drawing: Drawing, size: tuple[int, int] | None = None, *, backend: str = "numba"
) -> Float[Tensor, "B 3 H W"]:
    """RGB in [0, 1] of a drawing, in the dtype of its points, differentiable in all of its tensors.

    Args:
        drawing: B scenes; colours and background in [0, 1] (values outside are composited as they are).
        size: height and width of the picture; other than the canvas it scales the drawing, strokes included.
        backend: "numba" (compiled, all cores, float64 geometry), "torch" (slow readable twin), "diffvg" (the peer;
            must be installed), "cuda" (fills on a graphics card, by numba-cuda; not proven on one yet). The others
            compute on the CPU: a drawing elsewhere is copied there, and its picture back.

    Errors: `UserError` for an unknown or missing backend, a size out of range, points or widths that are not finite,
    and strokes of a negative width.
    """
    size = drawing.size if size is None else (int(size[0]), int(size[1]))
    if min(size) < 1 or max(size) > MAX_SIZE:
        raise UserError(f"picture size: expected a height and a width from 1 to {MAX_SIZE}, got {size}")
    if backend not in _BACKENDS:
        raise UserError(f"rasterizer: expected one of {', '.join(_BACKENDS)}, got {backend!r}")
    if any(tensor.dtype.itemsize < 4 for tensor in drawing.tensors.values()):
        # Of float16 a pixel of a large canvas is no number. So these are drawn as float32, and gradients pass through.
        return rasterize(drawing.to(torch.float32), size, backend=backend).to(drawing.points.dtype)
    device = drawing.points.device
    if device.type != "cpu" and backend != "cuda":  # these compute on the CPU, and autograd copies there and back
        return _BACKENDS[backend](drawing.to("cpu"), size).to(device)
    return _BACKENDS[backend](drawing, size)


def _numba(drawing: Drawing, size: tuple[int, int]) -> Float[Tensor, "B 3 H W"]:
    from runtime.vector.raster.compiled import rasterize_numba

    return rasterize_numba(drawing, size)


def _torch(drawing: Drawing, size: tuple[int, int]) -> Float[Tensor, "B 3 H W"]:
    from runtime.vector.raster.reference import rasterize_torch

    return rasterize_torch(drawing, size)


def _diffvg(drawing: Drawing, size: tuple[int, int]) -> Float[Tensor, "B 3 H W"]:
    from runtime.vector.raster.diffvg import rasterize_diffvg

    return rasterize_diffvg(drawing, size)


def _cuda(drawing: Drawing, size: tuple[int, int]) -> Float[Tensor, "B 3 H W"]:
    from runtime.vector.raster.cuda import rasterize_cuda

    return rasterize_cuda(drawing, size)


_BACKENDS: dict[str, Callable[[Drawing, tuple[int, int]], Float[Tensor, "B 3 H W"]]] = {
    "numba": _numba,
    "torch": _torch,
    "diffvg": _diffvg,
    "cuda": _cuda,
}
