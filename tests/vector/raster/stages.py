"""Random drawings, degenerate ones among them, and what each stage of the compiled rasterizer leaves of them."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit

from runtime.kernels.jit import OPTIONS
from runtime.kernels.threads import share_jobs
from runtime.vector.paths import Drawing, Kind, Layout
from runtime.vector.raster import compiled, rasterize
from runtime.vector.raster.kernels.build import build_fills, enter_bands, flatten_paths
from runtime.vector.raster.kernels.cells import Band, Bands
from runtime.vector.raster.kernels.forward import Paths, Saved, forward
from runtime.vector.raster.kernels.limits import TOLERANCE
from runtime.vector.raster.kernels.outline import Outline, View, close_loops
from runtime.vector.raster.kernels.stroke import Pens, Polylines, build_strokes
from runtime.vector.raster.reference.cells import locate_band

GENERAL = tuple(range(6))
"""Seeds of drawings in general position: no two edges overlap, no vertex lies on an edge or a pixel's border."""

DEGENERATE = tuple(range(6, 12))
"""Seeds of drawings with whole and half coordinates, repeated points, and strokes of width 0."""

SEEDS = GENERAL + DEGENERATE


@cache
def from_python(kernel: Any) -> Any:
    """A kernel that only kernels call, compiled so that a test can call it."""
    return njit(**OPTIONS)(kernel.py_func)


def random_drawing(seed: int) -> tuple[Drawing, tuple[int, int]]:
    """A batch of scenes of fills, strokes and rectangles, float64, and a size to draw it in.

    Every third has fills and rectangles alone, which the compiled rasterizer builds in another call. Pictures have one
    band, two, or three.
    """
    generator = torch.Generator().manual_seed(seed)

    def pick(count: int) -> int:
        return int(torch.randint(count, (1,), generator=generator))

    kinds: list[Kind] = [Kind.NONZERO, Kind.EVENODD] if seed % 3 == 0 else [Kind.NONZERO, Kind.STROKE, Kind.EVENODD]
    kinds += [Kind.RECTANGLE] + [kinds[pick(len(kinds))] for _ in range(2)]
    contours = []
    for kind in kinds:
        counts = {Kind.RECTANGLE: (0,), Kind.STROKE: (1 + pick(3),)}
        contours.append(counts.get(kind) or tuple(1 + pick(4) for _ in range(1 + pick(2))))
    layout, batch = Layout(tuple(kinds), tuple(contours)), 1 + seed % 2
    size = [(20, 24), (40, 33), (70, 18)][seed % 3]
    extent = torch.tensor((float(size[1]), float(size[0])), dtype=torch.float64)
    unit = torch.rand(batch, layout.num_points, 2, generator=generator, dtype=torch.float64)
    points = (1.4 * unit - 0.2) * extent
    widths = 5 * torch.rand(batch, len(kinds), generator=generator, dtype=torch.float64) ** 2
    if seed in DEGENERATE:
        points = (points * (1 + seed % 2)).round() / (1 + seed % 2)
        points[:, 1] = points[:, 0]
        points[:, -2:] = points[:, -1:]
        widths[:, 1] = 0
    colours = torch.rand(batch, len(kinds), 4, generator=generator, dtype=torch.float64)
    background = torch.rand(batch, 3, generator=generator, dtype=torch.float64)
    return Drawing(layout, points, colours, widths, background, size), (size if seed % 4 else (37, 29))


class Stages(NamedTuple):
    """What the compiled forward pass makes of a drawing, stage by stage."""

    drawing: Drawing
    size: tuple[int, int]
    scale: np.ndarray
    plan: compiled.Plan
    vertices: np.ndarray
    vertex_ranges: np.ndarray
    """(B * P, 2) first vertex of each path, and the one after its last."""
    outline: Outline
    """Edges in no path's range have path -1."""
    edge_ranges: np.ndarray
    """(B * P, 2) first edge of each path, and the one after its last."""
    pens: Pens | None
    bands: Bands
    saved: Saved
    paths: Paths
    image: np.ndarray

    def band(self, job: int) -> Band:
        """A job's band."""
        return locate_band(job, self.drawing.layout.num_paths, self.size, int(self.bands.firsts[job]))

    def rows(self) -> list[tuple[Band, int, range, np.ndarray]]:
        """Each row: its band, its number in the picture, where its keys are, its spans."""
        rows = []
        for job in range(len(self.saved.cell_ends)):
            band = self.band(job)
            key = band.first
            for y in range(band.top, band.bottom):
                row = band.row + y - band.top
                end = int(self.bands.rows[row])
                rows.append((band, y, range(key, end), self.saved.spans[slice(*self.saved.rows[row])]))
                key = end
        return rows


def run_stages(seed: int) -> Stages:
    """What the compiled forward pass makes of a random drawing."""
    drawing, size = random_drawing(seed)
    scale = size[1] / drawing.size[1], size[0] / drawing.size[0]
    view, plan = View(scale, TOLERANCE / max(scale), size), compiled.make_plan(drawing.layout)
    points, widths = drawing.points.numpy(), drawing.widths.numpy()
    finite, firsts, vertices, vertex_ranges = flatten_paths(plan.structure, points, widths, view)
    assert finite
    ranges, pens, corners = vertex_ranges.copy(), None, compiled.NO_PENS
    if plan.any_strokes:
        radii = np.where(plan.strokes, widths / 2, -1.0).reshape(-1)
        corners, pen_firsts = compiled._make_pens(radii, scale)
        pens = Pens(pen_firsts, corners, radii)
        edges = build_strokes(plan.structure, Polylines(firsts, vertices, scale), pens, ranges)
        close_loops(plan.structure, firsts, vertices, ranges, edges)
        entered = enter_bands(edges, ranges, len(points), size)
    else:
        _, _, edges, entered = build_fills(plan.structure, points, widths, view)
    used = np.zeros(len(edges), bool)
    for begin, end in ranges:
        used[begin:end] = True
    edges["path"][~used] = -1
    bands, saved = compiled._make_room(entered, len(points) * size[0], torch.float64, taped=True)
    paths = Paths(edges, drawing.colours.numpy(), drawing.background.numpy(), plan.evenodd)
    image = np.empty((len(points), 3, *size))
    share_jobs(forward, len(saved.cell_ends), paths, bands, saved, image)
    outline = Outline(firsts, corners, edges)
    return Stages(
        drawing, size, np.array(scale), plan, vertices, vertex_ranges, outline, ranges, pens, bands, saved, paths, image
    )


stages_of = cache(run_stages)
"""`run_stages`, once for each seed: for tests that change nothing of it."""


def coverage(drawing: Drawing, size: tuple[int, int] | None = None, *, backend: str = "numba") -> torch.Tensor:
    """(B, P, H, W) fraction of each pixel that each path covers, opacity aside; differentiable in points and widths."""
    white = torch.tensor((1.0, 1.0, 1.0, 1.0), dtype=drawing.colours.dtype)
    pictures = []
    for path in range(drawing.layout.num_paths):
        one = drawing.select([path])
        black = torch.zeros_like(drawing.background)
        alone = Drawing(one.layout, one.points, white.expand_as(one.colours), one.widths, black, one.size)
        pictures.append(rasterize(alone, size, backend=backend)[:, 0])
    return torch.stack(pictures, 1)
