"""What `runtime.vectorize` can be asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from annotated_types import Gt, Interval, Le


@dataclass(frozen=True, kw_only=True)
class Config:
    """Trace a raster picture as an SVG of closed paths, layer by layer (LIVE; thesis 6.4.1)."""

    picture: Annotated[Path, tyro.conf.Positional]
    """Picture to trace: PNG, JPEG, WebP, GIF or BMP; what is transparent stays so."""
    out: Path | None = None
    """SVG file to write; by default the picture's name with .svg, in the working directory."""
    paths: Annotated[int, Interval(ge=1, le=1024)] = 64
    """Closed paths at most; a simple picture gets fewer."""
    contours: tyro.conf.FlagCreatePairsOff[bool] = True
    """Trace a flat picture from the contours of its areas, at its own size; --no-contours traces all as LIVE does."""
    segments: Annotated[int, Interval(ge=2, le=16)] = 4
    """Cubic Bezier segments a path."""
    stages: Annotated[int, Interval(ge=1, le=16)] = 5
    """Stages that add paths where the error is."""
    steps: Annotated[int, Interval(ge=0, le=10_000)] = 60
    """Optimizer steps a stage."""
    lr: Annotated[float, Gt(0), Le(10)] = 0.5
    """Learning rate of control points, in pixels of a canvas of 240; that of colours is 0.01."""
    self_intersection: Annotated[float, Interval(ge=0, le=10)] = 1e-3
    """Weight of the self-intersection term."""
    min_gain: Annotated[float, Interval(ge=0, le=1)] = 2e-6
    """Mean squared error that a path must save to be added; 0 adds as many as help at all."""
    size: Annotated[int, Interval(ge=16, le=2048)] = 512
    """Longer side, in pixels, at which it is traced; larger pictures are scaled down, the SVG is not."""
    seed: Annotated[int, Interval(ge=0, le=2**31 - 1)] = 0
    """Seed of all draws."""
    video: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write a film of the optimization, too: an MP4 and an animated SVG."""
    layers: tyro.conf.FlagCreatePairsOff[bool] = False
    """Group paths of like colour that follow one another, with names: layers of an editor."""
    transparent: tyro.conf.FlagCreatePairsOff[bool] = False
    """Leave white paper out of the SVG; that of a transparent picture is left out anyway."""
    tidy: tyro.conf.FlagCreatePairsOff[bool] = False
    """Take out hidden paths and slivers, make nearly equal colours one, and nearly round shapes round."""
