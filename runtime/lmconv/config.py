"""What `runtime.lmconv` can be asked for: completions of a picture, or whole pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from annotated_types import Interval

from runtime.pixels.regions import REGIONS

Count = Annotated[int, Interval(ge=1, le=256)]
Temperature = Annotated[float, Interval(ge=0.01, le=100)]
Seed = Annotated[int, Interval(ge=0, le=2**63 - 1)]


@dataclass(frozen=True, kw_only=True)
class Complete:
    """Draw the hidden part of a picture several times, as a sheet: observed, completions, truth."""

    picture: Annotated[Path, tyro.conf.Positional]
    """Picture to complete: PNG, JPEG, WebP, GIF or BMP. One of the bundle's proportions is scaled to its size."""
    hide: str
    """What is hidden: top, left, bottom, right, centre, or a picture that is white where it hides."""
    samples: Count = 4
    """Completions."""
    order: str = "max-context"
    """max-context: observed pixels first, then the hidden ones along a path trained with; max-context:hilbert:0: along
    this one; raster, s-curve:0 to 7, hilbert:0 to 7, or a .npy or .txt file of pixel indices: exactly in this order."""
    temperature: Temperature = 1.0
    """1 draws from the model, less nearer to its mode."""
    seed: Seed = 0
    """Seed of all draws."""
    out: Path | None = None
    """PNG file to write; by default the picture's name with -completed, in the working directory."""
    bundle: str = "mnist"
    """Name of an installed bundle for lmconv, or its folder."""
    truth: Path | None = None
    """The whole picture, to be shown last."""
    invert: tyro.conf.FlagCreatePairsOff[bool] = False
    """Turn dark into light before all else: for dark digits on light paper, where the bundle has light ones on dark."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Draw whole pictures, as a sheet and, if asked for, as a moving picture of how they are drawn."""

    count: Count = 16
    """Pictures."""
    order: str | None = None
    """raster, s-curve:0 to 7, hilbert:0 to 7, or a .npy or .txt file of pixel indices; by default the first one trained
    with."""
    temperature: Temperature = 1.0
    """1 draws from the model, less nearer to its mode."""
    seed: Seed = 0
    """Seed of all draws."""
    out: Path | None = None
    """PNG file to write; by default sample.png, in the working directory."""
    video: tyro.conf.FlagCreatePairsOff[bool] = False
    """Also write a GIF of the pixels appearing, beside the PNG file."""
    bundle: str = "mnist"
    """Name of an installed bundle for lmconv, or its folder."""


def completed_from(config: Complete) -> Mapping[str, Path]:
    """Return the files that a completion reads, by option."""
    files = {"picture": config.picture}
    if config.hide not in REGIONS:
        files["hide"] = Path(config.hide)
    if config.truth is not None:
        files["truth"] = config.truth
    return {**files, **_order_file(config.order)}


def sampled_from(config: Sample) -> Mapping[str, Path]:
    """Return the files that sampling reads, by option."""
    return _order_file(config.order or "")


def _order_file(order: str) -> Mapping[str, Path]:
    return {"order": Path(order)} if order.endswith((".npy", ".txt")) else {}
