"""The peer: diffvg (Li et al. 2020), as a backend and for timing, where somebody has built and installed it.

It samples edges (2 x 2 places a pixel by default) where ours takes exact areas, so pictures differ at edges.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.errors import UserError
from runtime.vector.paths import Drawing, Kind
from runtime.vector.raster.checks import check_drawing

SAMPLES = 2
"""Places a pixel, along x and along y."""


def _import_diffvg():
    try:
        import pydiffvg  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError(
            "rasterizer: diffvg is not installed (no module pydiffvg); build it from its own source, "
            "or use --rasterizer numba, which needs nothing more"
        ) from error
    pydiffvg.set_use_gpu(False)
    return pydiffvg


def _to_diffvg(pydiffvg, layout, path: int, points: Float[Tensor, "N 2"], width: Float[Tensor, ""]):
    """One path as diffvg's shape: its points, and the control points of each of its segments."""
    kind, contours = layout.kinds[path], layout.contours[path]
    if kind is Kind.RECTANGLE:
        return pydiffvg.Rect(p_min=points.amin(0), p_max=points.amax(0))
    if len(contours) > 1:
        raise UserError(f"path {path}: the diffvg rasterizer takes one contour a path, got {len(contours)}")
    controls = torch.full((contours[0],), 2, dtype=torch.int32)
    closed = kind is not Kind.STROKE
    return pydiffvg.Path(num_control_points=controls, points=points.contiguous(), is_closed=closed, stroke_width=width)


def _render_scene(pydiffvg, drawing: Drawing, scene: int, size: tuple[int, int]) -> Float[Tensor, "3 H W"]:
    """One scene over its background."""
    height, width = size
    shapes, groups = [], []
    for path, kind in enumerate(drawing.layout.kinds):
        points = drawing.points[scene, drawing.layout.path_slice(path)]
        shapes.append(_to_diffvg(pydiffvg, drawing.layout, path, points, drawing.widths[scene, path] / 2))
        colour = drawing.colours[scene, path]
        stroke = kind is Kind.STROKE
        groups.append(
            pydiffvg.ShapeGroup(
                shape_ids=torch.tensor([path]),
                fill_color=None if stroke else colour,
                stroke_color=colour if stroke else None,
                use_even_odd_rule=kind is Kind.EVENODD,
            )
        )
    # Without a background image, a pixel's colour is the mean over its samples, of which those outside all paths count
    # as black: it has the coverage in it already. Over an opaque background every sample has a colour, as in LIVE.
    opaque = torch.cat((drawing.background[scene], drawing.background.new_ones(1)))
    background = opaque.expand(height, width, 4).contiguous()
    arguments = pydiffvg.RenderFunction.serialize_scene(width, height, shapes, groups)
    rgba = pydiffvg.RenderFunction.apply(width, height, SAMPLES, SAMPLES, 0, background, *arguments)
    return rgba[..., :3].permute(2, 0, 1)


def rasterize_diffvg(drawing: Drawing, size: tuple[int, int]) -> Float[Tensor, "B 3 H W"]:
    """RGB of the points' dtype; see `runtime.vector.raster.rasterize`.

    Errors: `UserError` where diffvg is not installed, a path has several contours, a number is not finite, or a
    stroke's width is negative.
    """
    check_drawing(drawing)
    pydiffvg = _import_diffvg()
    scaled = drawing.resized(size).to(torch.float32)
    scenes = [_render_scene(pydiffvg, scaled, scene, size) for scene in range(drawing.points.shape[0])]
    return torch.stack(scenes).to(drawing.points.dtype)
