"""The passes as a PyTorch function: memory, gradients, and what is not drawn on a card."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.errors import UserError
from runtime.vector.paths import Drawing, Kind, Layout
from runtime.vector.raster.compiled import make_plan
from runtime.vector.raster.cuda.flatten import flatten, room
from runtime.vector.raster.cuda.pixels import TILE
from runtime.vector.raster.kernels.limits import TOLERANCE


class Structure(NamedTuple):
    """What is derived from a layout, on a device."""

    controls: Tensor
    """(S, 4, 2) int64: the points that give x and y of each segment's control points."""
    following: Tensor
    """(S,) int32: the segment after each in its contour."""
    before: Tensor
    """(S,) int64: the segment before each in its contour."""
    firsts: Tensor
    """(P + 1,) int32: first segment of each path."""
    owners: Tensor
    """(S,) int32: path of each segment."""
    evenodd: Tensor
    """(P,) int32."""


def structure_of(layout: Layout, device: torch.device) -> Structure:
    """Return a layout's structure, made once for a device."""
    # With the device in it, as a layout may be drawn on several.
    key = f"raster {device}"
    if key not in layout.memo:
        plan = make_plan(layout)
        contours = torch.from_numpy(plan.structure.contours)
        firsts = contours[torch.from_numpy(plan.structure.paths)]
        # Segments of a contour lie behind each other, and the last is followed by the contour's first.
        following = torch.arange(1, int(contours[-1]) + 1)
        following[contours[1:] - 1] = contours[:-1]
        owners = torch.repeat_interleave(torch.arange(len(firsts) - 1), firsts.diff())
        parts_of = Structure(
            torch.from_numpy(plan.structure.controls),
            following.int(),
            following.argsort(),
            firsts.int(),
            owners.int(),
            torch.from_numpy(plan.evenodd).int(),
        )
        layout.memo[key] = Structure(*(tensor.to(device) for tensor in parts_of))
    return layout.memo[key]


class _Composite(torch.autograd.Function):
    """(B, 3, H, W) picture of vertices, colours, background."""

    @staticmethod
    def forward(ctx: Any, vertices, colours, background, counts, structure, size, make_runner):
        device = vertices.device
        batch, segments, most = vertices.shape[:3]
        paths = colours.shape[1]
        whole = {"dtype": torch.int32, "device": device}
        ends = counts.cumsum(1)
        offsets = torch.cat([torch.zeros_like(ends[:, :1]), ends], 1).int()
        outline = {
            "vertices": vertices.contiguous(),
            "counts": counts.contiguous(),
            "offsets": offsets,
            "following": structure.following,
            "owners": structure.owners,
        }
        # Only the device knows how many edges there are: room for the most that there may be.
        shapes = {
            "edges": vertices.new_empty(batch, segments * most, 6),
            "marks": torch.empty(batch, segments * most, **whole),
            "places": torch.empty(batch, segments * most, 3, **whole),
            "ranges": offsets[:, structure.firsts.long()].contiguous(),
            "evenodd": structure.evenodd,
            # In float64, as on the CPU: a picture is rounded once, when it is whole.
            "colours": colours.double().contiguous(),
            "background": background.double().contiguous(),
        }
        tiles = -(-size[0] // TILE) * -(-size[1] // TILE)
        saved = {
            "boxes": vertices.new_empty(batch, paths, 4),
            # only the first `lengths` of a tile are written, and read
            "paths": torch.empty(batch, tiles, paths, **whole),
            "lengths": torch.zeros(batch, tiles, **whole),
        }
        image = colours.new_empty(batch, 3, *size)
        make_runner(device).forward(outline, shapes, saved, image)
        ctx.outline, ctx.shapes, ctx.saved, ctx.structure, ctx.make_runner = (
            outline,
            shapes,
            saved,
            structure,
            make_runner,
        )
        return image

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *upstreams):
        upstream = upstreams[0].contiguous()
        vertices, colours = ctx.outline["vertices"], ctx.shapes["colours"]
        # Written where a path stands in a tile's list, and read there alone.
        parts = vertices.new_empty(*ctx.saved["paths"].shape, 4)
        grad_colours = torch.zeros_like(colours)
        moments = torch.zeros_like(vertices)
        ctx.make_runner(vertices.device).backward(ctx.shapes, ctx.saved, upstream, parts, grad_colours, moments)
        grad_vertices = _vertices_backward(vertices, ctx.outline["counts"], ctx.structure, moments)
        # What reaches the background: the gradient less what paths take of it, by the transmittance of all together.
        grad_background = _background_gradient(upstream, grad_colours)
        kind = upstream.dtype
        return grad_vertices, grad_colours.to(kind), grad_background.to(kind), None, None, None, None


def _background_gradient(upstream: Tensor, grad_colours: Tensor) -> Tensor:
    """Return the gradient by the background: shares of a pixel's light add up to 1, so it has what colours have not."""
    return upstream.double().sum((2, 3)) - grad_colours[..., :3].sum(1)


def _vertices_backward(vertices: Tensor, counts: Tensor, structure: Structure, moments: Tensor) -> Tensor:
    """Return the gradient by vertices of the moments of the edges that begin at each; see `outline.edges_backward`."""
    index = torch.arange(vertices.shape[2], device=vertices.device)
    inner_edges = (index + 1 < counts[..., None])[..., None]
    shifted = torch.cat([vertices[:, :, 1:], vertices[:, :, :1]], 2)
    # The end of a segment's last edge is no vertex of its own, but the first of the next segment.
    after = vertices[:, structure.following.long(), :1]
    # Segments have different numbers of vertices; places behind the last hold whatever was in memory.
    there = (index < counts[..., None])[..., None]
    along = torch.where(there, torch.where(inner_edges, shifted, after) - vertices, 0.0)
    aside = torch.stack((-along[..., 1], along[..., 0]), -1)
    end = moments[..., 1:]
    of_start, of_end = (moments[..., :1] - end) * aside, end * aside
    # An edge's end is the next vertex of its segment, or the first of the next segment.
    inner_ends = torch.where(inner_edges, of_end, 0.0)
    last_ends = torch.where(inner_edges, 0.0, of_end).sum(2)
    gradient = of_start + torch.cat([torch.zeros_like(inner_ends[:, :, :1]), inner_ends[:, :, :-1]], 2)
    first = gradient[:, :, :1] + last_ends[:, structure.before, None]
    return torch.cat([first, gradient[:, :, 1:]], 2)


def _card(device: torch.device) -> Any:
    from runtime.vector.raster.cuda.launch import Card

    return Card(device)


def rasterize_cuda(
    drawing: Drawing, size: tuple[int, int], *, make_runner: Callable[[torch.device], Any] = _card
) -> Float[Tensor, "B 3 H W"]:
    """RGB of the points' dtype; see `runtime.vector.raster.rasterize`. Numbers that are not finite draw nothing.

    Args:
        drawing: on a CUDA device, of fills and rectangles.
        size: height and width of the picture.
        make_runner: makes what runs the passes on a device.

    Raises:
        UserError: the drawing is elsewhere, or has strokes.
    """
    device = drawing.points.device
    if device.type != "cuda" and make_runner is _card:
        raise UserError(f"rasterizer 'cuda': expected a drawing on a CUDA device, got one on {device}; take 'numba'")
    if Kind.STROKE in drawing.layout.kinds:
        raise UserError("rasterizer 'cuda': expected fills and rectangles, got strokes; take 'numba' for them")
    structure = structure_of(drawing.layout, device)
    scale = (size[1] / drawing.size[1], size[0] / drawing.size[0])
    tolerance = TOLERANCE / max(scale)
    points = drawing.points.double()
    axis = torch.arange(2, device=device)
    controls = points[:, structure.controls, axis]
    vertices, counts = flatten(controls, tolerance, scale, room(drawing.size, tolerance))
    return _Composite.apply(vertices, drawing.colours, drawing.background, counts, structure, size, make_runner).to(
        drawing.points.dtype
    )
