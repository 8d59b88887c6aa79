"""The readable rasterizer: exact area coverage in plain PyTorch, slow, float64 inside, differentiated by autograd.

Every other backend is tested against this one. The method, for one path:

1. Flatten each cubic segment to n pieces whose vertices straddle the curve so that each piece encloses the curve's own
   area.
2. Cut all edges where they cross. An edge part belongs to the boundary of the filled region when the fill rule differs
   on its two sides; its weight is that difference, -1, 0 or 1.
3. A pixel's coverage is the sum over boundary parts of weight times the signed area to the right of the part within
   the pixel, which has a closed form.

A stroke is the union of its pieces, each widened by a regular polygon (`stroke_outline`): a non-zero fill as well.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from runtime.vector.paths import Drawing, Kind

TOLERANCE = 0.02
"""Largest distance between a curve and the chord of one of its pieces, in output pixels, before the area correction,
which leaves two thirds of it at the vertices and a third, on the other side, between."""
STRAIGHT = 0.1
"""A segment whose chord is this much of the tolerance off, or less, is one piece; others are two or more."""
STROKE_TOLERANCE = 0.01
"""Largest distance between a stroke's round pen and its polygon, in output pixels."""
MAX_PIECES = 1024
"""Most pieces of one cubic segment: reached only by segments of a million pixels."""


def count_pieces(corners: Float[Tensor, "4 2"], tolerance: float) -> int:
    """Number of pieces of a cubic segment (4, 2) whose chords stay within the tolerance, by its second differences."""
    bend = (corners[:-2] - 2 * corners[1:-1] + corners[2:]).norm(dim=-1).max().item()
    off = 0.75 * bend / tolerance
    return 1 if off < STRAIGHT else min(max(math.ceil(math.sqrt(off)), 2), MAX_PIECES)


def piece_weights(count: int) -> Float64[Tensor, "{count} 4"]:
    """(count, 4) weights of a segment's control points in its vertices 0 to count - 1.

    Vertex 0 is the segment's start. The others lie off the curve by h^2 / 12 of its second derivative, h being the
    step: then the area between curve and chord, a parabola's to first order, vanishes. The first and last step are
    h / sqrt(2), which makes it vanish there too.
    """
    if count == 1:
        return torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64)
    step = 1 / (count - 2 + math.sqrt(2))
    t = (torch.arange(1, count, dtype=torch.float64) - 1 + math.sqrt(0.5)) * step
    bernstein = torch.stack(((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3), -1)
    second = torch.stack((6 * (1 - t), 6 * (3 * t - 2), 6 * (1 - 3 * t), 6 * t), -1)
    first = torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64)
    return torch.cat((first, bernstein - step**2 / 12 * second))


def flatten(points: Float[Tensor, "N 2"], segments: int, tolerance: float, *, closed: bool) -> Float[Tensor, "V 2"]:
    """(V, 2) vertices of one contour (points, 2); an open one ends with its last point."""
    vertices = []
    for segment in range(segments):
        rows = [(3 * segment + k) % (3 * segments) if closed else 3 * segment + k for k in range(4)]
        corners = points[rows]
        vertices.append(piece_weights(count_pieces(corners.detach(), tolerance)) @ corners)
    return torch.cat(vertices if closed else [*vertices, points[-1:]])


def count_corners(radius: float, tolerance: float) -> int:
    """Number of corners of a round pen's polygon, a multiple of 4: it stays within the tolerance of its circle."""
    return max(4 * math.ceil(math.pi / 4 / math.sqrt(max(2 * tolerance / max(radius, 1e-9), 1e-4))), 8)


@lru_cache(maxsize=64)
def unit_pen(corners: int) -> Float[np.ndarray, "{corners} 2"]:
    """(K, 2) corners of the regular polygon whose perimeter is the unit circle's, so that strokes keep their width."""
    angles = np.arange(corners) * (2 * math.pi / corners)
    scale = (math.pi / corners) / math.sin(math.pi / corners)
    return scale * np.stack((np.cos(angles), np.sin(angles)), -1)


def stroke_outline(
    vertices: Float[Tensor, "V 2"], radius: Float[Tensor, ""], corners: Float[Tensor, "K 2"]
) -> Float[Tensor, "E 2"]:
    """(E, 2) closed outline whose non-zero fill is the union of the polyline's pieces, widened by radius * corners.

    Along a piece the outline keeps to the pen's corner farthest in the normal's direction; at a vertex it walks round
    the pen by the turn. The winding number is the number of the polyline's parts under the pen: never negative.
    """
    count = len(corners)
    steps = (vertices[1:] - vertices[:-1]).detach()
    keep = [i for i in range(len(steps)) if steps[i].norm() > 1e-9]
    if not keep:
        return vertices[0] + radius * corners
    angles = torch.atan2(steps[keep, 1], steps[keep, 0])
    turns = angles.diff()
    turns = turns - 2 * math.pi * torch.round(turns / (2 * math.pi))
    angles = angles[0] + torch.cat((turns.new_zeros(1), turns.cumsum(0)))
    corner = torch.floor((angles - math.pi / 2) * count / (2 * math.pi) + 0.5).long().tolist()
    stops = [vertices[keep[0]], *(vertices[i + 1] for i in keep)]
    forth = [(stops[i + end], k) for i, k in enumerate(corner) for end in (0, 1)]
    back = [(stop, k + count // 2) for stop, k in reversed(forth)]
    outline, at = [], forth[0][1]
    for stop, k in [*forth, *back, (forth[0][0], forth[0][1] + count)]:
        outline += [*((stop, j) for j in range(at + 1 if k > at else at - 1, k, 1 if k > at else -1)), (stop, k)]
        at = k
    return torch.stack([stop + radius * corners[j % count] for stop, j in outline[:-1]])


def split_edges(
    starts: Float[Tensor, "E 2"], ends: Float[Tensor, "E 2"]
) -> tuple[Float[Tensor, "M 2"], Float[Tensor, "M 2"]]:
    """The edges cut where they cross each other: starts and ends, (M, 2) each. Edges in general position."""
    directions = ends - starts

    def cross(a: Float[Tensor, "*#edges 2"], b: Float[Tensor, "*#edges 2"]) -> Float[Tensor, "*#edges"]:
        return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]

    determinant = cross(directions[:, None], directions[None])
    offsets = starts[None] - starts[:, None]
    safe = torch.where(determinant == 0, torch.ones_like(determinant), determinant)
    here = cross(offsets, directions[None]) / safe
    there = cross(offsets, directions[:, None]) / safe
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
    """(M,) winding numbers of closed contours' edges about places (M, 2): downward edges to the left count +1."""
    x, y = places[:, None, 0], places[:, None, 1]
    (x0, y0), (x1, y1) = starts.T, ends.T
    down, up = (y0 <= y) & (y < y1), (y1 <= y) & (y < y0)
    height = torch.where(y1 == y0, torch.ones_like(y0), y1 - y0)
    left = x0 + (y - y0) / height * (x1 - x0) < x
    return (down & left).long().sum(1) - (up & left).long().sum(1)


def boundary(
    starts: Float[Tensor, "E 2"], ends: Float[Tensor, "E 2"], kind: Kind
) -> tuple[Float[Tensor, "M 2"], Float[Tensor, "M 2"], Float[Tensor, " M"]]:
    """Parts of the edges that bound the filled region: starts, ends (M, 2) and weights (M,), -1 or 1."""
    parts_start, parts_end = split_edges(starts, ends)
    with torch.no_grad():
        middle, along = (parts_start + parts_end) / 2, parts_end - parts_start
        normal = torch.stack((along[:, 1], -along[:, 0]), -1) / along.norm(dim=-1, keepdim=True).clamp_min(1e-30)
        sides = [winding_numbers(middle + sign * 1e-7 * normal, starts, ends) for sign in (1, -1)]
        inside = [side % 2 if kind is Kind.EVENODD else (side != 0).long() for side in sides]
        weights = inside[0] - inside[1]
    used = weights != 0
    return parts_start[used], parts_end[used], weights[used].to(parts_start.dtype)


def signed_areas(
    starts: Float[Tensor, "M 2"], ends: Float[Tensor, "M 2"], rows: Float[Tensor, " H"], columns: Float[Tensor, " W"]
) -> Float[Tensor, "M H W"]:
    """(M, h, w) signed area to the right of each edge within each pixel; downward edges count positive."""
    (x0, y0), (x1, y1) = starts.T[..., None], ends.T[..., None]
    height = torch.where(y1 == y0, torch.ones_like(y0), y1 - y0)
    top, bottom = (torch.minimum(torch.maximum(y, rows), rows + 1) for y in (y0, y1))
    near, far = (columns + 1 - (x0 + (y - y0) / height * (x1 - x0))[..., None] for y in (top, bottom))

    def integral(u: Float[Tensor, "M H W"]) -> Float[Tensor, "M H W"]:
        return torch.where(u < 1, u.clamp_min(0) ** 2 / 2, u - 0.5)

    flat = (near - far).abs() < 1e-6
    slope = (integral(near) - integral(far)) / torch.where(flat, torch.ones_like(near), near - far)
    return (bottom - top)[..., None] * torch.where(flat, ((near + far) / 2).clamp(0, 1), slope)


def path_coverage(drawing: Drawing, scene: int, path: int, size: tuple[int, int]) -> Float64[Tensor, "H W"]:
    """(H, W) float64 coverage of one path of one scene."""
    kind, contours = drawing.layout.kinds[path], drawing.layout.contours[path]
    scale = torch.tensor((size[1] / drawing.size[1], size[0] / drawing.size[0]), dtype=torch.float64)
    points = drawing.points[scene, drawing.layout.path_slice(path)].double()
    rows, columns = (torch.arange(n, dtype=torch.float64) for n in size)
    if kind is Kind.RECTANGLE:
        return _rectangle(points * scale, rows, columns)
    tolerance = TOLERANCE / scale.max().item()
    if kind is Kind.STROKE:
        radius = drawing.widths[scene, path].double() / 2
        corners = torch.from_numpy(unit_pen(count_corners(radius.item(), STROKE_TOLERANCE / scale.max().item())))
        loops = [stroke_outline(flatten(points, contours[0], tolerance, closed=False), radius, corners)]
    else:
        pieces = points.split([3 * segments for segments in contours])
        loops = [flatten(piece, n, tolerance, closed=True) for piece, n in zip(pieces, contours, strict=True)]
    starts, ends = torch.cat(loops) * scale, torch.cat([loop.roll(-1, 0) for loop in loops]) * scale
    starts, ends, weights = boundary(starts, ends, Kind.EVENODD if kind is Kind.EVENODD else Kind.NONZERO)
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
    """(B, 3, H, W) RGB of the points' dtype; see `runtime.vector.raster.rasterize`."""
    images = []
    for scene in range(drawing.points.shape[0]):
        image = drawing.background[scene].double()[:, None, None].expand(3, *size)
        for path in range(drawing.layout.num_paths):
            colour = drawing.colours[scene, path].double()
            alpha = colour[3] * path_coverage(drawing, scene, path, size)
            image = image + alpha * (colour[:3, None, None] - image)
        images.append(image)
    return torch.stack(images).to(drawing.points.dtype)
