"""A method to test serving with: numbers are drawn step after step, slowly if asked; no networks, no compilation."""

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from annotated_types import Interval
from torch import Tensor

from runtime.command.method import Method
from runtime.loop.events import Note
from runtime.loop.optimize import Stage
from runtime.loop.scene import Scene


@dataclass(frozen=True, kw_only=True)
class Config:
    """Draw numbers as a row of bars."""

    text: tyro.conf.Positional[str] = ""
    """Written beneath."""
    shape: Literal["bars", "dots"] = "bars"
    """What stands for a number. Sets the default of count."""
    count: Annotated[int, Interval(ge=1, le=1000)] = 5
    """Numbers."""
    steps: Annotated[int, Interval(ge=1, le=100_000)] = 10
    """Steps."""
    scale: Annotated[float, Interval(ge=0, le=10)] = 1.0
    """Height of a bar."""
    pause_s: Annotated[float, Interval(ge=0, le=10)] = 0.0
    """Seconds that a step takes."""
    die: str = ""
    """always: the process is killed at its first step; fail: an error; nan: not finite."""
    picture: Path | None = None
    """File whose content is counted."""
    mask: str = "none"
    """none, or a file."""
    limits: tuple[int, int] = (0, 100)
    """Least and greatest."""
    seed: Annotated[int, Interval(ge=0, le=2**63 - 1)] = 0
    """Seed of all draws."""
    out: Path | None = None
    """SVG file."""


class Bars(Scene):
    heights: Tensor

    def __init__(self, heights: Tensor) -> None:
        super().__init__()
        self.register_buffer("heights", heights)


def build(config: Config, bundle: None, generator: torch.Generator, *, run, report) -> list[Stage]:
    report(Note(f"{config.count} numbers"))
    content = config.picture.read_bytes() if config.picture else b""

    def advance(scene: Bars, step: int, generator: torch.Generator) -> None:
        if config.die == "always":
            os.kill(os.getpid(), signal.SIGKILL)
        if config.die == "fail":
            raise RuntimeError("a mistake of the method")
        time.sleep(config.pause_s)
        scene.heights += torch.rand(len(scene.heights), generator=generator) + len(content)

    return [
        Stage(
            name="draw",
            steps=config.steps,
            begin=lambda before, generator: Bars(torch.rand(config.count, generator=generator)),
            restore=Bars.from_state,
            advance=advance,
        )
    ]


def snapshot(config: Config, bundle: None, scene: Bars, stem: Path) -> Path:
    file = stem.with_name(f"{stem.name}.svg")
    bars = "".join(
        f'<rect x="{10 * i}" width="8" height="{height.item() * config.scale!r}"/>'
        for i, height in enumerate(scene.heights)
    )
    file.write_text(f'<svg xmlns="http://www.w3.org/2000/svg">{bars}<title>{config.text}</title></svg>\n')
    return file


def write(config: Config, bundle: None, scene: Bars, out: Path) -> list[Path]:
    numbers = out.with_suffix(".txt")
    numbers.write_text(" ".join(repr(height.item()) for height in scene.heights) + "\n")
    return [snapshot(config, bundle, scene, out.with_suffix("")), numbers]


def inputs(config: Config) -> Mapping[str, Path]:
    files = {} if config.picture is None else {"picture": config.picture}
    return files if config.mask == "none" else {**files, "mask": Path(config.mask)}


METHOD = Method(
    name="toy",
    config=Config,
    build=build,
    write=write,
    snapshot=snapshot,
    suffixes=lambda config: (".svg", ".txt"),
    stem=lambda config: "toy",
    default=lambda chosen: Config(shape="dots", count=9) if chosen["shape"] == "dots" else Config(),
    selectors=("shape",),
    inputs=inputs,
)
