"""`python -m runtime.nerf inspect`: what a capture's cameras see of its box, before time is spent on it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from annotated_types import Interval

from runtime.command.options import parse_options
from runtime.command.ranges import check_ranges
from runtime.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Config:
    """List a capture's cameras, its upward axis, its box, near and far, and warn of what looks wrong."""

    capture: Annotated[Path, tyro.conf.Positional] = Path()
    """Folder or file, as of `python -m runtime.nerf`."""
    orient: Literal["auto", "up", "pca", "none"] = "auto"
    """up: the cameras' mean upward direction becomes +z; pca: that in which they vary least; none: as it is."""
    centre: Literal["auto", "poses", "focus", "none"] = "auto"
    """poses: the cameras' mean is the middle; focus: where their axes meet; none: the origin."""
    half: Annotated[float, Interval(gt=0, le=1e6)] | None = None
    """Half the side of the scene's box, in the capture's units."""
    convention: Literal["opengl", "opencv", "colmap", "llff"] = "opengl"
    """Axes of the capture's poses, where its format does not say."""
    rows: Annotated[int, Interval(ge=1, le=100_000)] = 24
    """Most cameras to list."""


def main(arguments: list[str]) -> int:
    """List a capture from a command line, and return the exit code."""
    config = parse_options(Config, "runtime.nerf inspect", arguments=arguments)
    check_ranges(config)
    if config.capture == Path():
        raise UserError("capture: expected a folder or a file, got none; try benchmarks/capture/transforms.json")
    from runtime.field.captures import Frame, load_capture
    from runtime.field.captures.survey import describe_capture

    frame = Frame(orient=config.orient, centre=config.centre, half=config.half)
    capture = load_capture(config.capture, frame, config.convention)
    for line in describe_capture(capture, rows=config.rows):
        print(line)
    return 0
