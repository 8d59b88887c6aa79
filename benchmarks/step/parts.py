"""Where the time of an optimization step goes: a clock around the parts of the loop as it ships.

What is drawn is VectorFusion by `draw`, with its own loss; only the functions that it calls are wrapped, by name, while
a measurement lasts. Learning rates are 0, so that the scene stays where it is and every variant sees the same views,
times and noise at the same step.
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
from runtime.command.method import Method, draw
from runtime.engines.bundle import DiffusionBundle
from runtime.loop.events import Event, Stepped
from runtime.loop.optimize import Stage
from runtime.loop.scene import Scene
from runtime.vectorfusion import METHOD, stages
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


def timed_method(clock: Clock) -> Method[Config]:
    """Return text to SVG under a clock: its distillation alone, with learning rates of 0.

    Its networks are prepared when it is drawn first, and its scene each time anew.
    """
    ready: list[Stage] = []

    def build(config: Config, bundle: DiffusionBundle, generator: torch.Generator, **options: Any) -> list[Stage]:
        if not ready:
            stage = METHOD.build(config, TimedBundle(bundle, clock), generator, **options)[-1]
            ready.append(timed_stage(stage, clock))
        return ready

    return replace(METHOD, build=build)


def timed_stage(stage: Stage, clock: Clock) -> Stage:
    """Return a stage whose updates count for a clock and change nothing."""

    def optimizer(scene: Scene) -> torch.optim.Optimizer:
        assert stage.optimizer is not None
        adam = stage.optimizer(scene)
        adam.step = clock.around("update", adam.step)
        return adam

    after = clock.around("update", stage.after or (lambda *_: None))
    return replace(stage, optimizer=optimizer, lr_factor=lambda step: 0.0, after=after, snapshots=0)


def run_steps(method: Method[Config], config: Config, bundle: DiffusionBundle, clock: Clock) -> None:
    """Draw once with the loop that ships; the clock has every step's parts afterwards.

    The first step makes stages, scene and optimizer, too, and warms everything up: it is left out.
    """

    def report(event: Event) -> None:
        if isinstance(event, Stepped):
            clock.end()
            clock.begin()

    done = len(clock.steps)
    with watched(clock), patch.object(torch.Tensor, "backward", clock.around("backward", torch.Tensor.backward)):
        clock.begin()
        draw(method, config, bundle, report=report)
    del clock.steps[done]
