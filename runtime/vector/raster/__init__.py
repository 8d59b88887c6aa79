"""Pictures of drawings: exact area coverage, composited in order, differentiable, the same bits on every run.

The coverage of a pixel by a path is the exact area of the filled region within the pixel: no samples, no smoothing.
Paths are composited by straight-alpha 'over' in drawing order over the background colour, on the RGB values as given.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.errors import UserError
from runtime.vector.paths import Drawing, Kind, Layout

MAX_SIZE = 16384
"""Largest height and width of a picture, in pixels."""


def rasterize(
    drawing: Drawing, size: tuple[int, int] | None = None, *, backend: str = "numba"
) -> Float[Tensor, "B 3 H W"]:
    """(B, 3, H, W) RGB in [0, 1] of a drawing, in the dtype of its points, differentiable in all of its tensors.

    Args:
        drawing: B scenes; colours and background in [0, 1] (values outside are composited as they are).
        size: height and width of the picture; other than the canvas it scales the drawing, strokes included.
        backend: "numba" (compiled, all cores, float64 geometry), "torch" (slow readable twin), "diffvg" (the peer;
            must be installed), "cuda" (not built yet).

    Errors: `UserError` for an unknown or missing backend, a size out of range, or points that are not finite.
    """
    size = drawing.size if size is None else (int(size[0]), int(size[1]))
    if min(size) < 1 or max(size) > MAX_SIZE:
        raise UserError(f"picture size: expected a height and a width from 1 to {MAX_SIZE}, got {size}")
    if backend not in _BACKENDS:
        raise UserError(f"rasterizer: expected one of {', '.join(_BACKENDS)}, got {backend!r}")
    return _BACKENDS[backend](drawing, size)


def coverage(
    drawing: Drawing, size: tuple[int, int] | None = None, *, backend: str = "numba"
) -> Float[Tensor, "B P H W"]:
    """(B, P, H, W) fraction of each pixel that each path covers, opacity aside; differentiable in points and widths."""
    white = torch.tensor((1.0, 1.0, 1.0, 1.0), dtype=drawing.colours.dtype)
    pictures = []
    for path in range(drawing.layout.num_paths):
        one = drawing.select([path])
        black = torch.zeros_like(drawing.background)
        alone = Drawing(one.layout, one.points, white.expand_as(one.colours), one.widths, black, one.size)
        pictures.append(rasterize(alone, size, backend=backend)[:, 0])
    return torch.stack(pictures, 1)


def warm_up(*, strokes: bool = False) -> None:
    """Compile the default backend's kernels, or load them from disk, before they are needed.

    Takes about ten seconds where they have never run, half a second afterwards. Call it from a thread while other
    things load.

    Args:
        strokes: those for strokes, too.
    """
    points = torch.tensor([[(1.0, 1.0), (2.0, 1.0), (3.0, 2.0), (3.0, 3.0)]])
    layout = Layout((Kind.STROKE,), ((1,),))
    if not strokes:
        points, layout = points[:, :3], Layout((Kind.NONZERO,), ((1,),))
    one = torch.ones(1, 1)
    colours, background = one[..., None].expand(1, 1, 4), one.expand(1, 3)
    rasterize(Drawing(layout, points.requires_grad_(), colours, one, background, (4, 4))).sum().backward()


def _torch(drawing: Drawing, size: tuple[int, int]) -> Float[Tensor, "B 3 H W"]:
    from runtime.vector.raster.reference import rasterize_torch

    return rasterize_torch(drawing, size)


def _numba(drawing: Drawing, size: tuple[int, int]) -> Float[Tensor, "B 3 H W"]:
    from runtime.vector.raster.compiled import rasterize_numba

    return rasterize_numba(drawing, size)


def _diffvg(drawing: Drawing, size: tuple[int, int]) -> Float[Tensor, "B 3 H W"]:
    from runtime.vector.raster.diffvg import rasterize_diffvg

    return rasterize_diffvg(drawing, size)


def _cuda(drawing: Drawing, size: tuple[int, int]) -> Float[Tensor, "B 3 H W"]:
    """Where a CUDA kernel will sit: bands of rows are independent jobs there too, see `kernels.composite`."""
    raise UserError("rasterizer: cuda is not built yet; use numba, which runs on the CPU")


_BACKENDS: dict[str, Callable[[Drawing, tuple[int, int]], Float[Tensor, "B 3 H W"]]] = {
    "numba": _numba,
    "torch": _torch,
    "diffvg": _diffvg,
    "cuda": _cuda,
}
