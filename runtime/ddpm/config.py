"""What `runtime.ddpm` can be asked for: pictures, blends of two, completions, and codes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from annotated_types import Interval

Count = Annotated[int, Interval(ge=1, le=256)]
Steps = Annotated[int, Interval(ge=1, le=1000)]
Seed = Annotated[int, Interval(ge=0, le=2**63 - 1)]
Sampler = Literal["dpm++", "ddim", "heun", "ancestral"]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Draw pictures, as a sheet and, if asked for, as a moving picture of how they appear."""

    count: Count = 16
    """Pictures."""
    sampler: Sampler = "dpm++"
    """dpm++: DPM-Solver++(2M), good from some 15 steps on; heun: two calls of the network a step; ddim; ancestral:
    DDPM's own, which wants hundreds of steps."""
    steps: Steps = 25
    """Steps, at most the network's number of times."""
    eta: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """Of ddim: how much is drawn anew at each step; 0 nothing, 1 as much as the posterior's variance."""
    variance: Literal["bundle", "fixedlarge", "fixedsmall"] = "bundle"
    """Of ancestral: the variance of a step, by default the bundle's."""
    shared: Annotated[int, Interval(ge=0, le=100_000)] | None = None
    """Of ancestral, and of ddim with an eta: time down to which all pictures are one, below the network's number of
    times; the earlier, the less they differ. By default each is drawn by itself."""
    seed: Seed = 0
    """Seed of all draws."""
    out: Path | None = None
    """PNG file to write; by default sample.png, in the working directory."""
    video: tyro.conf.FlagCreatePairsOff[bool] = False
    """Also write a GIF of what the network takes for the pictures at each step, beside the PNG file."""
    bundle: str = "icons-ddpm"
    """Name of an installed bundle for ddpm, or its folder."""


@dataclass(frozen=True, kw_only=True)
class Interpolate:
    """Draw what lies between two pictures: both are noised, blended, and drawn from there, as a sheet."""

    first: Annotated[Path, tyro.conf.Positional]
    """Picture: PNG, JPEG, WebP, GIF or BMP. One of the bundle's proportions is scaled to its size."""
    second: Annotated[Path, tyro.conf.Positional]
    """The other picture."""
    time: Annotated[int, Interval(ge=0, le=100_000)] = 500
    """Time to which both are noised, below the network's number of times: the later, the more is drawn anew."""
    count: Annotated[int, Interval(ge=2, le=64)] = 9
    """Pictures from the one to the other."""
    steps: Steps = 50
    """Steps from that time on, at most as many as there are times before it."""
    seed: Seed = 0
    """Seed of all draws."""
    out: Path | None = None
    """PNG file to write; by default the first picture's name with -interpolated, in the working directory."""
    bundle: str = "icons-ddpm"
    """Name of an installed bundle for ddpm, or its folder."""


@dataclass(frozen=True, kw_only=True)
class Complete:
    """Draw the hidden part of a picture several times by RePaint, as a sheet: observed, completions, truth."""

    picture: Annotated[Path, tyro.conf.Positional]
    """Picture to complete: PNG, JPEG, WebP, GIF or BMP. One of the bundle's proportions is scaled to its size."""
    hide: str
    """What is hidden: top, left, bottom, right, centre, or a picture that is white where it hides."""
    samples: Count = 4
    """Completions."""
    steps: Steps = 50
    """Times that are visited on the way down."""
    jump: Annotated[int, Interval(ge=1, le=1000)] = 5
    """Steps of each way back to more noise."""
    resamples: Annotated[int, Interval(ge=1, le=100)] = 5
    """How often each stretch is gone down; 1 never goes back, which is fast, and fits the rest less well."""
    seed: Seed = 0
    """Seed of all draws."""
    out: Path | None = None
    """PNG file to write; by default the picture's name with -completed, in the working directory."""
    bundle: str = "icons-ddpm"
    """Name of an installed bundle for ddpm, or its folder."""
    truth: Path | None = None
    """The whole picture, to be shown last."""
    invert: tyro.conf.FlagCreatePairsOff[bool] = False
    """Turn dark into light before all else: for dark digits on light paper, where the bundle has light ones on dark."""


@dataclass(frozen=True, kw_only=True)
class Codec:
    """Code a picture in few bits by the steps of the sampler, and show it at five rates; or decode such a file.

    Writes a .ddpm file, whose size is what counts, and a sheet: the picture, then what a receiver has of it after a
    fifth, two fifths ... of the file.
    """

    picture: Annotated[Path, tyro.conf.Positional]
    """Picture to code, or a .ddpm file to decode. A picture of the bundle's proportions is scaled to its size."""
    bits: Annotated[float, Interval(ge=0.01, le=32)] = 0.5
    """Greatest size of the file, bits for each channel of each pixel."""
    steps: Annotated[int, Interval(ge=2, le=255)] = 40
    """Steps of the whole way; more waste less on each, and cost more on the whole where few bits are to be spent."""
    seed: Annotated[int, Interval(ge=0, le=2**32 - 1)] = 0
    """Seed of the draws that sender and receiver have in common."""
    out: Path | None = None
    """PNG file of the sheet; by default the picture's name with -coded, in the working directory. The code goes beside
    it."""
    bundle: str = "icons-ddpm"
    """Name of an installed bundle for ddpm, or its folder."""

    @property
    def decodes(self) -> bool:
        """Whether the input is a code."""
        return self.picture.suffix == ".ddpm"


def interpolated_from(config: Interpolate) -> Mapping[str, Path]:
    """Return the files that a blend reads, by option."""
    return {"first": config.first, "second": config.second}


def coded_from(config: Codec) -> Mapping[str, Path]:
    """Return the file that is coded or decoded, by option."""
    return {"picture": config.picture}
