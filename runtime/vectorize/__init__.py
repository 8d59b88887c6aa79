"""Trace a raster picture as an SVG of closed paths, layer by layer (LIVE; thesis 6.4.1).

    python -m runtime.vectorize picture.png --paths 64 --out picture.svg

Deterministic: the same picture and options give the same file.
"""

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

import runtime
from runtime.command.threads import limit_spinning
from runtime.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from runtime.loop.optimize import Progress
    from runtime.vector.trace.live import TraceConfig


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to trace, and how."""

    picture: Annotated[Path, tyro.conf.Positional]
    """Picture to trace: PNG, JPEG, WebP, GIF or BMP; what is transparent is traced as white."""
    out: Path | None = None
    """SVG file to write; by default the picture's name with .svg, in the working directory."""
    paths: int = 64
    """Closed paths at most, 1 to 1024; a simple picture gets fewer."""
    segments: int = 4
    """Cubic Bezier segments a path, 2 to 16."""
    stages: int = 5
    """Stages that add paths where the error is, 1 to 16."""
    steps: int = 60
    """Optimizer steps a stage, 0 to 10000."""
    rate: float = 0.5
    """Learning rate of control points, in pixels of a canvas of 240, above 0 to 10; colours have a hundredth of it."""
    crossing: float = 1e-3
    """Weight of the term against paths that cross themselves, 0 to 10."""
    least: float = 2e-6
    """Mean squared error that a path must save to be added, 0 to 1; 0 adds as many as help at all."""
    size: int = 512
    """Longer side, in pixels, at which it is traced, 16 to 2048; larger pictures are scaled down, the SVG is not."""
    seed: int = 0
    """Seed of all draws, 0 to 2**31 - 1."""
    quiet: bool = False
    """Show no progress."""


RANGES: dict[str, tuple[float, float]] = {
    "paths": (1, 1024),
    "segments": (2, 16),
    "stages": (1, 16),
    "steps": (0, 10_000),
    "rate": (1e-9, 10),
    "crossing": (0, 10),
    "least": (0, 1),
    "size": (16, 2048),
    "seed": (0, 2**31 - 1),
}
"""Smallest and largest value of each number."""


def vectorize(config: Config, report: "Callable[[Progress], None] | None" = None) -> Path:
    """Trace a picture, write the SVG and return its path.

    Raises:
        UserError: where a number is out of range, the picture cannot be read, or the SVG cannot be written.
    """
    check_ranges(config)
    out = config.out or Path(config.picture.name).with_suffix(".svg")
    if not out.parent.is_dir():
        raise UserError(f"cannot write '{out}': there is no folder '{out.parent}'; make it first")
    from runtime.pictures import read_picture
    from runtime.vector.svg import write_svg
    from runtime.vector.trace.live import trace

    picture = read_picture(config.picture)
    drawing = trace(scaled_down(picture, config.size), trace_config(config), seed=config.seed, report=report)
    height, width = picture.shape[1:]
    metadata = {"source": config.picture.name, "seed": str(config.seed), "version": f"tgm {runtime.__version__}"}
    write_svg(out, drawing.resized((height, width)), metadata=metadata)
    return out


def check_ranges(config: Config) -> None:
    """Raise a `UserError` for a number out of its range."""
    for name, (low, high) in RANGES.items():
        value = getattr(config, name)
        if not low <= value <= high:
            raise UserError(f"--{name} is {value}: expected {low:g} to {high:g}")


def trace_config(config: Config) -> "TraceConfig":
    """Return the part of the configuration that is the tracer's."""
    from runtime.vector.trace.live import TraceConfig

    shared = {field.name for field in dataclasses.fields(TraceConfig)} & {f.name for f in dataclasses.fields(config)}
    return TraceConfig(**{name: getattr(config, name) for name in shared})


def scaled_down(picture: "Tensor", size: int) -> "Tensor":
    """Return a (3, H, W) picture whose longer side is at most `size`, each pixel the mean of those it covers."""
    from torch.nn import functional

    height, width = picture.shape[1:]
    scale = size / max(height, width)
    if scale >= 1:
        return picture
    shape = (max(round(height * scale), 1), max(round(width * scale), 1))
    smaller = functional.interpolate(picture[None], size=shape, mode="bilinear", antialias=True)
    return smaller[0].clamp(0, 1)


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 130 where it was interrupted."""
    limit_spinning()
    config = tyro.cli(Config, args=arguments, description=__doc__)
    try:
        path = vectorize(config, None if config.quiet else progress_bar())
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)
        return 130
    print(f"traced '{config.picture}' to '{path}'")
    return 0


def progress_bar() -> "Callable[[Progress], None]":
    """Return what draws a progress bar on stderr, from the first step on."""
    from tqdm import tqdm

    bars: list[tqdm] = []

    def report(progress: "Progress") -> None:
        if not bars:
            bars.append(tqdm(total=progress.total, unit="step", file=sys.stderr))
        bars[0].set_description(progress.stage, refresh=False)
        bars[0].set_postfix(loss=f"{progress.loss:.5f}", refresh=False)
        bars[0].update()
        if progress.done == progress.total:
            bars[0].close()

    return report
