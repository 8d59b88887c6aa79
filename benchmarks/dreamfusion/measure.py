"""CPU and wall time of the parts of a step of DreamFusion."""

import contextlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal
from unittest.mock import patch

import torch
import tyro
from annotated_types import Interval

import benchmarks.dreamfusion
from benchmarks.environment import describe_environment
from benchmarks.step.clock import Clock, Reading, TimedBundle, draw_timed, timed_stage
from runtime.command.method import Method
from runtime.command.options import parse_options
from runtime.dreamfusion import METHOD
from runtime.dreamfusion.config import Config as Options
from runtime.dreamfusion.config import preset_config
from runtime.dreamfusion.network import PaperField
from runtime.engines.bundle import DiffusionBundle
from runtime.field.fields.grid import DenseGrid
from runtime.loop.optimize import Stage

TITLES = {
    "render": "render",
    "encode": "encode",
    "denoise": "denoise",
    "encode_backward": "encode, backward",
    "update": "update",
    "other": "camera, light, noise, terms, the loop",
    "backward": "render and terms, backward",
}
"""What the table calls the parts of a step."""

MEASURED = tuple(part for part in TITLES if part != "other")
"""Parts that have a clock around them."""

NETWORKS = ("denoise", "encode", "encode_backward")
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


def timed_method(clock: Clock) -> Method[Options]:
    """Return the method with all its stages under a clock."""

    def build(config: Options, bundle: DiffusionBundle, generator: torch.Generator, **options: Any) -> list[Stage]:
        stages = METHOD.build(config, TimedBundle(bundle, clock), generator, **options)
        return [timed_stage(stage, clock) for stage in stages]

    return replace(METHOD, build=build)


def measure(options: Options, bundle: DiffusionBundle) -> Clock:
    """Draw once with the loop that ships; return the clock with every step's parts."""
    clock = Clock(MEASURED, bundle.device)
    with contextlib.ExitStack() as stack:
        for scene in (DenseGrid, PaperField):
            stack.enter_context(patch.object(scene, "render", clock.around("render", scene.render)))
        draw_timed(timed_method(clock), options, bundle, clock)
    return clock


def table_of(clock: Clock) -> list[str]:
    """Return the lines of a table, and one on what the networks leave."""
    count = len(clock.steps)
    sums = {part: sum((step[part] for step in clock.steps), start=Reading()) for part in (*TITLES, "step")}
    mean_ms = {part: (1e3 * time.cpu_s / count, 1e3 * time.wall_s / count) for part, time in sums.items()}
    lines = ["| part | CPU ms | wall ms |", "|---|---|---|"]
    lines += [f"| {TITLES.get(part, part)} | {cpu:.1f} | {wall:.1f} |" for part, (cpu, wall) in mean_ms.items()]
    networks = [sum(mean_ms[part][kind] for part in NETWORKS) for kind in (0, 1)]
    cpu, wall = (100 * (whole / part - 1) for whole, part in zip(mean_ms["step"], networks, strict=True))
    rate = 1e3 / mean_ms["step"][1]
    return [*lines, "", f"On top of the networks: CPU {cpu:.0f} %, wall {wall:.0f} %. Steps a second: {rate:.1f}."]


def main() -> None:
    """Print a table."""
    config = parse_options(Config, "benchmarks.dreamfusion", description=benchmarks.dreamfusion.__doc__)
    changes = {"prompt": "a red apple", "steps": config.steps, "render": config.render, "samples": config.samples}
    options = replace(preset_config(config.preset), **changes)
    print(describe_environment())
    with tempfile.TemporaryDirectory() as folder:
        name = config.bundle
        if config.tiny:
            from tests.bundles import make_tiny_bundle

            name = str(make_tiny_bundle(Path(folder) / "tiny"))
            options = replace(options, nodes=17, render=16, samples=8)
        bundle = DiffusionBundle.load(name, device=config.device)
        # Once for the compilers.
        measure(replace(options, steps=3), bundle)
        clock = measure(options, bundle)
    print(
        f"preset {config.preset}, bundle {bundle.name} on {bundle.device}, {options.render} px, {options.steps} steps\n"
    )
    print("\n".join(table_of(clock)))
