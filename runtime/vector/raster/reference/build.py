"""Twins of `kernels.build`: the edges of a drawing's paths, and the drawing's gradients from those of bands."""

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from runtime.vector.paths import Drawing, Kind
from runtime.vector.raster.kernels.backward import Grads
from runtime.vector.raster.kernels.build import DrawingGrads
from runtime.vector.raster.kernels.limits import TOLERANCE
from runtime.vector.raster.kernels.outline import Outline, Structure
from runtime.vector.raster.reference.cells import fill_entries
from runtime.vector.raster.reference.outline import close_loops, edges_backward, flatten, flatten_backward


def flatten_paths(drawing: Drawing, scene: int, path: int, size: tuple[int, int]) -> list[Tensor]:
    """The vertices of each contour of one path of one scene, for a picture of a size, in canvas pixels, float64."""
    kind, contours = drawing.layout.kinds[path], drawing.layout.contours[path]
    points = drawing.points[scene, drawing.layout.path_slice(path)].double()
    if kind is Kind.RECTANGLE:
        (x0, y0), (x1, y1) = points.unbind()
        return [torch.stack((torch.stack((x0, x1, x1, x0)), torch.stack((y0, y0, y1, y1))), -1)]
    tolerance = TOLERANCE / max(size[1] / drawing.size[1], size[0] / drawing.size[0])
    if kind is Kind.STROKE:
        return [flatten(points, contours[0], tolerance, closed=False)]
    pieces = points.split([3 * segments for segments in contours])
    return [flatten(piece, n, tolerance, closed=True) for piece, n in zip(pieces, contours, strict=True)]


def build_fills(
    drawing: Drawing, scene: int, path: int, size: tuple[int, int]
) -> tuple[Float[Tensor, "E 2"], Float[Tensor, "E 2"]]:
    """Starts and ends of the edges of one fill or rectangle, in picture pixels."""
    scale = torch.tensor((size[1] / drawing.size[1], size[0] / drawing.size[0]), dtype=torch.float64)
    starts, ends = close_loops(flatten_paths(drawing, scene, path, size))
    return starts * scale, ends * scale


def enter_bands(edges: np.ndarray, paths: int, batch: int, size: tuple[int, int]) -> list[list[int]]:
    """For each band of each scene the indices of the edges (E,) EDGE that touch it, in order."""
    scenes = edges["path"] // max(paths, 1)
    lists = []
    for scene in range(batch):
        own = np.flatnonzero(scenes == scene)
        lists += [own[entries].tolist() for entries in fill_entries(edges[own], size)]
    return lists


def sum_bands(parts: Float64[np.ndarray, "J K"], batch: int) -> Float64[np.ndarray, "{batch} K"]:
    """Sums over the bands of each scene."""
    return parts.reshape(batch, len(parts) // max(batch, 1), parts.shape[1]).sum(1)


def gather_gradients(
    structure: Structure,
    outline: Outline,
    entries: np.ndarray,
    grads: Grads,
    scale: tuple[float, float],
    shape: tuple[int, int, int],
) -> DrawingGrads:
    """Gradients of the points, radii, colours and background of a drawing whose points have a shape (B, N, 2)."""
    batch = shape[0]
    points = np.zeros(shape)
    edges = outline.edges[entries]
    paths = batch * len(structure.kinds)
    vertices, radii = edges_backward(edges, outline.pens, grads.moments, int(outline.firsts[-1]), paths)
    segments = len(structure.controls)
    for at in range(batch * segments):
        grad = flatten_backward(torch.from_numpy(vertices[outline.firsts[at] : outline.firsts[at + 1]])).numpy()
        for k, axis in np.ndindex(4, 2):
            # Added, not set: neighbours share a point, and a rectangle's corner takes x and y from different points.
            points[at // segments, structure.controls[at % segments, k, axis], axis] += grad[k, axis] * scale[axis]
    colours = sum_bands(grads.colours.reshape(len(grads.colours), -1), batch)
    return DrawingGrads(points, radii, colours, sum_bands(grads.background, batch))
