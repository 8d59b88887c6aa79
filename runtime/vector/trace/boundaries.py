"""Where the boundaries of a drawing's paths run: their cubic segments, and how far each pixel is from the nearest."""

import functools

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from scipy import ndimage
from torch import Tensor

from runtime.kernels.jit import entry
from runtime.vector.paths import Drawing, Kind, Layout


@functools.lru_cache(maxsize=64)
def segment_corners(layout: Layout) -> tuple[Int64[Tensor, "S 4"], Float64[Tensor, " S"]]:
    """Return the indices of every cubic segment's points, and weights for a mean over paths of means over segments."""
    corners, weights = [], []
    bent = sum(kind != Kind.RECTANGLE for kind in layout.kinds)
    for path, kind in enumerate(layout.kinds):
        if kind == Kind.RECTANGLE:
            continue
        first = layout.path_slice(path).start
        for count in layout.contours[path]:
            starts = 3 * np.arange(count)
            own = starts[:, None] + np.arange(4)
            corners.append(first + (own if kind == Kind.STROKE else own % (3 * count)))
            weights.append(np.full(count, 1 / (bent * sum(layout.contours[path]))))
            first += 3 * count
    if not corners:
        return torch.zeros(0, 4, dtype=torch.int64), torch.zeros(0, dtype=torch.float64)
    return torch.from_numpy(np.concatenate(corners)), torch.from_numpy(np.concatenate(weights))


def boundary_distance(drawing: Drawing, *, cell: int = 1) -> Float[Tensor, "B h w"]:
    """Return the distance of each cell's middle to the nearest path boundary, in canvas pixels.

    The boundary is taken at points on the canvas, about half a cell apart. The nearest cell that holds one is found,
    and from there the nearest of its neighbours along the path: off by less than half a cell where one curve is
    near, by less than one and a half where several are about as near. Without any boundary, infinity.

    Args:
        drawing: B scenes; strokes count with their centre lines, paths of opacity 0 too.
        cell: side of a cell in pixels; a last row or column that is not whole counts as one.
    """
    shape = [-(-side // cell) for side in drawing.size]
    with torch.no_grad():
        samples = _boundary_points(drawing, 0.5 * cell).double().cpu().numpy() / cell
    grids = np.stack([_nearest_distance(points, shape) for points in samples])
    return torch.from_numpy(grids * cell).to(drawing.points)


def _boundary_points(drawing: Drawing, spacing: float) -> Float[Tensor, "B M 2"]:
    """Return points along all paths, on average at most `spacing` apart along each cubic."""
    corners, weights = segment_corners(drawing.layout)
    if not len(weights):
        return drawing.points[:, :0]
    cubics = drawing.points[:, corners]  # (B, S, 4, 2)
    # A curve is at most as long as its control polygon. The longest scene decides, for a batch shares one table of t.
    longest = (cubics[:, :, 1:] - cubics[:, :, :-1]).norm(dim=-1).sum(dim=-1).amax(dim=0)
    # Bounded, so that a point that is thrown far off the canvas does not fill the memory.
    counts = (longest / spacing).ceil().clamp(1, 4096).long()
    segment = torch.repeat_interleave(torch.arange(len(counts)), counts)
    first = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    t = ((torch.arange(len(segment)) - first) / counts[segment]).to(cubics)[:, None]
    basis = torch.cat(((1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3), dim=1)
    return torch.einsum("mk,bmkd->bmd", basis, cubics[:, segment])


def _nearest_distance(points: Float64[np.ndarray, "M 2"], shape: list[int]) -> Float64[np.ndarray, "h w"]:
    """Return the distance of each cell's middle to the nearest of points along curves, in cells."""
    columns, rows = np.floor(points).astype(np.int64).T
    visible = np.flatnonzero((rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1]))
    if not len(visible):
        return np.full(shape, np.inf)
    # One point a cell is enough: the others in it are its neighbours along the curve, which `_refined` looks at.
    holder = np.full(shape[0] * shape[1], -1)
    holder[rows[visible] * shape[1] + columns[visible]] = visible
    empty = holder.reshape(shape) < 0
    row, column = np.asarray(ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True))
    return _refined(points, holder[row * shape[1] + column])


@entry
def _refined(points: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return the distance of each cell's middle to the nearest of the 9 points along the curve about its own."""
    height, width = index.shape
    distance = np.empty((height, width))
    for row in range(height):
        for column in range(width):
            nearest = np.inf
            own = index[row, column]
            # The run may reach into another path. Its points are boundary too, so that the least distance stays right.
            for other in range(max(own - 4, 0), min(own + 5, len(points))):
                x, y = points[other, 0] - column - 0.5, points[other, 1] - row - 0.5
                nearest = min(nearest, x * x + y * y)
            distance[row, column] = np.sqrt(nearest)
    return distance
