"""What VectorFusion can be asked for: its options, their ranges and presets."""

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import tyro

from runtime.errors import UserError

LONGEST_PROMPT = 500
"""Most characters of a prompt; a bundle's own limit, in tokens, is usually lower."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to draw and how. The rates and weights that are not of the thesis suit the bundle `icons` and short runs."""

    prompt: tyro.conf.Positional[str] = ""
    """What to draw: 1 to 500 characters, and no more tokens than the bundle takes."""
    out: Path | None = None
    """SVG file to write, with a PNG beside it; by default the prompt's words in the working directory."""
    preset: Literal["icon", "sketch", "pixel"] = "icon"
    """icon: filled paths; sketch: black strokes; pixel: a grid of squares. Sets the defaults of other options."""
    route: Literal["trace", "scratch"] = "trace"
    """trace: sample pictures, trace the best, refine it (sketch: its outlines); scratch: refine random paths."""
    bundle: str = "icons"
    """Frozen networks: name of an installed bundle or path of its folder."""
    init: Path | None = None
    """SVG file to start from in place of sampling, tracing or random paths."""
    seed: int = 0
    """Of every draw, 0 to 2^63 - 1: equal seeds and options give equal files on a machine's CPU."""
    steps: int = 150
    """Steps of distillation, 1 to 100000; tracing has its own."""
    paths: int = 64
    """Paths of the drawing, 1 to 4096; for pixel a square number, 1 to 4096."""
    omega: float = 10.0
    """Weight of guidance in (1 + omega) eps(z; y) - omega eps(z), 0 to 1000; the thesis has 100 for large models."""
    samples: int = 8
    """Raster samples K of which the best is traced, 1 to 64."""
    sample_omega: float = 3.0
    """Weight of guidance of the raster samples, 0 to 1000; the thesis has 6.5."""
    rasterizer: Literal["numba", "torch", "diffvg"] = "numba"
    """What draws: numba (compiled), torch (slow, readable), diffvg (a peer, where it is installed)."""
    gradients: Literal["torch", "engine"] = "torch"
    """What differentiates the latent encoder: PyTorch, or an engine where the bundle has one."""
    rate: float = 0.1
    """Greatest rate of control points in pixels of a canvas of 600, 0 to 100; warmed up from a tenth, a quarter at the
    end. The thesis has 0.2, for 1000 to 2000 steps."""
    colour_rate: float = 0.001
    """Greatest rate of colours in [0, 1], 0 to 1, with the same warm-up; a tenth of it for the background. The thesis
    has 0.01 (pixel: 0.0001)."""
    upper_t: tuple[int, int] = (600, 200)
    """Greatest time of 1000 that is drawn, at the first step and at the last, each 50 to 999; the thesis has 950."""
    xing: float = 0.01
    """Weight of the self-intersection term of icons, 0 to 1000."""
    saturation: float = 0.0
    """Weight of the saturation penalty, 0 to 1000."""


_FROM_SCRATCH = Config(route="scratch", steps=400, omega=15.0, rate=5.0, colour_rate=0.02, upper_t=(950, 300))

PRESETS: Mapping[str, Mapping[str, Config]] = {
    "icon": {
        "trace": Config(),
        "scratch": _FROM_SCRATCH,
    },
    "sketch": {
        "trace": Config(preset="sketch", paths=16, rate=0.15, xing=0.0),
        "scratch": replace(_FROM_SCRATCH, preset="sketch", paths=16, rate=4.0, xing=0.0),
    },
    "pixel": {
        "trace": Config(preset="pixel", paths=1024, xing=0.0, saturation=0.05),
        "scratch": replace(_FROM_SCRATCH, preset="pixel", paths=1024, xing=0.0, saturation=0.05),
    },
}
"""The named instances of Config: by preset and route; a preset's first route is its default."""

RANGES: Mapping[str, tuple[float, float]] = {
    "seed": (0, 2**63 - 1),
    "steps": (1, 100_000),
    "paths": (1, 4096),
    "omega": (0.0, 1000.0),
    "samples": (1, 64),
    "sample_omega": (0.0, 1000.0),
    "rate": (0.0, 100.0),
    "colour_rate": (0.0, 1.0),
    "xing": (0.0, 1000.0),
    "saturation": (0.0, 1000.0),
}
"""Least and greatest value of each number of Config."""


def check(config: Config) -> Config:
    """Return the configuration, its prompt trimmed.

    Raises:
        UserError: naming the first option that is out of range, or options that do not go together.
    """
    prompt = config.prompt.strip()
    if not prompt:
        raise UserError('prompt: expected a few words such as "a red apple", got none')
    if len(prompt) > LONGEST_PROMPT:
        raise UserError(f"prompt: expected at most {LONGEST_PROMPT} characters, got {len(prompt)}; use fewer words")
    if not prompt.isprintable():
        raise UserError(f"prompt: expected one line of printable text, got {prompt!r:.80}")
    for name, (least, greatest) in RANGES.items():
        value = getattr(config, name)
        if not least <= value <= greatest:
            raise UserError(f"--{name.replace('_', '-')}: expected {least} to {greatest}, got {value}")
    if not all(50 <= t <= 999 for t in config.upper_t):
        raise UserError(f"--upper-t: expected two times of 50 to 999, got {config.upper_t[0]} and {config.upper_t[1]}")
    if config.preset == "pixel" and math.isqrt(config.paths) ** 2 != config.paths:
        raise UserError(f"--paths: expected a square number for a grid of pixels, such as 1024, got {config.paths}")
    settings_of(config.preset, config.route)
    return replace(config, prompt=prompt)


def settings_of(preset: str, route: str | None) -> Config:
    """Return the named instance of a preset and route (None: the preset's own).

    Raises:
        UserError: where there is none.
    """
    if preset not in PRESETS:
        raise UserError(f"--preset: expected one of {', '.join(PRESETS)}, got '{preset}'")
    routes = PRESETS[preset]
    if route is not None and route not in routes:
        raise UserError(f"--route: expected {' or '.join(routes)} for the preset '{preset}', got '{route}'")
    return routes[route or next(iter(routes))]


def with_defaults(config: Config, defaults: Mapping[str, Any], bundle: str) -> Config:
    """Return a configuration with a bundle's own values over it.

    Raises:
        UserError: where the bundle names an option that there is not.
    """
    unknown = set(defaults) - {field.name for field in fields(Config)}
    if unknown:
        raise UserError(f"bundle '{bundle}': its defaults name options that this version has not: {sorted(unknown)}")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in defaults.items()}
    return replace(config, **values)


def to_json(config: Config) -> dict[str, Any]:
    """Return a configuration as JSON values."""
    return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config).items()}


def from_json(values: Mapping[str, Any], where: str) -> Config:
    """Return the configuration that `to_json` made the values of.

    Raises:
        UserError: where they are none, naming `where`.
    """
    try:
        paths = {name: Path(values[name]) if values[name] else None for name in ("out", "init")}
        return check(Config(**{**values, **paths, "upper_t": tuple(values["upper_t"])}))
    except (TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{where} is not a configuration of this version ({error}): start the run anew") from error


def file_name(prompt: str) -> str:
    """Return a prompt's words joined by hyphens, at most 60 characters: the name of its files, without a suffix."""
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", prompt).lower())
    return "-".join(words)[:60].strip("-_") or "drawing"
