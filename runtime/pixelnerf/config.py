"""What `runtime.pixelnerf` can be asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from annotated_types import Interval

from runtime.command.ranges import check_nodes
from runtime.errors import UserError

Turn = Annotated[float, Interval(ge=-360, le=360)]
"""Degrees around the object."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Turn one to three pictures of an object into 3D: a mesh (GLB), a film all round (MP4), a sheet of views (PNG)."""

    picture: Annotated[Path, tyro.conf.Positional]
    """Picture of one object, transparent or plain behind it: PNG, JPEG, WebP, BMP or TIFF."""
    second: Path | None = None
    """Another picture of the same object, by the same camera at the same height, turned around it."""
    second_at: Turn = 120.0
    """Degrees by which the camera of `second` stands farther to the right than the first one's, around the object."""
    third: Path | None = None
    """A third picture."""
    third_at: Turn = 240.0
    """Degrees of the third one's camera, from the first one's."""
    out: Path | None = None
    """GLB file to write, with an MP4 and a PNG beside it; by default the picture's name, in the working directory."""
    elevation: Annotated[float, Interval(ge=-80, le=80)] = 30.0
    """Degrees above the horizon from which the picture was taken: it decides what is up."""
    as_it_is: tyro.conf.FlagCreatePairsOff[bool] = False
    """Take the picture as it is; by default the object is moved to its middle and scaled to fill nine tenths of it,
    several pictures of it alike."""
    nodes: Annotated[int, Interval(ge=17, le=257)] = 97
    """Nodes of the grid along an axis, a multiple of 8 and one more."""
    frames: Annotated[int, Interval(ge=1, le=10_000)] = 48
    """Frames of the film, once around."""
    size: Annotated[int, Interval(ge=16, le=2048)] = 192
    """Side of the film, pixels."""
    seed: Annotated[int, Interval(ge=0, le=2**63 - 1)] = 0
    """Nothing is drawn at random; for the form's sake."""
    bundle: str = "pixelnerf"
    """Name of an installed bundle for pixelnerf, or its folder."""


def check(config: Config) -> Config:
    """Refuse options that do not go together."""
    check_nodes(config.nodes, 8)
    if config.third is not None and config.second is None:
        raise UserError("--third: expected --second beside it; one further picture is the second")
    return config


def inputs(config: Config) -> Mapping[str, Path]:
    """Return the files that are read, by option."""
    named = {"picture": config.picture, "second": config.second, "third": config.third}
    return {name: path for name, path in named.items() if path is not None}
