"""What CLIPDraw can be asked for: its options and presets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from annotated_types import Interval

from runtime.command.prompts import check_prompt
from runtime.errors import UserError

Pixels = Annotated[float, Interval(ge=0, le=224)]
"""A length in pixels of a canvas of 224."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Draw what a prompt says by an image-text encoder alone (CLIPDraw): an SVG, its PNG, and a run folder."""

    prompt: tyro.conf.Positional[str] = ""
    """What to draw: 1 to 500 characters, and no more tokens than the bundle takes."""
    out: Path | None = None
    """SVG file to write, with a PNG beside it; by default the prompt's words, in the working directory."""
    preset: Literal["strokes", "icon", "pixel"] = "strokes"
    """strokes: open strokes of any colour and width; icon: filled paths, unused ones replaced; pixel: a grid of
    squares. Sets the defaults of other options."""
    bundle: str = "icons"
    """Frozen networks with an image-text encoder: name of an installed bundle or path of its folder."""
    init: Path | None = None
    """SVG file to start from in place of random paths."""
    seed: Annotated[int, Interval(ge=0, le=2**63 - 1)] = 0
    """Seed of every draw: equal seeds and options give equal files on a machine's CPU."""
    steps: Annotated[int, Interval(ge=1, le=100_000)] = 1000
    """Steps of the optimizer."""
    paths: Annotated[int, Interval(ge=1, le=4096)] = 256
    """Paths of the drawing; for pixel a square number. The thesis' tables have 64 strokes."""
    views: Annotated[int, Interval(ge=1, le=64)] = 4
    """Augmented views a step."""
    negative: Annotated[float, Interval(ge=0, le=10)] = 0.0
    """Weight of the prompts against messy drawings; CLIPDraw's program has 0.3 where it uses them."""
    rasterizer: Literal["numba", "torch", "diffvg"] = "numba"
    """What draws: numba (compiled), torch (slow, readable), diffvg (a peer, where it is installed)."""
    gradients: Literal["auto", "torch", "engine"] = "auto"
    """What differentiates the image encoder: PyTorch, an engine where the bundle has one, or the engine on a CPU and
    PyTorch elsewhere."""
    lr: Annotated[float, Interval(ge=0, le=100)] = 1.0
    """Learning rate of control points, in pixels of a canvas of 224; 0.4 of it from half of the steps on, 0.1 of it
    from three quarters on."""
    width_lr: Pixels = 0.1
    """Learning rate of strokes' widths, in pixels of a canvas of 224."""
    colour_lr: Annotated[float, Interval(ge=0, le=1)] = 0.01
    """Learning rate of colours and opacities in [0, 1]."""
    widths: tuple[Pixels, Pixels] = (1.0, 50.0)
    """Smallest width of a stroke, which it begins with, and largest, in pixels of a canvas of 224."""


PRESETS: Mapping[str, Config] = {
    "strokes": Config(),
    "icon": Config(preset="icon", steps=2000, paths=64),
    "pixel": Config(preset="pixel", paths=1024),
}
"""The named instances of Config; the first is the default."""


def preset_config(preset: str | None) -> Config:
    """Return the named instance of a preset; None means strokes.

    Raises:
        UserError: there is none.
    """
    preset = "strokes" if preset is None else preset
    if preset not in PRESETS:
        raise UserError(f"--preset: expected one of {', '.join(PRESETS)}, got '{preset}'")
    return PRESETS[preset]


def check(config: Config) -> Config:
    """Return the configuration, its prompt trimmed.

    Raises:
        UserError: the prompt is none, or options do not go together.
    """
    prompt = check_prompt(config.prompt)
    if config.preset == "pixel" and math.isqrt(config.paths) ** 2 != config.paths:
        raise UserError(f"--paths: expected a square number for a grid of pixels, such as 1024, got {config.paths}")
    smallest, largest = config.widths
    if not 0 < smallest <= largest:
        raise UserError(f"--widths: expected a width above 0 and one at least as large, got {smallest} and {largest}")
    preset_config(config.preset)
    return replace(config, prompt=prompt)
