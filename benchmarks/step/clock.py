"""Where the time of an optimization step goes: a clock around the parts of a method's loop as it ships.

What runs is `draw`, with the method's own losses; only functions that it calls are wrapped, by name, while a
measurement lasts.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from export.verify.scene import Replaced
from runtime.command.method import Method, draw
from runtime.engines.bundle import DiffusionBundle
from runtime.loop.adam import Optimizer
from runtime.loop.optimize import Stage
from runtime.loop.scene import Scene


@dataclass(frozen=True)
class Reading:
    """A moment, or the time between two."""

    wall_s: float = 0.0
    """Of the clock on the wall, seconds."""
    cpu_s: float = 0.0
    """Of all threads of this process, seconds."""

    def __add__(self, other: "Reading") -> "Reading":
        return Reading(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s)

    def __sub__(self, other: "Reading") -> "Reading":
        return Reading(self.wall_s - other.wall_s, self.cpu_s - other.cpu_s)


@dataclass
class Clock:
    """Times of the parts of the step under way, and of the steps that are done."""

    parts: Sequence[str]
    """What a step is split into; what no part has had is `other`."""
    device: str = "cpu"
    """What is waited for before the clock is read."""
    now: dict[str, Reading] = field(default_factory=lambda: defaultdict(Reading))
    """By part of the step under way."""
    steps: list[dict[str, Reading]] = field(default_factory=list)
    """By part, and of the `step`, of each step that is done."""
    started: Reading = field(default_factory=Reading)
    """When the step under way began."""

    def read(self) -> Reading:
        """Return the moment at which the device has done what it was asked."""
        # A GPU works behind Python's back: without the wait its time would count for whatever waits first.
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
        return Reading(time.perf_counter(), time.process_time())

    def counted(self) -> Reading:
        """Return the time that parts of this step have had so far."""
        return sum(self.now.values(), start=Reading())

    def around(self, part: str, function: Callable) -> Callable:
        """Return a function whose time counts for a part; what it calls that is timed itself, counts for that."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            begin, inner = self.read(), self.counted()
            result = function(*args, **kwargs)
            self.now[part] += self.read() - begin - (self.counted() - inner)
            return result

        return timed

    def rendering(self, function: Callable) -> Callable:
        """Return a renderer whose forward counts as `render`, and whose node of autograd as `render_backward`."""
        forward = self.around("render", function)

        def timed(*args: Any, **kwargs: Any) -> Tensor:
            image, began = forward(*args, **kwargs), [Reading()]

            def start(_upstream: Any) -> None:
                began[0] = self.read()

            def stop(_gradients: Any, _upstream: Any) -> None:
                self.now["render_backward"] += self.read() - began[0]

            if image.grad_fn is not None:
                image.grad_fn.register_prehook(start)
                image.grad_fn.register_hook(stop)
            return image

        return timed

    def encoding(self, function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """Return an encoder whose forward counts as `encode`, and whose nodes of autograd as `encode_backward`."""
        forward = self.around("encode", function)

        def timed(images: Tensor) -> Tensor:
            latents, began = forward(images), [Reading()]

            def start(_gradient: Tensor) -> None:
                began[0] = self.read()

            def stop(_gradient: Tensor) -> None:
                self.now["encode_backward"] += self.read() - began[0]

            if latents.requires_grad:
                # The encoder has many nodes: the gradient reaches the latents first and leaves by the pictures.
                latents.register_hook(start)
                images.register_hook(stop)
            return latents

        return timed

    def begin(self) -> None:
        """Begin a step."""
        self.now.clear()
        self.started = self.read()

    def end(self) -> None:
        """End a step."""
        whole = self.read() - self.started
        parts = {part: self.now.get(part, Reading()) for part in self.parts}
        rest = whole - sum(parts.values(), start=Reading())
        # Clocks have a resolution: a step without a rest may have a negative one.
        parts["other"] = Reading(max(0.0, rest.wall_s), max(0.0, rest.cpu_s))
        self.steps.append({**parts, "step": whole})


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
        """Return the autoencoder's encoder; its way back is a part of its own where the clock has one for it."""
        encode = super().latent_encoder(gradients)
        if "encode_backward" in self.clock.parts:
            return self.clock.encoding(encode)
        return self.clock.around("encode", encode)


def timed_stage(stage: Stage, clock: Clock) -> Stage:
    """Return a stage whose steps are a clock's, the first from its optimizer on; updates count as `update`."""

    def optimizer(scene: Scene) -> Optimizer:
        assert stage.optimizer is not None, f"stage '{stage.name}': it has no optimizer"
        own = stage.optimizer(scene)
        own.step = clock.around("update", own.step)
        # The loop makes the optimizer last: what came before it is the stage's beginning, and no step's.
        clock.begin()
        return own

    def after(scene: Scene, own: Optimizer, step: int, generator: torch.Generator) -> None:
        if stage.after is not None:
            clock.around("update", stage.after)(scene, own, step, generator)
        # Not at the event of a step: on a GPU the loop sends those of many steps together.
        clock.end()
        clock.begin()

    return replace(stage, optimizer=optimizer, after=after, snapshots=0)


def draw_timed(method: Method, config: Any, bundle: DiffusionBundle, clock: Clock) -> None:
    """Draw once with the loop that ships; the clock has every step's parts afterwards.

    Args:
        method: one whose stages are `timed_stage`s.
        config: its options.
        bundle: the networks.
        clock: of its stages. The method's own functions are the caller's to wrap, while this runs.
    """
    with patch.object(Tensor, "backward", clock.around("backward", Tensor.backward)):
        draw(method, config, bundle)
