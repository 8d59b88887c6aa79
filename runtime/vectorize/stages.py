"""The stages of `runtime.vectorize`: LIVE's, at a size that the picture is scaled down to."""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from runtime.loop.events import Note, Report
from runtime.loop.optimize import Stage
from runtime.pictures import read_picture, read_rgba
from runtime.vector.history import with_history
from runtime.vector.scene import VectorScene
from runtime.vector.trace.live import TraceConfig, trace_stages
from runtime.vector.trace.missing import missing_of
from runtime.vector.trace.transparency import before, paper_colour, with_transparency

if TYPE_CHECKING:
    from runtime.loop.folder import RunFolder
    from runtime.vectorize.config import Config


def build(
    config: "Config",
    bundle: None,
    generator: torch.Generator,
    *,
    run: "RunFolder | None" = None,
    report: Report = lambda event: None,
) -> list[Stage]:
    """Return the stages of a configuration; see `runtime.command.method.Method.build`."""
    rgba = scaled_down_rgba(read_rgba(config.picture), config.size)
    transparent = is_transparent(rgba)
    # A colour that the picture does not have, so that paths which show it are known to be paper.
    paper = paper_colour(rgba) if transparent else torch.ones(3)
    target = before(rgba, paper)
    stages = telling(trace_stages(target, trace_config(config)), target, config, report)
    if transparent:
        stages.append(transparency(rgba))
    return with_history(stages) if config.video else stages


def telling(stages: list[Stage], target: Float[Tensor, "3 H W"], config: "Config", report: Report) -> list[Stage]:
    """Return stages of which the last one reports, at its end, what the drawing leaves out of the picture."""
    last = stages[-1]

    def after(scene: VectorScene, optimizer: torch.optim.Optimizer, step: int, generator: torch.Generator) -> None:
        if last.after is not None:
            last.after(scene, optimizer, step, generator)
        if step < last.steps - 1:
            return
        missing = missing_of(scene, target)
        if missing is not None:
            full = scene.layout.num_paths >= config.paths
            remedy = f"--paths than {config.paths}" if full else f"--size than {config.size}, or a lower --min-gain"
            report(Note(f"not drawn: {missing}; give a larger {remedy}"))

    return [*stages[:-1], replace(last, after=after)]


def is_transparent(rgba: Float[Tensor, "4 H W"]) -> bool:
    """Return whether some pixel of a picture is less than opaque."""
    return bool((rgba[3] < 1).any())


def transparency(rgba: Float[Tensor, "4 H W"]) -> Stage:
    """Return the stage that gives a traced drawing the picture's alpha; its one step is there for the preview."""

    def begin(scene: VectorScene, generator: torch.Generator) -> VectorScene:
        return VectorScene(with_transparency(scene.drawing().detach(), rgba), train=("points", "colours"))

    return Stage(
        name="transparency",
        steps=1,
        begin=begin,
        restore=VectorScene.from_state,
        advance=lambda scene, step, generator: None,
    )


def validate(config: "Config", bundle: None) -> None:
    """Raise `UserError` where the picture cannot be read."""
    read_picture(config.picture)


def trace_config(config: "Config") -> TraceConfig:
    """Return the tracer's part of a configuration."""
    return TraceConfig(
        paths=config.paths,
        segments=config.segments,
        stages=config.stages,
        steps=config.steps,
        lr=config.lr,
        self_intersection=config.self_intersection,
        min_gain=config.min_gain,
    )


def scaled_down_rgba(rgba: Float[Tensor, "4 H W"], size: int) -> Float[Tensor, "4 _ _"]:
    """Return what `scaled_down` returns of a picture with straight alpha: a pixel's colour counts by its alpha."""
    if not is_transparent(rgba):
        picture = scaled_down(rgba[:3], size)
        return torch.cat([picture, torch.ones_like(picture[:1])])
    # Premultiplied while it is averaged: what cannot be seen must not tint an edge.
    colour = scaled_down(rgba[:3] * rgba[3:], size)
    alpha = scaled_down(rgba[3:].expand(3, -1, -1), size)[:1]
    return torch.cat([(colour / alpha.clamp(min=1e-6)).clamp(0, 1), alpha])


def scaled_down(picture: Float[Tensor, "3 H W"], size: int) -> Float[Tensor, "3 _ _"]:
    """Return a picture whose longer side is at most `size`, each pixel the mean of those it covers."""
    height, width = picture.shape[1:]
    scale = size / max(height, width)
    if scale >= 1:
        return picture
    shape = (max(round(height * scale), 1), max(round(width * scale), 1))
    # With antialiasing: without it thin lines would break into dots, each traced as a path.
    smaller = functional.interpolate(picture[None], size=shape, mode="bilinear", antialias=True)
    return smaller[0].clamp(0, 1)
