"""What VectorFusion can be asked for: its options and presets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from annotated_types import Interval

from runtime.command.outputs import VIDEO_SUFFIXES
from runtime.command.prompts import check_prompt
from runtime.command.seeds import parse_seeds
from runtime.errors import UserError

if TYPE_CHECKING:
    from runtime.engines.bundle import DiffusionBundle

MOST_SEEDS = 64
"""Seeds of one run."""

SHEET = ".sheet.png"
"""Suffix of the contact sheet of several seeds."""

Weight = Annotated[float, Interval(ge=0, le=1000)]
"""Weight of a term or of guidance."""

Time = Annotated[int, Interval(ge=50, le=999)]
"""A time of 1000."""

STEPS = 75
"""Steps of distillation where none are given and the drawing is not retraced."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Draw what a prompt says: an SVG, its PNG, and a run folder.

    Learning rates and weights that are not the thesis' suit the bundle `icons` and short runs.
    """

    prompt: tyro.conf.Positional[str] = ""
    """What to draw: 1 to 500 characters, and no more tokens than the bundle takes."""
    out: Path | None = None
    """SVG file to write, with a PNG beside it; by default the prompt's words, in the working directory."""
    preset: Literal["icon", "sketch", "pixel"] = "icon"
    """icon: filled paths; sketch: black strokes; pixel: a grid of squares. Sets the defaults of other options."""
    route: Literal["trace", "scratch"] = "trace"
    """trace: sample pictures, trace the best, refine it (sketch: its outlines); scratch: refine random paths."""
    tracer: Literal["contours", "live"] = "contours"
    """What traces the sample of an icon: contours (its areas, as few smooth shapes) or live (layer by layer, LIVE;
    thesis 6.4.1). Sketches take LIVE's."""
    bundle: str = "icons"
    """Frozen networks: name of an installed bundle or path of its folder."""
    init: Path | None = None
    """SVG file to start from in place of sampling, tracing or random paths."""
    seed: Annotated[int, Interval(ge=0, le=2**63 - 1)] = 0
    """Seed of every draw: equal seeds and options give equal files on a machine's CPU."""
    seeds: str = ""
    """Several seeds in one run, such as 0-7 or 1,5,9, in place of --seed: the one that fits the prompt best is the
    result, a contact sheet and a file for each seed stand beside it. At most 64."""
    steps: Annotated[int, Interval(ge=0, le=100_000)] | None = None
    """Steps of distillation; tracing has its own. 0: what was sampled and traced, as it is. By default icons from
    contours are not distilled: the denoiser cleans the drawing's own picture, noised a little, and that is traced
    anew. All others have 75 steps, and so have icons with --clip, --saturation or --target-every."""
    target_every: Annotated[int, Interval(ge=0, le=10_000)] = 0
    """Steps that the drawing is fitted to one target: the clean picture that ten calls of the denoiser make of its own,
    noised to a time that falls along --upper-t, with --sample-omega (SDEdit, arXiv:2108.01073; renewed as in
    Instruct-NeRF2NeRF, arXiv:2303.12789). 0: score distillation, a gradient of one call in every step, as in the
    thesis."""
    paths: Annotated[int, Interval(ge=1, le=4096)] = 64
    """Paths of the drawing; for pixel a square number."""
    omega: Weight = 10.0
    """Weight of guidance in (1 + omega) eps(z; y) - omega eps(z); the thesis has 100 for large models."""
    samples: Annotated[int, Interval(ge=1, le=64)] = 8
    """Raster samples K of which the best is traced."""
    sample_omega: Weight = 3.0
    """Weight of guidance of the raster samples, and of targets; the thesis has 6.5."""
    rasterizer: Literal["numba", "torch", "diffvg"] = "numba"
    """What draws: numba (compiled), torch (slow, readable), diffvg (a peer, where it is installed)."""
    gradients: Literal["auto", "torch", "engine"] = "auto"
    """What differentiates the latent encoder: PyTorch, an engine where the bundle has one, or the engine on a CPU and
    PyTorch elsewhere."""
    lr: Annotated[float, Interval(ge=0, le=100)] = 0.2
    """Peak learning rate of control points, in pixels of a canvas of 600; warmed up from a tenth, decayed to
    a quarter. The thesis has 0.2, too, for 1000 to 2000 steps."""
    colour_lr: Annotated[float, Interval(ge=0, le=1)] = 0.002
    """Peak learning rate of colours in [0, 1], with the same schedule; a tenth of it for the background. The
    thesis has 0.01 (pixel: 0.0001)."""
    upper_t: tuple[Time, Time] = (600, 200)
    """Largest time of 1000 that is drawn, at the first step and at the last; the thesis has 950. With targets the time
    itself, at the first and at the last of them."""
    self_intersection: Weight = 0.01
    """Weight of the self-intersection term of icons."""
    saturation: Weight = 0.0
    """Weight of the saturation penalty."""
    clip: Weight = 0.0
    """Weight of the cosine of CLIPDraw's views with the prompt, by the bundle's image-text encoder, besides the
    distillation; the thesis tries 0.1 and 1."""
    symmetric: Literal["off", "auto", "on"] = "off"
    """Icons from contours whose right is the mirror image of their left, one half of the sample being traced: auto,
    where the sample nearly is so itself; on, always."""
    reinitialize: bool = True
    """Icons: replace paths that have become faint or small by new ones, every 50 steps but for the last 200."""
    video: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write a film of the optimization, too: an MP4 and an animated SVG."""
    layers: tyro.conf.FlagCreatePairsOff[bool] = False
    """Group paths of like colour that follow one another, with names: layers of an editor."""
    transparent: tyro.conf.FlagCreatePairsOff[bool] = False
    """Leave white paper out of the SVG."""
    tidy: tyro.conf.FlagCreatePairsOff[bool] = False
    """Take out hidden paths and slivers, make nearly equal colours one, and nearly round shapes round."""


SDS_FROM_SCRATCH = Config(route="scratch", steps=400, omega=15.0, lr=5.0, colour_lr=0.02, upper_t=(950, 300))
"""Icons from scratch by score distillation from the first step to the last, the thesis' method."""

PRESETS: Mapping[str, Mapping[str, Config]] = {
    "icon": {
        "trace": Config(),
        "scratch": Config(
            route="scratch",
            steps=1200,
            target_every=30,
            sample_omega=6.0,
            lr=2.5,
            colour_lr=0.02,
            upper_t=(950, 200),
            self_intersection=0.001,
        ),
    },
    "sketch": {
        "trace": Config(preset="sketch", paths=16, lr=0.3, self_intersection=0.0),
        "scratch": replace(SDS_FROM_SCRATCH, preset="sketch", paths=16, lr=4.0, self_intersection=0.0),
    },
    "pixel": {
        "trace": Config(preset="pixel", paths=1024, self_intersection=0.0, saturation=0.05),
        "scratch": replace(SDS_FROM_SCRATCH, preset="pixel", paths=1024, self_intersection=0.0, saturation=0.05),
    },
}
"""The named instances of Config: by preset and route; a preset's first route is its default."""


def check(config: Config) -> Config:
    """Return the configuration, its prompt trimmed; ranges of numbers are `runtime.command.ranges`'.

    Raises:
        UserError: the prompt is none, or options do not go together.
    """
    prompt = check_prompt(config.prompt)
    if config.preset == "pixel" and math.isqrt(config.paths) ** 2 != config.paths:
        raise UserError(f"--paths: expected a square number for a grid of pixels, such as 1024, got {config.paths}")
    if config.preset == "pixel" and config.tidy:
        raise UserError("--tidy: expected with paths; the squares of --preset pixel are tidy as they are")
    if config.symmetric != "off" and not has_contours(config):
        raise UserError(
            f"--symmetric {config.symmetric}: expected with contours (--preset icon --route trace --tracer contours, "
            "without --init), whose sample is mirrored"
        )
    if config.seeds:
        seeds = parse_seeds(config.seeds, MOST_SEEDS)
        if len(set(seeds)) < len(seeds):
            raise UserError(f"--seeds: expected different seeds, got '{config.seeds}'")
        if max(seeds) >= 2**63:
            raise UserError(f"--seeds: expected seeds below 2^63, got {max(seeds)}")
        if config.video:
            raise UserError("--video: expected with one --seed; a run of several --seeds has no film")
    preset_config(config.preset, config.route)
    return replace(config, prompt=prompt)


def has_contours(config: Config) -> bool:
    """Return whether a configuration's drawing begins from contours, whose lines and smooth joints stay."""
    return (config.preset, config.route, config.tracer) == ("icon", "trace", "contours") and config.init is None


def is_retraced(config: Config) -> bool:
    """Return whether a configuration's drawing is cleaned and traced anew in place of distillation."""
    is_plain = config.steps is None and config.clip == 0.0 and config.saturation == 0.0 and config.target_every == 0
    return is_plain and has_contours(config)


def steps_of(config: Config) -> int:
    """Return the steps of distillation; 0 where the drawing is retraced."""
    if config.steps is None:
        return 0 if is_retraced(config) else STEPS
    return config.steps


def suffixes(config: Config) -> tuple[str, ...]:
    """Return the suffixes of the files that are written, the SVG's first."""
    several = [SHEET, *(f".seed-{seed}.svg" for seed in parse_seeds(config.seeds))] if config.seeds else []
    return (".svg", ".png", *several, *(VIDEO_SUFFIXES if config.video else ()))


def networks(config: Config, bundle: "DiffusionBundle") -> tuple[str, ...]:
    """Return the graphs of a bundle that a configuration's run asks for, in that order."""
    names = ["text_encoder"]
    encoder = bundle.specs.get("latent_encoder")
    # Else PyTorch has both its value and its gradient.
    by_engine = config.gradients != "torch" and not bundle.compile
    if config.target_every or is_retraced(config):
        # Nothing is differentiated.
        names += ["latent_encoder"]
    elif by_engine and encoder is not None and "vjp.onnx" in encoder.files:
        names += ["latent_encoder", "latent_encoder.vjp"]
    is_sampled = config.route == "trace" and config.init is None
    if is_sampled and config.samples > 1:
        names += ["image_embedder", "text_embedder"]
    return (*names, "denoiser", *(["latent_decoder"] if is_sampled or config.target_every else []))


def preset_config(preset: str | None, route: str | None) -> Config:
    """Return the named instance of a preset (None: icon) and a route (None: the preset's own).

    Raises:
        UserError: there is none.
    """
    preset = "icon" if preset is None else preset
    if preset not in PRESETS:
        raise UserError(f"--preset: expected one of {', '.join(PRESETS)}, got '{preset}'")
    routes = PRESETS[preset]
    if route is not None and route not in routes:
        raise UserError(f"--route: expected {' or '.join(routes)} for the preset '{preset}', got '{route}'")
    return routes[route or next(iter(routes))]
