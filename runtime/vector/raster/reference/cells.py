"""Twins of `kernels.cells`: which pixels each edge crosses, and the cover and area that it accumulates there."""

import numpy as np
from jaxtyping import Float64, Int64, Integer

from runtime.vector.raster.kernels.cells import BAND, CELL_BITS, COLUMN_BITS, Band


def locate_band(job: int, paths: int, size: tuple[int, int], first: int) -> Band:
    """The band of a job, in a drawing of so many paths; its cells begin at `first`."""
    height, width = size
    tops = range(0, height, BAND)
    scene, band = divmod(job, len(tops))
    top = tops[band]
    return Band(job, scene, top, min(top + BAND, height), width, scene * height + top, scene * paths, first)


def count_entries(edges: np.ndarray, size: tuple[int, int]) -> Int64[np.ndarray, "E bands"]:
    """For each edge (E,) EDGE of a scene and each band: the cells that it may have there, 0 if it does not touch it.

    Edges above, below and to the right of the picture touch no band; those to its left do: they make pixels inside.
    """
    height, width = size
    tops = np.arange(0, height, BAND)
    y = np.floor(np.sort(np.stack((edges["y0"], edges["y1"])), 0)).clip(-1, height)
    x = np.floor(np.stack((edges["x0"], edges["x1"]))).clip(-1, width)
    first = np.maximum(y[0][:, None], tops)
    last = np.minimum(y[1][:, None], np.minimum(tops + BAND, height) - 1)
    visible = (first <= last) & (np.minimum(edges["x0"], edges["x1"]) < width)[:, None]
    columns = np.abs(x[1] - x[0])[:, None]
    return np.where(visible, last - first + columns + 2, 0).astype(np.int64)


def fill_entries(edges: np.ndarray, size: tuple[int, int]) -> list[list[int]]:
    """For each band of a scene the indices of the edges (E,) EDGE that touch it, in order."""
    return [np.flatnonzero(column).tolist() for column in count_entries(edges, size).T]


def _interval(start: float, way: float, low: float, high: float) -> tuple[float, float]:
    """Parameters, within 0 to 1, between which start + parameter * way lies in [low, high]; empty if the first is 1."""
    if way == 0:
        # Half-open, so that a level or upright edge on a border is in one pixel and not in two.
        return (0.0, 1.0) if low <= start < high else (1.0, 1.0)
    a, b = sorted(((low - start) / way, (high - start) / way))
    return (max(a, 0.0), min(b, 1.0)) if max(a, 0.0) < min(b, 1.0) else (1.0, 1.0)


def accumulate_cells(
    edges: np.ndarray, paths: Integer[np.ndarray, " E"], count: int, rows: range, width: int
) -> tuple[Float64[np.ndarray, "P H columns"], Float64[np.ndarray, "P H columns"]]:
    """Cover and area by each of `count` paths in each pixel of some rows; column 0 is all that is left of the picture.

    Cover is the height of an edge's part in a pixel, downward positive; area is height times its mean distance to the
    pixel's right border. A part is the interval of the edge that lies in the pixel's row and column. The kernel's cells
    are these sums, split wherever a contour leaves a pixel.

    Args:
        edges: (E,) EDGE.
        paths: of each edge.
        count: P.
        rows: of the picture.
        width: of the picture.
    """
    cover = np.zeros((count, len(rows), width + 1))
    area = np.zeros_like(cover)
    for edge, path in zip(edges, paths.tolist(), strict=True):
        dx, dy = edge["x1"] - edge["x0"], edge["y1"] - edge["y0"]
        # All columns left of the picture are one, because only the height there matters.
        columns = np.floor(np.array((edge["x0"], edge["x1"])).clip(-1, width)).astype(int)
        for row in range(max(rows.start, int(np.floor(min(edge["y0"], edge["y1"])))), rows.stop):
            s, t = _interval(edge["y0"], dy, row, row + 1)
            # A level edge has no height: it adds neither cover nor area.
            if s >= t or dy == 0:
                continue
            for column in range(min(columns), min(max(columns), width - 1) + 1):
                low, high = _interval(edge["x0"], dx, column if column >= 0 else -np.inf, column + 1)
                begin, end = max(s, low), min(t, high)
                if begin < end:
                    height = (end - begin) * dy
                    middle = edge["x0"] + dx * (begin + end) / 2
                    cover[path, row - rows.start, column + 1] += height
                    area[path, row - rows.start, column + 1] += height * (column + 1 - middle) if column >= 0 else 0
    return cover, area


def sort_cells(cells: np.ndarray) -> Int64[np.ndarray, " M"]:
    """Keys of one band's cells (M,) CELL: path, column plus one, number, in the order of row, path, column, number."""
    number = np.arange(len(cells))
    order = np.lexsort((number, cells["column"], cells["path"], cells["row"]))
    pixel = (cells["path"].astype(np.int64) << COLUMN_BITS) | (cells["column"] + 1)
    return ((pixel << CELL_BITS) | number)[order]


def cell_of(first: int, key: int) -> int:
    """Index of a key's cell, given that of its band's first cell."""
    return first + key % 2**CELL_BITS
