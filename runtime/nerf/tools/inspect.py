"""`python -m runtime.nerf inspect`: what a capture's cameras see of its box, before time is spent on it."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from runtime.command.options import parse_options
from runtime.errors import printable
from runtime.nerf.capture import CaptureOptions, check_capture, load


@dataclass(frozen=True, kw_only=True)
class Config(CaptureOptions):
    """List a capture's cameras, its upward axis, its box, near and far, and warn of what looks wrong."""

    rows: Annotated[int, Interval(ge=1, le=100_000)] = 24
    """Most cameras to list."""


def main(arguments: list[str]) -> int:
    """List a capture from a command line, and return the exit code."""
    config = parse_options(Config, "runtime.nerf inspect", arguments=arguments)
    check_capture(config)
    from runtime.field.captures.survey import describe_capture

    for line in describe_capture(load(config), rows=config.rows):
        print(printable(line))
    return 0
