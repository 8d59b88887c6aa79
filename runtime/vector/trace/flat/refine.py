"""Refining a drawing by its picture's pixels, while lines stay lines and smooth joints stay smooth."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from runtime.loop.adam import Adam, Optimizer
from runtime.loop.optimize import Stage
from runtime.vector.paths import Drawing, Kind
from runtime.vector.scene import VectorScene

STEPS = 40
"""Steps of pictures of up to `PIXELS` pixels; larger ones, whose edges are a smaller part of them, get fewer."""
PIXELS = 300 * 300
FEWEST = 10
"""Steps at least."""
LRS = {"points": 0.1, "widths": 0.1, "colours": 0.01}
"""Initial learning rates: of points and widths in pixels."""
GOOD = 1e-5
"""Mean squared error below which nothing is refined: 50 dB."""
STRAIGHT = 1e-3
"""Distance in pixels of controls from the thirds of a chord up to which a segment is a line."""
PARALLEL = 1e-4
"""1 minus the cosine up to which a joint is smooth."""
NEARLY_PARALLEL = 0.01
"""The same after a small step; 8 degrees."""


@dataclass(frozen=True)
class Structure:
    """What of a drawing's points belongs together."""

    lines: Int64[np.ndarray, "L 4"]
    """Points of each segment that is a line."""
    upright: Bool[np.ndarray, "L 2"]
    """Whether all of them have one x, or one y."""
    smooth: Int64[np.ndarray, "J 3"]
    """Control, end and control of each smooth joint."""


def structure_of(drawing: Drawing, straight: float = STRAIGHT, parallel: float = PARALLEL) -> Structure:
    """Return the lines and smooth joints of a drawing of one scene.

    Args:
        drawing: one scene.
        straight: pixels by which controls of a line may lie beside the thirds of its chord.
        parallel: 1 minus the cosine of the angle by which a smooth joint may turn.
    """
    points = drawing.points[0].double().numpy()
    segments, joints = [], []
    for path, kind in enumerate(drawing.layout.kinds):
        first = drawing.layout.path_slice(path).start
        for count in drawing.layout.contours[path]:
            own = 3 * np.arange(count)[:, None] + np.arange(4)
            if kind != Kind.STROKE:
                own %= 3 * count
            segments.append(first + own)
            joints.append(first + _joints(count, kind == Kind.STROKE))
            first += 3 * count + (kind == Kind.STROKE)
    table = np.concatenate([*segments, np.zeros((0, 4), dtype=np.int64)])
    places = points[table]
    thirds = places[:, :1] + (places[:, 3:] - places[:, :1]) * np.arange(4)[None, :, None] / 3
    is_line = np.abs(places - thirds).max(axis=(1, 2), initial=0) <= straight
    smooth = np.concatenate([*joints, np.zeros((0, 3), dtype=np.int64)])
    before, after = (points[smooth[:, 1]] - points[smooth[:, 0]], points[smooth[:, 2]] - points[smooth[:, 1]])
    length = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    aligned = (before * after).sum(axis=1) >= (1 - parallel) * np.maximum(length, 1e-9)
    lines = table[is_line]
    upright = np.ptp(points[lines], axis=1) <= straight
    return Structure(lines, upright, smooth[aligned])


def _joints(count: int, is_open: bool) -> Int64[np.ndarray, "J 3"]:
    """Return the points around each end within a contour of some segments."""
    ends = 3 * (np.arange(1, count) if is_open else np.arange(count))
    around = ends[:, None] + np.array([-1, 0, 1])
    return around if is_open else around % (3 * count)


def restored(points: Float64[np.ndarray, "N 2"], structure: Structure) -> Float64[np.ndarray, "N 2"]:
    """Return points moved as little as that takes to what a structure says: lines straight, joints smooth."""
    result = points.copy()
    lines = structure.lines
    if len(lines):
        places = points[lines]
        # Ends of the line of least squares through four even places.
        weights = np.array([[0.7, 0.4, 0.1, -0.2], [-0.2, 0.1, 0.4, 0.7]])
        ends = np.einsum("ek,lkd->led", weights, places)
        middle = places.mean(axis=1, keepdims=True)
        ends = np.where(structure.upright[:, None], middle, ends)
        sums, counts = np.zeros_like(points), np.zeros(len(points))
        for end, index in ((0, 0), (1, 3)):
            np.add.at(sums, lines[:, index], ends[:, end])
            np.add.at(counts, lines[:, index], 1)
        moved = counts > 0
        result[moved] = sums[moved] / counts[moved, None]
        # An upright line rules its own coordinate, whatever the line next to it says.
        for axis in (0, 1):
            own = structure.upright[:, axis]
            for index in (0, 3):
                result[lines[own, index], axis] = middle[own, 0, axis]
        start, end = result[lines[:, 0]], result[lines[:, 3]]
        for third in (1, 2):
            result[lines[:, third]] = start + (end - start) * third / 3
    if len(structure.smooth):
        _align(result, structure)
    return result


def _align(points: Float64[np.ndarray, "N 2"], structure: Structure) -> None:
    """Give both arms of each smooth joint one direction: a line's own, else their mean."""
    before, middle, after = structure.smooth.T
    fixed = np.zeros(len(points), dtype=bool)
    fixed[structure.lines[:, 1:3]] = True
    one, two = points[middle] - points[before], points[after] - points[middle]
    lengths = [np.maximum(np.linalg.norm(arm, axis=1), 1e-9) for arm in (one, two)]
    units = one / lengths[0][:, None], two / lengths[1][:, None]
    # A short arm's direction is uncertain: turned to it, a long one would move far.
    mean = one * lengths[0][:, None] + two * lengths[1][:, None]
    mean /= np.maximum(np.linalg.norm(mean, axis=1), 1e-9)[:, None]
    mean = np.where(fixed[before][:, None], units[0], np.where(fixed[after][:, None], units[1], mean))
    left, right = ~fixed[before], ~fixed[after]
    points[before[left]] = (points[middle] - mean * lengths[0][:, None])[left]
    points[after[right]] = (points[middle] + mean * lengths[1][:, None])[right]


def refining_stage(
    drawing: Drawing,
    target: Float[Tensor, "3 H W"],
    paper: Float[Tensor, " 3"] | None,
    steps: int,
    train: Sequence[str] = ("points", "widths"),
) -> Stage:
    """Return the stage that begins with a drawing and refines its places and widths by a picture.

    Args:
        drawing: of `trace_flat`.
        target: the picture, a transparent one before the paper.
        paper: what a transparent picture is compared before; None where it is opaque.
        steps: most steps.
        train: what of the drawing is refined.
    """
    pixels = target.shape[1] * target.shape[2]
    own = drawing if paper is None else _before(drawing, paper)
    with torch.no_grad():
        error = float((VectorScene(own).render()[0] - target).square().mean())
    count = 1 if error <= GOOD else max(min(STEPS, STEPS * PIXELS // pixels), FEWEST)
    structure = structure_of(drawing)
    return Stage(
        name="contours",
        # One at least, without any change, for the preview.
        steps=max(min(count, steps), 1),
        begin=lambda scene, generator: VectorScene(own, train=train),
        restore=VectorScene.from_state,
        optimizer=functools.partial(refining_optimizer, train=train, scale=1.0 if min(count, steps) > 1 else 0.0),
        loss=lambda scene, step, generator: {"error": (scene.render()[0] - target).square().mean()},
        lr_factor=lambda step: 1 - step / count,
        after=functools.partial(_after, structure=structure, alpha=drawing.colours[..., 3].clone()),
    )


def _before(drawing: Drawing, paper: Float[Tensor, " 3"]) -> Drawing:
    from dataclasses import replace

    return replace(drawing, background=paper[None].to(drawing.background))


def refining_optimizer(scene: VectorScene, *, train: Sequence[str], scale: float = 1.0) -> Optimizer:
    """Return the optimizer that fits contours to their picture.

    Args:
        scene: of contours.
        train: what of it is refined.
        scale: factor on `LRS`.
    """
    groups = [{"params": [getattr(scene, name)], "lr": LRS[name] * scale} for name in train]
    return Adam(groups, betas=(0.9, 0.99), eps=1e-12)


def _after(scene: VectorScene, *_: object, structure: Structure, alpha: Float[Tensor, "1 P"]) -> None:
    scene.clamp_()
    scene.colours[..., 3] = alpha
    restore_(scene, structure)


def restore_(scene: VectorScene, structure: Structure) -> None:
    """Move the points of a scene of one drawing as little as that takes to what a structure says."""
    points = restored(scene.points[0].double().cpu().numpy(), structure)
    scene.points.copy_(torch.from_numpy(points)[None])


def restore_after_step_(scene: VectorScene, reach: float) -> None:
    """Make lines and smooth joints what they were before a step: what is nearly so after it.

    Nothing has to be known of the drawing before, so that a run that is resumed goes on alike.

    Args:
        scene: of one drawing.
        reach: pixels by which a coordinate may have moved.
    """
    restore_(scene, structure_of(scene.drawing().detach(), STRAIGHT + 3 * reach, NEARLY_PARALLEL))
