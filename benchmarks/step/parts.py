"""Text to SVG under a clock: its distillation alone, with its own loss.

Learning rates are 0, so that the scene stays where it is and every variant sees the same views, times and noise at the
same step.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.step.clock import Clock, TimedBundle, draw_timed, timed_stage
from runtime.command.method import Method
from runtime.engines.bundle import DiffusionBundle
from runtime.loop.optimize import Stage
from runtime.vectorfusion import METHOD, stages
from runtime.vectorfusion.config import Config

MEASURED = (
    "text",
    "render",
    "augment",
    "encode",
    "denoise",
    "regularize",
    "backward",
    "render_backward",
    "update",
)
"""Parts that have a clock around them; `backward` is without the renderer's share."""

PARTS = (*MEASURED, "other")
"""What a step's time is split into."""

_NAMES = {
    "random_view": "augment",
    "self_intersection_loss": "regularize",
    "saturation_penalty": "regularize",
}
"""Functions of `runtime.vectorfusion.stages` and the part that each belongs to."""


def new_clock() -> Clock:
    """Return a clock for the parts of text to SVG."""
    return Clock(MEASURED)


@contextmanager
def watched(clock: Clock) -> Iterator[None]:
    """Time the parts of VectorFusion's loss while the block runs."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(stages, "rasterize", clock.rendering(stages.rasterize)))
        for name, part in _NAMES.items():
            stack.enter_context(patch.object(stages, name, clock.around(part, getattr(stages, name))))
        yield


def timed_method(clock: Clock) -> Method[Config]:
    """Return text to SVG under a clock: its distillation alone, with learning rates of 0.

    Its networks are prepared when it is drawn first, and its scene each time anew.
    """
    ready: list[Stage] = []

    def build(config: Config, bundle: DiffusionBundle, generator: torch.Generator, **options: Any) -> list[Stage]:
        if not ready:
            stage = METHOD.build(config, TimedBundle(bundle, clock), generator, **options)[-1]
            ready.append(replace(timed_stage(stage, clock), lr_factor=lambda step: 0.0))
        return ready

    return replace(METHOD, build=build)


def run_steps(method: Method[Config], config: Config, bundle: DiffusionBundle, clock: Clock) -> None:
    """Draw once with the loop that ships; the clock has the parts of every step but the first, which warms up."""
    done = len(clock.steps)
    with watched(clock):
        draw_timed(method, config, bundle, clock)
    del clock.steps[done]
