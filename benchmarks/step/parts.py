"""Where the time of an optimization step goes: a clock around the parts of the loop as it ships.

The loop is `runtime.loop.optimize.optimize` and the loss is VectorFusion's own; only the functions that they call are
wrapped, by name, while a measurement lasts. Rates are 0, so that the scene stays where it is and every variant sees the
same views, times and noise at the same step.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

import torch

from export.verify.scene import Replaced
from runtime.engines.bundle import DiffusionBundle
from runtime.loop.optimize import Stage, optimize
from runtime.vector.scene import VectorScene
from runtime.vectorfusion import stages
from runtime.vectorfusion.config import Config

PARTS = (
    "text",
    "render",
    "augment",
    "encode",
    "denoise",
    "regularize",
    "backward",
    "render_backward",
    "update",
    "other",
)
"""What a step's time is split into; `backward` is without the renderer's share."""

_NAMES = {
    "random_view": "augment",
    "self_intersection_loss": "regularize",
    "saturation_penalty": "regularize",
}
"""Functions of `runtime.vectorfusion.stages` and the part that each belongs to."""


@dataclass
class Clock:
    """Seconds of each part of the step under way, and of the steps that are done."""

    now: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds by part of the step under way."""
    steps: list[dict[str, float]] = field(default_factory=list)
    """Milliseconds by part, and of the `step`, of each step that is done."""
    started: float = 0.0
    """When the step under way began."""

    def around(self, part: str, function: Callable) -> Callable:
        """Return a function whose time counts for a part; what it calls that is timed itself, counts for that."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            begin, inner = time.perf_counter(), sum(self.now.values())
            result = function(*args, **kwargs)
            self.now[part] += time.perf_counter() - begin - (sum(self.now.values()) - inner)
            return result

        return timed

    def rendering(self, function: Callable) -> Callable:
        """Return a renderer whose forward counts as `render`, and whose node of autograd as `render_backward`."""
        forward = self.around("render", function)

        def timed(*args: Any, **kwargs: Any) -> torch.Tensor:
            image, began = forward(*args, **kwargs), [0.0]

            def start(_upstream: Any) -> None:
                began[0] = time.perf_counter()

            def stop(_gradients: Any, _upstream: Any) -> None:
                self.now["render_backward"] += time.perf_counter() - began[0]

            if image.grad_fn is not None:
                image.grad_fn.register_prehook(start)
                image.grad_fn.register_hook(stop)
            return image

        return timed

    def begin(self) -> None:
        """Begin a step."""
        self.now.clear()
        self.started = time.perf_counter()

    def end(self) -> None:
        """End a step: what no part has had is `other`."""
        whole = time.perf_counter() - self.started
        parts = {part: 1e3 * self.now.get(part, 0.0) for part in PARTS}
        parts["other"] = max(0.0, 1e3 * whole - sum(parts.values()))
        self.steps.append({**parts, "step": 1e3 * whole})


class TimedBundle(Replaced):
    """A bundle whose denoiser and latent encoder run under a clock."""

    def __init__(self, bundle: DiffusionBundle, clock: Clock) -> None:
        """Take over what a bundle has read."""
        super().__init__(bundle, getattr(bundle, "replaced", {}))
        self.clock = clock

    def denoiser(self) -> Any:
        """Return the noise predictor."""
        return self.clock.around("denoise", super().denoiser())

    def latent_encoder(self, gradients: str = "torch") -> Any:
        """Return the autoencoder's encoder."""
        return self.clock.around("encode", super().latent_encoder(gradients))


@contextmanager
def watched(clock: Clock) -> Iterator[None]:
    """Time the parts of VectorFusion's loss while the block runs."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(stages, "rasterize", clock.rendering(stages.rasterize)))
        for name, part in _NAMES.items():
            stack.enter_context(patch.object(stages, name, clock.around(part, getattr(stages, name))))
        yield


def timed_stage(config: Config, bundle: DiffusionBundle, clock: Clock) -> Stage:
    """Return the distillation of a configuration from scratch, under a clock; its learning rates are 0."""
    stage = stages.build(config, TimedBundle(bundle, clock), torch.Generator())[-1]

    def optimizer(scene: VectorScene) -> torch.optim.Optimizer:
        assert stage.optimizer is not None
        made = stage.optimizer(scene)
        made.step = clock.around("update", made.step)
        return made

    after = clock.around("update", stage.after or (lambda *_: None))
    return replace(stage, optimizer=optimizer, lr_factor=lambda step: 0.0, after=after, snapshots=0)


def run_steps(stage: Stage, clock: Clock) -> None:
    """Go through a stage once, with the loop that ships; the clock has every step's parts afterwards.

    The first step makes scene and optimizer, too, and warms everything up: it is left out.
    """

    def report(_progress: Any) -> None:
        clock.end()
        clock.begin()

    done = len(clock.steps)
    with watched(clock), patch.object(torch.Tensor, "backward", clock.around("backward", torch.Tensor.backward)):
        clock.begin()
        optimize([stage], seed=0, report=report)
    del clock.steps[done]
