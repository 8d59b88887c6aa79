"""LIVE: trace a raster picture with closed paths, layer by layer.

Notation: I (3, H, W) target, J (B, 3, H, W) rendering, d (H, W) distance of each pixel's middle to the nearest path boundary
in pixels, d' its weight. Thesis 6.4.1, Eq. 6.5 and 6.6; Ma et al., arXiv:2206.04655.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from runtime.optimize import Progress, Stage, optimize
from runtime.vector.paths import Drawing, Kind, Layout, path_areas
from runtime.vector.regions import border_colour, find_patches
from runtime.vector.scene import VectorScene


@dataclass(frozen=True, kw_only=True)
class TraceConfig:
    """How to trace a picture."""

    paths: int = 64
    """Closed paths at most, 1 to 1024."""
    segments: int = 4
    """Cubic segments a path, 2 to 16."""
    stages: int = 5
    """Stages that add paths, 1 to 16; later ones add more."""
    steps: int = 80
    """Optimizer steps a stage, at least 0."""
    rate: float = 0.5
    """Initial learning rate of control points, in pixels of a canvas of 240; colours have a hundredth of it."""
    reach: float = 10.0
    """Distance from a path's boundary, in pixels of a canvas of 240, at which the weight is least."""
    floor: float = 0.1
    """Weight of the pixels beyond `reach`, relative to those on a boundary, 0 to 1."""
    crossing: float = 1e-3
    """Weight of the self-intersection term."""
    least: float = 2e-6
    """Mean squared error that a path must save to be added, at least 0."""


def boundary_distance(drawing: Drawing, *, cell: int = 1) -> Tensor:
    """Return the (B, H / cell, W / cell) distance of each cell's middle to the nearest path boundary, in canvas pixels.

    The boundary is taken at points less than half a cell apart; the nearest cell that holds such a point is found, and
    the distance to that point returned, which is off by at most about half a cell. Without any boundary, infinity.

    Args:
        drawing: B scenes; strokes count with their centre lines, paths of opacity 0 too.
        cell: side of a cell in pixels; a last row or column that is not whole counts as one.
    """
    shape = [-(-side // cell) for side in drawing.size]
    with torch.no_grad():
        samples = _boundary_points(drawing, 0.5 * cell).double().cpu().numpy() / cell
    grids = np.stack([_nearest_distance(points, shape) for points in samples])
    return torch.from_numpy(grids * cell).to(drawing.points)


def distance_weights(distance: Tensor, reach: float, floor: float = 0.0) -> Tensor:
    """Return the weights d' of Eq. 6.5, which sum to 1 over a picture: (B, H, W) of (B, H, W).

    As in the authors' program the weight is largest on a boundary, falls linearly with the distance, and is least from
    `reach` on; the thesis calls d' itself a distance. A picture without boundary is weighted evenly.

    Args:
        distance: to the nearest boundary, in pixels; may be infinite.
        reach: in pixels, above 0.
        floor: the least weight relative to the largest possible, in [0, 1].
    """
    near = 1 - distance.clamp(max=reach) / reach
    weights = floor + (1 - floor) * near
    weights = torch.where(weights.sum(dim=(-2, -1), keepdim=True) > 0, weights, torch.ones_like(weights))
    return weights / weights.sum(dim=(-2, -1), keepdim=True)


def udf_loss(images: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Return the mean over scenes of 1/3 sum_i d'_i sum_c (I - J)^2. Thesis Eq. 6.5.

    Args:
        images: J, (B, 3, H, W).
        target: I, (3, H, W) or (B, 3, H, W).
        weights: d', (B, H, W).
    """
    return (weights * (images - target).square().sum(dim=1)).sum(dim=(-2, -1)).mean() / 3


def xing_loss(points: Tensor, layout: Layout) -> Tensor:
    """Return the self-intersection term, a mean over paths of the mean over their cubic segments. Thesis Eq. 6.6.

    For a segment with control points A B C D: D1 is 1 where AB turns to BC in the positive direction (sine at least 0), else 0,
    D2 is the sine of the angle from AB to CD, and the term D1 relu(-D2) + (1 - D1) relu(D2), in [0, 1]. A side of no length
    has sine 0. Rectangles have no segments; a drawing without segments has 0.

    Args:
        points: (B, N, 2).
        layout: the structure of the points.
    """
    corners, weights = _segment_corners(layout)
    if not len(weights):
        return points.sum() * 0
    a, b, c, d = points[:, corners].unbind(dim=2)
    turn = _sine(b - a, c - b) >= 0
    sine = _sine(b - a, d - c)
    return (torch.where(turn, (-sine).relu(), sine.relu()) * weights.to(sine)).sum(dim=1).mean()


def trace_stages(target: Tensor, config: TraceConfig) -> list[Stage]:
    """Return the stages that trace a picture, for `runtime.optimize.optimize`; their scenes are `VectorScene`s.

    The first makes a scene of the target's border colour; each adds paths where the error is and trains all of them. A
    simple picture gets fewer paths than asked for. The stages draw no random numbers.

    Args:
        target: (3, H, W) float32 RGB in [0, 1].
        config: paths, stages, steps, rates.
    """
    pixels = np.ascontiguousarray(target.permute(1, 2, 0).double().cpu().numpy())
    counts = stage_counts(config.paths, config.stages)
    unit = max(target.shape[1:]) / 240  # the length that rates and distances are given for
    return [
        Stage(
            name=f"trace-{index + 1}",
            steps=config.steps,
            begin=functools.partial(_begin, pixels=pixels, total=sum(counts[: index + 1]), config=config),
            optimizer=functools.partial(_optimizer, rate=config.rate * unit),
            loss=functools.partial(_loss, target=target, unit=unit, config=config),
            rate=functools.partial(_rate, steps=config.steps),
            after=_clamp,
        )
        for index in range(len(counts))
    ]


def trace(
    target: Tensor, config: TraceConfig, *, seed: int = 0, report: Callable[[Progress], None] | None = None
) -> Drawing:
    """Return a drawing, of one scene, that shows the (3, H, W) target; `report` is told of every step."""
    scene = optimize(trace_stages(target, config), seed=seed, restore=VectorScene.from_state, report=report)
    return scene.drawing().clone()


def stage_counts(paths: int, stages: int) -> list[int]:
    """Return how many paths each stage adds: `paths` in all, the first two stages half as many as the others."""
    stages = min(stages, paths)
    shares = np.cumsum([1.0, 1.0, *[2.0] * stages][:stages])
    ends = np.maximum(np.round(paths * shares / shares[-1]).astype(int), np.arange(1, stages + 1))
    return np.diff(ends, prepend=0).tolist()


def _begin(
    previous: nn.Module | None, _: torch.Generator, *, pixels: np.ndarray, total: int, config: TraceConfig
) -> VectorScene:
    """Return the scene with useless paths dropped and new ones added where the error is, up to `total`."""
    size = pixels.shape[:2]
    drawing = _blank(pixels) if previous is None else _useful(previous.drawing().clone())
    with torch.no_grad():
        drawn = VectorScene(drawing).render()[0].permute(1, 2, 0).double().cpu().numpy()
    missing = total - drawing.layout.num_paths
    patches = find_patches(pixels, drawn, missing, segments=config.segments, least=config.least)
    if patches:
        added = Drawing(
            layout=Layout((Kind.NONZERO,) * len(patches), ((config.segments,),) * len(patches)),
            points=torch.tensor(np.concatenate([patch.points for patch in patches]), dtype=torch.float32)[None],
            colours=torch.tensor(np.array([[*patch.colour, 1.0] for patch in patches]), dtype=torch.float32)[None],
            widths=torch.ones(1, len(patches)),
            background=drawing.background,
            size=size,
        )
        drawing = drawing.append(added)
    return VectorScene(drawing, train=("points", "colours"))


def _blank(pixels: np.ndarray) -> Drawing:
    """Return the drawing of no paths over the border's colour."""
    background = torch.tensor(border_colour(pixels), dtype=torch.float32)[None]
    nothing = [torch.zeros(1, 0, *rest) for rest in ((2,), (4,), ())]
    return Drawing(Layout((), ()), *nothing, background=background, size=pixels.shape[:2])


def _useful(drawing: Drawing) -> Drawing:
    """Return the drawing without the paths that have shrunk to less than a pixel."""
    areas = path_areas(drawing)[0]
    return drawing.select([path for path, area in enumerate(areas.tolist()) if area >= 1])


def _optimizer(scene: VectorScene, *, rate: float) -> torch.optim.Optimizer:
    groups = [{"params": [scene.points], "lr": rate}, {"params": [scene.colours], "lr": 0.01}]
    return torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-12)


def _rate(step: int, *, steps: int) -> float:
    """Return the factor on the rates: a cosine from 1 to 0.1."""
    return 0.1 + 0.45 * (1 + np.cos(np.pi * step / steps))


def _loss(
    scene: VectorScene, _: int, __: torch.Generator, *, target: Tensor, unit: float, config: TraceConfig
) -> dict[str, Tensor]:
    weights = _weights(scene.drawing(), config.reach * unit, config.floor)
    return {
        "udf": udf_loss(scene.render(), target, weights),
        "xing": config.crossing * xing_loss(scene.points, scene.layout),
    }


def _weights(drawing: Drawing, reach: float, floor: float) -> Tensor:
    """Return (B, H, W) weights from distances on cells that are small against `reach`."""
    cell = max(int(reach // 5), 1)
    distance = boundary_distance(drawing, cell=cell)
    if cell > 1:
        distance = distance.clamp(max=reach)[:, None].repeat_interleave(cell, -1).repeat_interleave(cell, -2)[:, 0]
        distance = distance[:, : drawing.size[0], : drawing.size[1]]
    return distance_weights(distance, reach, floor)


def _clamp(scene: VectorScene, *_: object) -> None:
    scene.clamp_()
    scene.colours[..., 3] = 1.0  # flat opaque paths: what an editor expects, and what keeps layers apart


def _boundary_points(drawing: Drawing, spacing: float) -> Tensor:
    """Return (B, M, 2) points along all paths, less than `spacing` apart along cubics."""
    corners, weights = _segment_corners(drawing.layout)
    if not len(weights):
        return drawing.points[:, :0]
    cubics = drawing.points[:, corners]  # (B, S, 4, 2)
    longest = (cubics[:, :, 1:] - cubics[:, :, :-1]).norm(dim=-1).sum(dim=-1).amax(dim=0)
    counts = (longest / spacing).ceil().clamp(1, 4096).long()
    segment = torch.repeat_interleave(torch.arange(len(counts)), counts)
    first = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    t = ((torch.arange(len(segment)) - first) / counts[segment]).to(cubics)[:, None]
    basis = torch.cat(((1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3), dim=1)
    return torch.einsum("mk,bmkd->bmd", basis, cubics[:, segment])


def _nearest_distance(points: np.ndarray, shape: list[int]) -> np.ndarray:
    """Return the (h, w) distance of each cell's middle to the nearest of (M, 2) points, in cells."""
    holder = np.full((shape[0] * shape[1], 2), np.inf)
    columns, rows = np.floor(points).astype(np.int64).T
    seen = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    if not seen.any():
        return np.full(shape, np.inf)
    cells = rows[seen] * shape[1] + columns[seen]
    holder[cells] = points[seen]
    empty = np.isinf(holder[:, 0]).reshape(shape)
    row, column = ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True)
    nearest = holder[row * shape[1] + column]
    middles = np.stack(np.meshgrid(np.arange(shape[1]), np.arange(shape[0])), axis=-1) + 0.5
    return np.linalg.norm(nearest - middles, axis=-1)


@functools.lru_cache(maxsize=64)
def _segment_corners(layout: Layout) -> tuple[Tensor, Tensor]:
    """Return (S, 4) indices of every cubic segment's points, and (S,) weights for a mean over paths of means."""
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
        return torch.zeros(0, 4, dtype=torch.int64), torch.zeros(0)
    return torch.from_numpy(np.concatenate(corners)), torch.from_numpy(np.concatenate(weights))


def _sine(u: Tensor, v: Tensor) -> Tensor:
    """Return the sine of the angle from u to v, 0 where either is zero; (..., 2)."""
    cross = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    product = u.square().sum(dim=-1) * v.square().sum(dim=-1)
    return cross * torch.where(product > 0, product, torch.ones_like(product)).rsqrt()
