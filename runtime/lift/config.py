"""What `runtime.lift` can be asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from annotated_types import Interval

from runtime.command.prompts import check_prompt, stem_of
from runtime.command.ranges import check_nodes
from runtime.errors import UserError

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
"""Suffixes that mark a picture's name: anything else is a prompt."""

Weight = Annotated[float, Interval(ge=0, le=1000)]
"""Weight of a term or of guidance."""

Degrees = Annotated[float, Interval(ge=-360, le=360)]
"""Of azimuth."""

Elevation = Annotated[float, Interval(ge=-80, le=80)]
"""Degrees above the horizon."""

Time = Annotated[int, Interval(ge=50, le=999)]
"""A time of 1000."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Turn words or a picture into 3D: a mesh (GLB), a film of it (MP4), figures (JSON), and a run folder."""

    prompt: tyro.conf.Positional[str] = ""
    """What to make, 1 to 500 characters; or a picture of one object before an even background (PNG, JPEG ...)."""
    out: Path | None = None
    """GLB file to write, with an MP4 and a JSON beside it; by default the prompt's words, in the working directory."""
    caption: str = ""
    """What the picture shows; a picture without a caption is not refined."""
    route: Literal["auto", "inflate", "views"] = "auto"
    """How a picture becomes a solid. inflate: from in front, by its outline. views: drawn by a denoiser that knows
    cameras, from `--seen-from`, then given to a network that has seen such things from all sides. auto: views where the
    noun of the prompt is among the kinds that the bundle of `--sides` lists; else, for a photo, and with a bundle other
    than icons and `--teacher`, inflate."""
    teacher: str = "objects"
    """Route views: bundle whose denoiser knows cameras, where that of `--bundle` does not: its name, or a folder."""
    sides: str = "pixelnerf"
    """Route views: bundle that guesses all sides of a picture: its name, or a folder."""
    seen_from: tuple[Degrees, Elevation] = (30.0, 30.0)
    """Route views: azimuth from the front to the right, and elevation, in degrees, from which the picture is drawn, or
    the photo was taken."""
    back: Literal["auto", "wrap", "mirror", "plain"] = "auto"
    """Route inflate: back and sides. wrap: the picture from each side; mirror: from behind, too; plain: the colours of
    its outline, spread. auto: plain for what has eyes, else wrap for what is symmetric, else mirror."""
    refine: Annotated[int, Interval(ge=0, le=100_000)] = 120
    """Steps of score distillation; 0: the inflated picture as it is."""
    bundle: str = "icons"
    """Frozen networks: name of an installed bundle or path of its folder."""
    seed: Annotated[int, Interval(ge=0, le=2**63 - 1)] = 0
    """Seed of every draw: equal seeds and options give equal files on a machine's CPU."""
    samples: Annotated[int, Interval(ge=1, le=64)] = 6
    """Raster samples K of which the best is lifted."""
    sample_omega: Weight = 3.0
    """Weight of guidance of the raster samples."""
    omega: Weight = 12.0
    """Weight of guidance of the refinement in (1 + omega) eps(z; y) - omega eps(z)."""
    upper_t: tuple[Time, Time] = (700, 250)
    """Largest time of 1000 that is drawn, at the first step and at the last."""
    nodes: Annotated[int, Interval(ge=17, le=257)] = 97
    """Nodes of the grid along an axis, a multiple of 4 and one more."""
    render: Annotated[int, Interval(ge=16, le=512)] = 64
    """Side, in pixels, of the pictures that the refinement renders; they are scaled to what the bundle takes."""
    lr: Annotated[float, Interval(ge=0, le=10)] | None = None
    """Learning rate of raw densities; falls to a third. By default 0.08, or 0.15 by views, whose densities are soft."""
    colour_lr: Annotated[float, Interval(ge=0, le=1)] = 0.008
    """Learning rate of colours in [0, 1]; falls to a third."""
    front: Weight | None = None
    """Weight of the picture itself, seen from where it was taken, inside its outline. By default 1, or 10 by views,
    whose field is a guess of fewer pixels than the picture has."""
    solid: Weight = 1.0
    """Route views: weight of the light that passes inside the object's outline, and of what is stopped outside."""
    variation: Weight = 1e-3
    """Weight of the total variation of raw densities and of colours, L1 but for small differences."""


def picture_of(config: Config) -> Path | None:
    """Return the picture that is to be lifted; None where a prompt is."""
    path = Path(config.prompt)
    return path if path.suffix.lower() in PICTURES else None


def inputs(config: Config) -> Mapping[str, Path]:
    """Return the files that are read."""
    picture = picture_of(config)
    return {} if picture is None else {"prompt": picture}


def text_of(config: Config) -> str:
    """Return what the object is, in words: the prompt, or a picture's caption, which may be empty."""
    return config.prompt if picture_of(config) is None else config.caption


def stem(config: Config) -> str:
    """Return a picture's name, or a prompt's words joined by hyphens, without an article at their beginning."""
    picture = picture_of(config)
    if picture is not None:
        return picture.stem
    return stem_of(config.prompt, "object", article=False)


def check(config: Config) -> Config:
    """Return the configuration, its texts trimmed.

    Raises:
        UserError: a text is none or too long, or options do not go together.
    """
    if not config.prompt.strip():
        raise UserError('prompt: expected a few words such as "a red apple", or a picture, got none')
    caption = check_prompt(config.caption, "--caption") if config.caption.strip() else ""
    config = replace(config, prompt=check_prompt(config.prompt), caption=caption)
    if picture_of(config) is None and config.caption:
        raise UserError("--caption: expected with a picture only; a prompt says itself what it shows")
    check_nodes(config.nodes, 4)
    return config
