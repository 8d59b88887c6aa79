"""The coverage of a path by another road than the kernels': no bands, cells or spans, differentiated by autograd.

Its stages have no kernels of their own; they are what the kernels' stages are right by:

- `signed_areas` of an edge is its area in the pixels that it crosses and its cover in all pixels to their right:
  what `accumulate_cells` and the sweep over cells find pixel by pixel;
- `boundary` finds which parts of edges count, and with which sign: what the slabs of `pixel_moments` find within a
  pixel, and `simple_coverage` from the winding number alone;
- `path_coverage` is what the spans of one path amount to.
"""

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from runtime.vector.paths import Drawing, Kind
from runtime.vector.raster.checks import check_drawing
from runtime.vector.raster.kernels.limits import STROKE_TOLERANCE
from runtime.vector.raster.reference.build import flatten_paths
from runtime.vector.raster.reference.outline import close_loops
from runtime.vector.raster.reference.stroke import count_corners, stroke_outline, unit_pen


def split_edges(
    starts: Float[Tensor, "E 2"], ends: Float[Tensor, "E 2"]
) -> tuple[Float[Tensor, "M 2"], Float[Tensor, "M 2"]]:
    """The edges cut where they cross each other: starts and ends. Edges in general position."""
    directions = ends - starts

    def cross(a: Float[Tensor, "*#edges 2"], b: Float[Tensor, "*#edges 2"]) -> Float[Tensor, "*#edges"]:
        return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]

    determinant = cross(directions[:, None], directions[None])
    offsets = starts[None] - starts[:, None]
    # Replaced before the division: after it, autograd would multiply 0 by infinity and give NaN.
    safe = torch.where(determinant == 0, torch.ones_like(determinant), determinant)
    here = cross(offsets, directions[None]) / safe
    there = cross(offsets, directions[:, None]) / safe
    # Neighbours meet at a common vertex, which rounding could otherwise make a crossing.
    crossing = (determinant != 0) & (here > 1e-12) & (here < 1 - 1e-12) & (there > 1e-12) & (there < 1 - 1e-12)
    new_starts, new_ends = [], []
    for edge in range(len(starts)):
        places = here[edge][crossing[edge]].sort().values[:, None]
        stops = torch.cat((starts[edge][None], starts[edge] + places * directions[edge], ends[edge][None]))
        new_starts.append(stops[:-1])
        new_ends.append(stops[1:])
    return torch.cat(new_starts), torch.cat(new_ends)


def winding_numbers(
    places: Float[Tensor, "M 2"], starts: Float[Tensor, "E 2"], ends: Float[Tensor, "E 2"]
) -> Int64[Tensor, " M"]:
    """Winding numbers of closed contours' edges about places: downward edges to the left count +1."""
    x, y = places[:, None, 0], places[:, None, 1]
    (x0, y0), (x1, y1) = starts.T, ends.T
    # Half-open, so that a line through a vertex does not count one crossing twice.
    down, up = (y0 <= y) & (y < y1), (y1 <= y) & (y < y0)
    height = torch.where(y1 == y0, torch.ones_like(y0), y1 - y0)
    left = x0 + (y - y0) / height * (x1 - x0) < x
    return (down & left).long().sum(1) - (up & left).long().sum(1)


def boundary(
    starts: Float[Tensor, "E 2"], ends: Float[Tensor, "E 2"], kind: Kind
) -> tuple[Float[Tensor, "M 2"], Float[Tensor, "M 2"], Float[Tensor, " M"]]:
    """Parts of the edges that bound the filled region: starts, ends, and weights, -1 or 1."""
    parts_start, parts_end = split_edges(starts, ends)
    # Weights are constant between crossings, so they have no gradient.
    with torch.no_grad():
        middle, along = (parts_start + parts_end) / 2, parts_end - parts_start
        normal = torch.stack((along[:, 1], -along[:, 0]), -1) / along.norm(dim=-1, keepdim=True).clamp_min(1e-30)
        # Far enough aside for rounding, and nearer than any other edge in general position.
        sides = [winding_numbers(middle + sign * 1e-7 * normal, starts, ends) for sign in (1, -1)]
        inside = [side % 2 if kind is Kind.EVENODD else (side != 0).long() for side in sides]
        weights = inside[0] - inside[1]
    used = weights != 0
    return parts_start[used], parts_end[used], weights[used].to(parts_start.dtype)


def signed_areas(
    starts: Float[Tensor, "M 2"], ends: Float[Tensor, "M 2"], rows: Float[Tensor, " H"], columns: Float[Tensor, " W"]
) -> Float[Tensor, "M H W"]:
    """Signed area to the right of each edge within each pixel; downward edges count positive."""
    (x0, y0), (x1, y1) = starts.T[..., None], ends.T[..., None]
    height = torch.where(y1 == y0, torch.ones_like(y0), y1 - y0)
    top, bottom = (torch.minimum(torch.maximum(y, rows), rows + 1) for y in (y0, y1))
    near, far = (columns + 1 - (x0 + (y - y0) / height * (x1 - x0))[..., None] for y in (top, bottom))

    def integral(u: Float[Tensor, "M H W"]) -> Float[Tensor, "M H W"]:
        # The integral of a distance that the pixel clamps to 0 and 1.
        return torch.where(u < 1, u.clamp_min(0) ** 2 / 2, u - 0.5)

    # The mean of the clamped distance is a difference quotient, which is 0 / 0 for an upright edge.
    flat = (near - far).abs() < 1e-6
    slope = (integral(near) - integral(far)) / torch.where(flat, torch.ones_like(near), near - far)
    return (bottom - top)[..., None] * torch.where(flat, ((near + far) / 2).clamp(0, 1), slope)


def path_coverage(drawing: Drawing, scene: int, path: int, size: tuple[int, int]) -> Float64[Tensor, "H W"]:
    """Coverage of one path of one scene."""
    kind = drawing.layout.kinds[path]
    scale = torch.tensor((size[1] / drawing.size[1], size[0] / drawing.size[0]), dtype=torch.float64)
    rows, columns = (torch.arange(n, dtype=torch.float64) for n in size)
    if kind is Kind.RECTANGLE:
        return _rectangle(drawing.points[scene, drawing.layout.path_slice(path)].double() * scale, rows, columns)
    loops = flatten_paths(drawing, scene, path, size)
    if kind is Kind.STROKE:
        radius = drawing.widths[scene, path].double() / 2
        corners = torch.from_numpy(unit_pen(count_corners(radius.item(), STROKE_TOLERANCE / scale.max().item())))
        loops = [stroke_outline(loops[0], radius, corners)]
    starts, ends = close_loops(loops)
    rule = Kind.EVENODD if kind is Kind.EVENODD else Kind.NONZERO
    # Scaled after the stroke is widened, because the pen is round on the canvas.
    starts, ends, weights = boundary(starts * scale, ends * scale, rule)
    return torch.einsum("m,mhw->hw", weights, signed_areas(starts, ends, rows, columns))


def _rectangle(
    points: Float[Tensor, "2 2"], rows: Float[Tensor, " H"], columns: Float[Tensor, " W"]
) -> Float[Tensor, "H W"]:
    low, high = points.amin(0), points.amax(0)
    wide, tall = (
        (torch.minimum(high[axis], cells + 1) - torch.maximum(low[axis], cells)).clamp_min(0)
        for axis, cells in enumerate((columns, rows))
    )
    return tall[:, None] * wide


def rasterize_torch(drawing: Drawing, size: tuple[int, int]) -> Float[Tensor, "B 3 H W"]:
    """RGB of the points' dtype; see `runtime.vector.raster.rasterize`.

    Errors: `UserError` for points or widths that are not finite, and for strokes of a negative width.
    """
    check_drawing(drawing)
    images = []
    for scene in range(drawing.points.shape[0]):
        image = drawing.background[scene].double()[:, None, None].expand(3, *size)
        for path in range(drawing.layout.num_paths):
            colour = drawing.colours[scene, path].double()
            alpha = colour[3] * path_coverage(drawing, scene, path, size)
            image = image + alpha * (colour[:3, None, None] - image)
        images.append(image)
    return torch.stack(images).to(drawing.points.dtype)
