"""The stages of `runtime.vectorize`: a flat picture's contours, refined; else LIVE's, scaled down."""

from collections.abc import Callable
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
from runtime.vector.paths import Drawing
from runtime.vector.scene import VectorScene
from runtime.vector.trace.flat.drawing import trace_flat
from runtime.vector.trace.flat.refine import refining_stage
from runtime.vector.trace.live import TraceConfig, trace_stages
from runtime.vector.trace.missing import missing_of
from runtime.vector.trace.remainder import with_remainder
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
    whole = read_rgba(config.picture)
    # Contours are traced at the picture's own size: scaled down, its edges would be mixtures of mixtures.
    flat = trace_flat(whole, config.paths) if config.contours else None
    stages = layered(whole, config, report) if flat is None else contoured(whole, flat, config, report)
    return with_history(stages) if config.video else stages


def contoured(rgba: Float[Tensor, "4 H W"], flat: Drawing, config: "Config", report: Report) -> list[Stage]:
    """Return the stages of a flat picture: its drawing refined, and paths added where it leaves something out."""
    transparent = is_transparent(rgba)
    paper = paper_colour(rgba) if transparent else torch.ones(3)
    target = before(rgba, paper)
    stages = [refining_stage(flat, target, paper if transparent else None, config.steps)]
    if not transparent:
        return [*stages, remainder(target, config, report)]
    # What lies on nothing would hide it. The paper that it was compared with is no part of it.
    return [*stages, telling(target, config, report), still("transparency", _on_white)]


def layered(whole: Float[Tensor, "4 H W"], config: "Config", report: Report) -> list[Stage]:
    """Return LIVE's stages."""
    rgba = scaled_down_rgba(whole, config.size)
    transparent = is_transparent(rgba)
    # A colour that the picture does not have, so that paths which show it are known to be paper.
    paper = paper_colour(rgba) if transparent else torch.ones(3)
    target = before(rgba, paper)
    stages = [*trace_stages(target, trace_config(config)), remainder(target, config, report)]
    return [*stages, transparency(rgba)] if transparent else stages


def remainder(target: Float[Tensor, "3 H W"], config: "Config", report: Report) -> Stage:
    """Return the stage that adds paths for what the drawing leaves out, and reports what it leaves out then."""
    stage = telling(target, config, report)
    added = still("remainder", lambda drawing: with_remainder(drawing, target, config.paths))
    return replace(stage, name=added.name, begin=added.begin)


def telling(target: Float[Tensor, "3 H W"], config: "Config", report: Report) -> Stage:
    """Return the stage that reports what the drawing leaves out of the picture, and changes nothing."""

    def advance(scene: VectorScene, step: int, generator: torch.Generator) -> None:
        missing = missing_of(scene, target)
        if missing is not None:
            full = scene.layout.num_paths >= config.paths
            remedy = f"--paths than {config.paths}" if full else f"--size than {config.size}, or a lower --min-gain"
            report(Note(f"not drawn: {missing}; give a larger {remedy}"))

    return replace(still("check", lambda drawing: drawing), advance=advance)


def still(name: str, change: Callable[[Drawing], Drawing]) -> Stage:
    """Return a stage that changes a drawing at its beginning; its one step is there for the preview."""
    return Stage(
        name=name,
        steps=1,
        begin=lambda scene, generator: VectorScene(change(scene.drawing().detach()), train=("points", "colours")),
        restore=VectorScene.from_state,
        advance=lambda scene, step, generator: None,
    )


def _on_white(drawing: Drawing) -> Drawing:
    return replace(drawing, background=torch.ones_like(drawing.background))


def is_transparent(rgba: Float[Tensor, "4 H W"]) -> bool:
    """Return whether some pixel of a picture is less than opaque."""
    return bool((rgba[3] < 1).any())


def transparency(rgba: Float[Tensor, "4 H W"]) -> Stage:
    """Return the stage that gives a traced drawing the picture's alpha."""
    return still("transparency", lambda drawing: with_transparency(drawing, rgba))


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
