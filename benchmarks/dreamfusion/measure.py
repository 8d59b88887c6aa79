"""CPU and wall time of the parts of a step of DreamFusion."""

import contextlib
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
import tyro
from annotated_types import Interval
from torch import Tensor

import benchmarks.dreamfusion
from benchmarks.environment import describe_environment
from runtime.command.options import parse_options

if TYPE_CHECKING:
    from runtime.dreamfusion import Config as Method
    from runtime.engines.bundle import DiffusionBundle

NETWORKS = ("denoise", "encode", "encode, backward")
"""Parts that are the frozen networks'."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure."""

    preset: Literal["fast", "thesis"] = "fast"
    """Of the method."""
    bundle: str = "icons"
    """Name or folder of the networks."""
    device: str = "cpu"
    """Of the networks."""
    steps: Annotated[int, Interval(ge=3, le=100_000)] = 150
    """Steps of all stages."""
    render: Annotated[int, Interval(ge=8, le=512)] = 64
    """Side of the pictures that are rendered, pixels."""
    samples: Annotated[int, Interval(ge=2, le=4096)] = 64
    """Preset thesis: samples along a ray."""
    tiny: tyro.conf.FlagCreatePairsOff[bool] = False
    """Random networks of a layer or two, and small pictures: a test of this program."""


@dataclass
class Clock:
    """CPU and wall time by part; parts may lie in one another."""

    device: str
    """What is waited for before the clock is looked at."""

    def __post_init__(self) -> None:
        """Begin at zero."""
        self.cpu_s: defaultdict[str, float] = defaultdict(float)
        self.wall_s: defaultdict[str, float] = defaultdict(float)
        self.begun: dict[str, tuple[float, float]] = {}

    def start(self, part: str) -> None:
        """Begin a part."""
        self.wait()
        self.begun[part] = (time.process_time(), time.perf_counter())

    def stop(self, part: str) -> None:
        """End a part."""
        self.wait()
        cpu_s, wall_s = self.begun.pop(part)
        self.cpu_s[part] += time.process_time() - cpu_s
        self.wall_s[part] += time.perf_counter() - wall_s

    def wait(self) -> None:
        """Wait for the device."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the block as a part."""
        self.start(name)
        yield
        self.stop(name)

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that counts its calls as a part."""

        def timed(*arguments: Any, **options: Any) -> Any:
            with self.part(name):
                return call(*arguments, **options)

        return timed

    def timed_encoder(self, encode: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """Return an encoder that counts its own way back as a part, too."""

        def timed(images: Tensor) -> Tensor:
            latents = self.timed("encode", encode)(images)
            if latents.requires_grad:
                # The gradient reaches the latents first and leaves by the pictures.
                latents.register_hook(lambda gradient: self.start("encode, backward"))
                images.register_hook(lambda gradient: self.stop("encode, backward"))
            return latents

        return timed


def measure(method: "Method", bundle: "DiffusionBundle") -> Clock:
    """Run the stages of a method; return the times of its parts, "step" among them."""
    from runtime.dreamfusion.stages import stages_of
    from runtime.dreamfusion.teacher import Teacher
    from runtime.loop.optimize import generator_of

    clock = Clock(bundle.device)
    teacher = Teacher.of(method, bundle, generator_of(0, 0, 0, "sample"))
    encode = clock.timed_encoder(teacher.encode)
    teacher = replace(teacher, denoise=clock.timed("denoise", teacher.denoise), encode=encode)
    scene: Any = None
    for index, stage in enumerate(stages_of(method, teacher, bundle.device)):
        scene = stage.begin(scene, generator_of(0, index, 0, "begin"))
        assert stage.optimizer is not None and stage.loss is not None, "every stage optimizes"
        optimizer = stage.optimizer(scene)
        # An attribute of the instance hides the method of its class.
        object.__setattr__(scene, "render", clock.timed("render", scene.render))
        for step in range(stage.steps):
            with clock.part("step"):
                optimizer.zero_grad(set_to_none=True)
                with clock.part("loss"):
                    terms = stage.loss(scene, step, generator_of(0, index, step, "loss"))
                    total = torch.stack(list(terms.values())).sum()
                with clock.part("backward"):
                    total.backward()
                with clock.part("update"):
                    optimizer.step()
                    if stage.after is not None:
                        with torch.no_grad():
                            stage.after(scene, optimizer, step, generator_of(0, index, step, "after"))
        object.__delattr__(scene, "render")
    return clock


def rows_of(totals: Mapping[str, float]) -> dict[str, float]:
    """Return times by part that add up to a step's: of nested parts what is inside is taken away."""
    inside = totals["render"] + totals["denoise"] + totals["encode"]
    parts = ("render", "encode", "denoise", "encode, backward", "update")
    rows = {part: totals[part] for part in parts}
    rows["camera, light, noise, terms"] = totals["loss"] - inside
    rows["render and terms, backward"] = totals["backward"] - totals["encode, backward"]
    return rows


def table_of(clock: Clock, steps: int) -> list[str]:
    """Return the lines of a table, and one on what the networks leave."""
    cpu_ms, wall_ms = (
        {part: 1e3 * total / steps for part, total in rows_of(totals).items()} for totals in (clock.cpu_s, clock.wall_s)
    )
    lines = ["| part | CPU ms | wall ms |", "|---|---|---|"]
    lines += [f"| {part} | {cpu_ms[part]:.1f} | {wall_ms[part]:.1f} |" for part in cpu_ms]
    whole = [sum(times.values()) for times in (cpu_ms, wall_ms)]
    networks = [sum(times[part] for part in NETWORKS) for times in (cpu_ms, wall_ms)]
    lines.append(f"| step | {whole[0]:.1f} | {whole[1]:.1f} |")
    shares = ", ".join(
        f"{kind} {100 * (total / part - 1):.0f} %"
        for kind, total, part in zip(("CPU", "wall"), whole, networks, strict=True)
    )
    return [*lines, "", f"On top of the networks: {shares}. Steps a second: {1e3 / whole[1]:.1f}."]


def main() -> None:
    """Print a table."""
    from runtime.command.threads import limit_spinning
    from runtime.dreamfusion.config import preset_config
    from runtime.engines.bundle import DiffusionBundle
    from runtime.threads import one_torch_thread

    config = parse_options(Config, "benchmarks.dreamfusion", description=benchmarks.dreamfusion.__doc__)
    limit_spinning()
    changes = {"prompt": "a red apple", "steps": config.steps, "render": config.render, "samples": config.samples}
    method = replace(preset_config(config.preset), **changes)
    print(describe_environment())
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        name = config.bundle
        if config.tiny:
            from tests.bundles import make_tiny_bundle

            name = str(make_tiny_bundle(Path(folder) / "tiny"))
            method = replace(method, nodes=17, render=16, samples=8)
        bundle = DiffusionBundle.load(name, device=config.device)
        if config.device == "cpu":
            stack.enter_context(one_torch_thread())
        # Once for the compilers.
        measure(replace(method, steps=3), bundle)
        clock = measure(method, bundle)
    print(
        f"preset {config.preset}, bundle {bundle.name} on {bundle.device}, {method.render} px, {method.steps} steps\n"
    )
    print("\n".join(table_of(clock, method.steps)))
