"""Drawings with known areas for the rasterizer's tests, and coverage by brute force, independent of its code."""

import math

import numpy as np
import torch

from runtime.vector.paths import Drawing, Kind, Layout, circle_points

ROUND = 4 / 3 * math.tan(math.pi / 8)


def drawing_of(
    paths: list[tuple[Kind, list[torch.Tensor]]],
    size: tuple[int, int],
    *,
    width: float = 1.0,
    dtype: torch.dtype = torch.float64,
) -> Drawing:
    """White opaque paths on black: (kind, contours as (points, 2) tensors)."""
    contours, points = [], []
    for kind, loops in paths:
        contours.append((0,) if kind is Kind.RECTANGLE else tuple(len(loop) // 3 for loop in loops))
        points += loops
    layout = Layout(tuple(kind for kind, _ in paths), tuple(contours))
    count = len(paths)
    stacked = torch.cat(points)[None].to(dtype) if points else torch.zeros(1, 0, 2, dtype=dtype)
    ones = torch.ones(1, count, 4, dtype=dtype)
    widths, black = torch.full((1, count), width, dtype=dtype), torch.zeros(1, 3, dtype=dtype)
    return Drawing(layout, stacked, ones, widths, black, size)


def polygon(corners) -> torch.Tensor:
    """(3 n, 2) closed contour of straight cubic segments through the corners."""
    corners = torch.as_tensor(corners, dtype=torch.float64)
    ahead = corners.roll(-1, 0)
    return torch.stack((corners, (2 * corners + ahead) / 3, (corners + 2 * ahead) / 3), 1).reshape(-1, 2)


def polyline(corners) -> torch.Tensor:
    """(3 n - 2, 2) open contour of straight cubic segments through n corners."""
    return torch.cat((polygon(corners)[: 3 * (len(corners) - 1)], torch.as_tensor(corners, dtype=torch.float64)[-1:]))


def disc(x: float, y: float, radius: float, segments: int = 8) -> torch.Tensor:
    """Closed contour of a circle, right to 4e-6 of its radius with 8 segments."""
    return circle_points(torch.tensor((x, y), dtype=torch.float64), radius, segments)


def pentagram(x: float, y: float, radius: float) -> torch.Tensor:
    """Five-pointed star that crosses itself: its middle has winding number 2."""
    turns = torch.arange(5, dtype=torch.float64) * (4 * math.pi / 5) + 0.3
    return polygon(torch.stack((x + radius * turns.cos(), y + radius * turns.sin()), -1))


def figure_eight(x: float, y: float, radius: float) -> torch.Tensor:
    """Two round lobes, of winding number 1 and -1, that meet in a crossing."""
    r = radius
    corners = [(0, 0), (2 * r, -2 * r), (2 * r, 2 * r), (0, 0), (-2 * r, -2 * r), (-2 * r, 2 * r)]
    return torch.tensor(corners, dtype=torch.float64) + torch.tensor((x, y), dtype=torch.float64)


def random_blob(generator: torch.Generator, size: tuple[int, int], segments: int = 5) -> torch.Tensor:
    """Closed contour of control points anywhere: crosses itself and the canvas' border."""
    extent = torch.tensor((float(size[1]), float(size[0])), dtype=torch.float64)
    return (1.4 * torch.rand(3 * segments, 2, generator=generator, dtype=torch.float64) - 0.2) * extent


def sample_curve(points: np.ndarray, closed: bool, per_segment: int = 400) -> np.ndarray:
    """Points along the cubic segments of one contour."""
    count = len(points) // 3
    t = np.linspace(0, 1, per_segment, endpoint=False)[:, None]
    curve = []
    for segment in range(count):
        a, b, c, d = (points[(3 * segment + k) % len(points)] for k in range(4))
        curve.append((1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t**2 * (1 - t) * c + t**3 * d)
    return np.concatenate(curve if closed else [*curve, points[-1:]])


def scan_coverage(loops: list[np.ndarray], kind: Kind, size: tuple[int, int], lines: int = 128) -> np.ndarray:
    """(H, W) coverage by a fill: `lines` scan lines a pixel row, exact lengths along each."""
    height, width = size
    coverage = np.zeros(size)
    starts = np.concatenate(loops)
    ends = np.concatenate([np.roll(loop, -1, 0) for loop in loops])
    for line in range(height * lines):
        y = (line + 0.5) / lines
        cross = (starts[:, 1] <= y) != (ends[:, 1] <= y)
        a, b = starts[cross], ends[cross]
        x = a[:, 0] + (y - a[:, 1]) / (b[:, 1] - a[:, 1]) * (b[:, 0] - a[:, 0])
        order = np.argsort(x)
        winding = np.cumsum(np.where(b[:, 1] > a[:, 1], 1, -1)[order])
        inside = winding % 2 if kind is Kind.EVENODD else winding != 0
        for left, right, full in zip(x[order][:-1], x[order][1:], inside[:-1], strict=True):
            if full:
                columns = np.arange(width)
                lengths = np.minimum(right, columns + 1) - np.maximum(left, columns)
                coverage[line // lines] += np.clip(lengths, 0, 1) / lines
    return coverage


def disc_coverage(curve: np.ndarray, radius: float, size: tuple[int, int], samples: int = 24) -> np.ndarray:
    """(H, W) coverage by all places within a radius of a curve's points: `samples` squared places a pixel."""
    from scipy.spatial import cKDTree

    height, width = size
    axis = [(np.arange(n * samples) + 0.5) / samples for n in (height, width)]
    y, x = np.meshgrid(*axis, indexing="ij")
    distance, _ = cKDTree(curve).query(np.stack((x.ravel(), y.ravel()), -1))
    inside = (distance <= radius).reshape(height, samples, width, samples)
    return inside.mean((1, 3))
