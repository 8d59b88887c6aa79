"""The stages of `runtime.vectorize`: LIVE's, at a size that the picture is scaled down to."""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from runtime.loop.events import Report
from runtime.loop.optimize import Stage
from runtime.pictures import read_picture
from runtime.vector.history import with_history
from runtime.vector.trace.live import TraceConfig, trace_stages

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
    picture = read_picture(config.picture)
    stages = trace_stages(scaled_down(picture, config.size), trace_config(config))
    return with_history(stages) if config.video else stages


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


def scaled_down(picture: Float[Tensor, "3 H W"], size: int) -> Float[Tensor, "3 _ _"]:
    """Return a picture whose longer side is at most `size`, each pixel the mean of those it covers."""
    height, width = picture.shape[1:]
    scale = size / max(height, width)
    if scale >= 1:
        return picture
    shape = (max(round(height * scale), 1), max(round(width * scale), 1))
    smaller = functional.interpolate(picture[None], size=shape, mode="bilinear", antialias=True)
    return smaller[0].clamp(0, 1)
