"""LIVE: trace a raster picture with closed paths, layer by layer.

Notation: I (3, H, W) target, J (B, 3, H, W) rendering, d (H, W) distance of each pixel's middle to the nearest path
boundary in pixels, d' its weight. Thesis 6.4.1, Eq. 6.5 and 6.6; Ma et al., arXiv:2206.04655.
"""

import functools
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn import functional

from runtime.loop.adam import Adam, Optimizer
from runtime.loop.events import Report
from runtime.loop.optimize import Stage, optimize
from runtime.vector.paths import Drawing, Kind, Layout, path_areas
from runtime.vector.scene import VectorScene
from runtime.vector.trace.boundaries import boundary_distance, segment_corners
from runtime.vector.trace.regions import Patch, border_colour, find_patches

SEARCH_SIDE = 256
"""Longer side, in pixels, at which the places of new paths are sought."""
MIN_SEARCH_SIDE = 16
"""Longer side, in pixels, to which smaller pictures are enlarged for that: their parts would have too few pixels."""


@dataclass(frozen=True, kw_only=True)
class TraceConfig:
    """How to trace a picture."""

    paths: int = 64
    """Closed paths at most, 1 to 1024."""
    segments: int = 4
    """Cubic segments a path, 2 to 16."""
    stages: int = 5
    """Stages that add paths, 1 to 16; later ones add more."""
    steps: int = 60
    """Optimizer steps a stage, at least 0."""
    lr: float = 0.5
    """Initial learning rate of control points, in pixels of a canvas of 240; that of colours is 0.01."""
    reach: float = 10.0
    """Distance from a path's boundary, in pixels of a canvas of 240, at which the weight is least."""
    floor: float = 0.3
    """Weight of the pixels beyond `reach`, relative to those on a boundary, 0 to 1."""
    self_intersection: float = 1e-3
    """Weight of the self-intersection term."""
    min_gain: float = 2e-6
    """Mean squared error that a path must save to be added, at least 0."""


def distance_weights(distance: Float[Tensor, "B H W"], reach: float, floor: float = 0.0) -> Float[Tensor, "B H W"]:
    """Return the weights d' of Eq. 6.5, which sum to 1 over a picture.

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


def udf_loss(
    images: Float[Tensor, "B 3 H W"],
    target: Float[Tensor, "3 H W"] | Float[Tensor, "B 3 H W"],
    weights: Float[Tensor, "B H W"],
) -> Float[Tensor, ""]:
    """Return the mean over scenes of 1/3 sum_i d'_i sum_c (I - J)^2. Thesis Eq. 6.5.

    Args:
        images: J.
        target: I.
        weights: d'.
    """
    return (weights * (images - target).square().sum(dim=1)).sum(dim=(-2, -1)).mean() / 3


def self_intersection_loss(points: Float[Tensor, "B N 2"], layout: Layout) -> Float[Tensor, ""]:
    """Return the self-intersection term, a mean over paths of the mean over their cubic segments. Thesis Eq. 6.6.

    For a segment with control points A B C D: D1 is 1 where AB turns to BC in the positive direction (sine at least 0),
    else 0, D2 is the sine of the angle from AB to CD, and the term D1 relu(-D2) + (1 - D1) relu(D2), in [0, 1]. A side
    of no length has sine 0. Rectangles have no segments; a drawing without segments has 0.

    Args:
        points: control points of B scenes.
        layout: their structure.
    """
    corners, weights = segment_corners(layout)
    if not len(weights):
        # A plain 0 has no graph, and `backward` fails where it is the only term.
        return points.sum() * 0
    a, b, c, d = points[:, corners.to(points.device, non_blocking=True)].unbind(dim=2)
    turn = _sine(b - a, c - b) >= 0
    sine = _sine(b - a, d - c)
    return (torch.where(turn, (-sine).relu(), sine.relu()) * weights.to(sine, non_blocking=True)).sum(dim=1).mean()


def trace_stages(target: Float[Tensor, "3 H W"], config: TraceConfig) -> list[Stage]:
    """Return the stages that trace a picture, for `runtime.loop.optimize.optimize`; their scenes are `VectorScene`s.

    The first makes a scene of the target's border colour; each adds paths where the error is and trains all of them. A
    simple picture gets fewer paths than asked for. The stages draw no random numbers.

    Args:
        target: RGB in [0, 1].
        config: paths, stages, steps, learning rate.
    """
    counts = stage_counts(config.paths, config.stages)
    # Learning rates and distances are given for a canvas of 240, the authors' size.
    unit = max(target.shape[1:]) / 240
    return [
        Stage(
            name=f"trace-{index + 1}",
            steps=config.steps,
            begin=functools.partial(_begin, target=target, total=sum(counts[: index + 1]), config=config),
            restore=VectorScene.from_state,
            optimizer=functools.partial(_optimizer, lr=config.lr * unit),
            loss=functools.partial(_loss, target=target, unit=unit, config=config),
            lr_factor=functools.partial(_lr_factor, steps=config.steps),
            after=_clamp,
        )
        for index in range(len(counts))
    ]


def trace(
    target: Float[Tensor, "3 H W"],
    config: TraceConfig,
    *,
    seed: int = 0,
    report: Report | None = None,
) -> Drawing:
    """Return a drawing, of one scene, that shows the target; `report` is called after every step."""
    scene = optimize(trace_stages(target, config), seed=seed, report=report)
    return cast(VectorScene, scene).drawing().clone()


def stage_counts(paths: int, stages: int) -> list[int]:
    """Return how many paths each stage adds: `paths` in all, the first two stages half as many as the others."""
    stages = min(stages, paths)
    # Of 64 paths, 5 stages add 8, 8, 16, 16 and 16: the thesis adds 8 to 16 at a time (6.4.1).
    shares = np.cumsum([1.0, 1.0, *[2.0] * stages][:stages])
    ends = np.maximum(np.round(paths * shares / shares[-1]).astype(int), np.arange(1, stages + 1))
    return np.diff(ends, prepend=0).tolist()


def _begin(
    previous: VectorScene | None, _: torch.Generator, *, target: Float[Tensor, "3 H W"], total: int, config: TraceConfig
) -> VectorScene:
    """Return the scene with useless paths dropped and new ones added where the error is, up to `total`."""
    drawing = _blank(target) if previous is None else _useful(previous.drawing().clone())
    with torch.no_grad():
        drawn = VectorScene(drawing).render()[0]
    small, small_drawn = _searchable(target), _searchable(drawn)
    # Counted against the total, so that paths that have been dropped are made up for.
    missing = total - drawing.layout.num_paths
    patches = find_patches(small, small_drawn, missing, segments=config.segments, min_gain=config.min_gain)
    if patches:
        added = _painted(patches, drawing.background, small.shape[:2])
        drawing = drawing.append(added.resized(drawing.size))
    return VectorScene(drawing, train=("points", "colours"))


def _searchable(image: Float[Tensor, "3 H W"]) -> Float64[np.ndarray, "h w 3"]:
    """Return a picture with channels last, at the size at which places are sought."""
    scale = SEARCH_SIDE / max(image.shape[1:])
    if scale < 1:
        shape = [max(round(side * scale), 1) for side in image.shape[1:]]
        image = functional.interpolate(image[None], size=shape, mode="area")[0]
    elif max(image.shape[1:]) < MIN_SEARCH_SIDE:
        factor = MIN_SEARCH_SIDE // max(image.shape[1:])
        image = image.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    return np.ascontiguousarray(image.permute(1, 2, 0).double().cpu().numpy()).clip(0, 1)


def _painted(patches: list[Patch], background: Float[Tensor, "1 3"], size: tuple[int, int]) -> Drawing:
    """Return the patches as opaque paths."""
    segments = len(patches[0].points) // 3
    return Drawing(
        layout=Layout((Kind.NONZERO,) * len(patches), ((segments,),) * len(patches)),
        points=torch.tensor(np.concatenate([patch.points for patch in patches]), dtype=torch.float32)[None],
        colours=torch.tensor(np.array([[*patch.colour, 1.0] for patch in patches]), dtype=torch.float32)[None],
        widths=torch.ones(1, len(patches)),
        background=background,
        size=size,
    )


def _blank(target: Float[Tensor, "3 H W"]) -> Drawing:
    """Return the drawing of no paths over the border's colour."""
    colour = border_colour(target.permute(1, 2, 0).double().cpu().numpy())
    nothing = [torch.zeros(1, 0, *rest) for rest in ((2,), (4,), ())]
    background = torch.tensor(colour, dtype=torch.float32)[None]
    height, width = target.shape[1:]
    return Drawing(Layout((), ()), *nothing, background=background, size=(height, width))


def _useful(drawing: Drawing) -> Drawing:
    """Return the drawing without the paths that have shrunk to less than a pixel."""
    areas = path_areas(drawing)[0]
    return drawing.select([path for path, area in enumerate(areas.tolist()) if area >= 1])


def _optimizer(scene: VectorScene, *, lr: float) -> Optimizer:
    groups = [{"params": [scene.points], "lr": lr}, {"params": [scene.colours], "lr": 0.01}]
    return Adam(groups, betas=(0.9, 0.99), eps=1e-12)


def _lr_factor(step: int, *, steps: int) -> float:
    """Return the factor on the learning rates: a cosine from 1 to 0.1."""
    return 0.1 + 0.45 * (1 + np.cos(np.pi * step / steps))


def _loss(
    scene: VectorScene, _: int, __: torch.Generator, *, target: Float[Tensor, "3 H W"], unit: float, config: TraceConfig
) -> dict[str, Float[Tensor, ""]]:
    drawing = scene.drawing()
    weights = _weights(drawing, config.reach * unit, config.floor)
    return {
        "udf": udf_loss(scene.render(), target, weights),
        "self_intersection": config.self_intersection * self_intersection_loss(drawing.points, drawing.layout),
    }


def _weights(drawing: Drawing, reach: float, floor: float) -> Float[Tensor, "B H W"]:
    """Return weights of pixels, from distances on cells that are small against `reach`, interpolated."""
    cell = max(round(reach / 2.5), 1)
    height, width = drawing.size
    distance = boundary_distance(drawing, cell=cell).clamp(max=reach)
    if cell > 1:
        # Cells round up: the enlarged map may be larger than the picture and is cut below.
        distance = functional.interpolate(distance[:, None], scale_factor=cell, mode="bilinear")[:, 0]
    return distance_weights(distance[:, :height, :width], reach, floor)


def _clamp(scene: VectorScene, *_: object) -> None:
    scene.clamp_()
    scene.drawing().colours[..., 3] = 1.0  # flat opaque paths: what an editor expects, and what keeps layers apart


def _sine(u: Float[Tensor, "*shape 2"], v: Float[Tensor, "*shape 2"]) -> Float[Tensor, "*shape"]:
    """Return the sine of the angle from u to v, 0 where either is zero."""
    cross = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    # One root of the product, and of 1 where that is 0: the gradient there is 0 instead of NaN.
    product = u.square().sum(dim=-1) * v.square().sum(dim=-1)
    return cross * torch.where(product > 0, product, torch.ones_like(product)).rsqrt()
