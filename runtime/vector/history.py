"""How a drawing came to be: drawings on the way, kept in the scene, as an MP4 and as an animated SVG."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.files import replace_file
from runtime.film import write_film
from runtime.loop.adam import Optimizer
from runtime.loop.optimize import Stage
from runtime.loop.scene import Scene
from runtime.vector.paths import Drawing
from runtime.vector.raster import rasterize
from runtime.vector.scene import VectorScene
from runtime.vector.svg.write import SVG_NAMESPACE, path_lines

FRAMES = 120
"""Drawings of a film, at most, but for the first and the last."""

RATE = 30
"""Frames a second."""

HOLD = 30
"""Frames that the finished drawing stays."""

SIDE = 512
"""Smallest side of a film's frames in pixels."""

ANIMATED = 40
"""Drawings of an animated SVG, at most: each of them is in the file as a whole."""

ANIMATED_S = 5.0
"""Seconds of an animated SVG, of which the last drawing stays a fifth."""


def with_history(stages: Sequence[Stage], frames: int = FRAMES) -> list[Stage]:
    """Return stages that keep about `frames` drawings on the way in their scenes, evenly over all steps.

    They are part of a scene's state, so that a resumed run has the whole film.
    """
    total = sum(stage.steps for stage in stages)
    every, before, filmed = max(1, math.ceil(total / frames)), 0, []
    for stage in stages:
        filmed.append(_filmed(stage, before, every))
        before += stage.steps
    return filmed


def _filmed(stage: Stage, offset: int, every: int) -> Stage:
    """Return a stage that keeps the drawing after each step whose number, over all stages, `every` divides."""

    def begin(before: Scene | None, generator: torch.Generator) -> Scene:
        scene = stage.begin(before, generator)
        assert isinstance(scene, VectorScene)
        # A stage makes a new scene, which begins without the drawings of the one before.
        scene.history = [*before.history] if isinstance(before, VectorScene) else []
        if not scene.history:
            scene.record()
        return scene

    def after(scene: VectorScene, optimizer: Optimizer, step: int, generator: torch.Generator) -> None:
        if stage.after is not None:
            stage.after(scene, optimizer, step, generator)
        if (offset + step + 1) % every == 0:
            scene.record()

    return replace(stage, begin=begin, after=after)


def write_history(
    scene: VectorScene,
    film: Path,
    animation: Path,
    *,
    change: Callable[[Drawing], Drawing] = lambda drawing: drawing,
) -> list[Path]:
    """Write an MP4 and an animated SVG of how a scene came to be; return both paths.

    Args:
        scene: the finished one, with its history.
        film: the MP4 file.
        animation: the SVG file.
        change: what is done to each drawing first.
    """
    drawings = [change(drawing.detach()) for drawing in (*scene.history, scene.drawing())]
    write_film(film, _pictures(drawings, scene.backend), rate=RATE)
    step = math.ceil(len(drawings) / ANIMATED)
    # Counted from the end: the finished drawing has to be there.
    replace_file(animation, format_animation(drawings[::-1][::step][::-1]))
    return [film, animation]


def _pictures(drawings: Sequence[Drawing], backend: str) -> Iterator[Float[Tensor, "3 H W"]]:
    """Yield the frames of a film, each drawing at one size, the last one for `HOLD` frames."""
    height, width = drawings[-1].size
    # A whole factor, so that lines between pixels stay between pixels; of the last size, as a film has one.
    factor = math.ceil(SIDE / min(height, width))
    picture = torch.empty(0)
    for drawing in drawings:
        with torch.no_grad():
            picture = rasterize(drawing, (height * factor, width * factor), backend=backend)[0]
        yield picture
    for _ in range(HOLD - 1):
        yield picture


def format_animation(drawings: Sequence[Drawing], seconds: float = ANIMATED_S) -> str:
    """Return an SVG document that shows drawings one after another, again and again.

    Each is a group that is shown for its share of the time (SMIL, which browsers play); a viewer that plays nothing
    shows the last one. Coordinates have one decimal.

    Args:
        drawings: of one canvas, at least one.
        seconds: of a round; the last drawing stays a fifth of it.
    """
    height, width = drawings[-1].size
    ends = [0.8 * (index + 1) / max(1, len(drawings) - 1) for index in range(len(drawings) - 1)]
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="{SVG_NAMESPACE}" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
    ]
    for index, drawing in enumerate(drawings):
        start, is_last = (ends[index - 1] if index else 0.0), index == len(drawings) - 1
        # A group whose time has not come is hidden from 0 on: SMIL's first key time must be 0.
        shown = [(0.0, "none")] if start else []
        shown += [(start, "inline"), *([] if is_last else [(ends[index], "none")])]
        values, times = ";".join(value for _, value in shown), ";".join(f"{time:.4g}" for time, _ in shown)
        lines.append(f'<g display="{"inline" if is_last else "none"}">')
        lines.append(
            f'<animate attributeName="display" calcMode="discrete" dur="{seconds:g}s" repeatCount="indefinite" '
            f'values="{values}" keyTimes="{times}"/>'
        )
        # A digit fewer halves the file, and a tenth of a pixel does not show on the way.
        rounded = replace(drawing, points=drawing.points.round(decimals=1))
        lines += [*path_lines(rounded, named=False, background=True), "</g>"]
    return "\n".join([*lines, "</svg>"]) + "\n"
