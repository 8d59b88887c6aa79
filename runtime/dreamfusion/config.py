"""What `runtime.dreamfusion` can be asked for: its options and presets."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from annotated_types import Interval

from runtime.command.prompts import check_prompt, stem_of
from runtime.command.ranges import check_nodes
from runtime.errors import UserError

Weight = Annotated[float, Interval(ge=0, le=1000)]
"""Weight of a term or of guidance."""

Time = Annotated[int, Interval(ge=1, le=999)]
"""A time of 1000."""

Share = Annotated[float, Interval(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Turn words into 3D by DreamFusion: a mesh (GLB), a film of it (MP4), figures (JSON), and a run folder."""

    prompt: tyro.conf.Positional[str] = ""
    """What to make, 1 to 500 characters."""
    out: Path | None = None
    """GLB file to write, with an MP4 and a JSON beside it; by default the prompt's words, in the working directory."""
    preset: Literal["fast", "thesis"] = "fast"
    """fast: a grid, compiled, minutes on a CPU; thesis: the paper's network, cameras, shading and times, for a GPU."""
    bundle: str = "icons"
    """Frozen networks: name of an installed bundle or path of its folder. One without an autoencoder distils in pixels;
    one for ddpm reads no prompt either, so it pulls towards anything that it knows."""
    seed: Annotated[int, Interval(ge=0, le=2**63 - 1)] = 0
    """Seed of every draw: equal seeds and options give equal files on a machine's CPU."""
    steps: Annotated[int, Interval(ge=1, le=1_000_000)] = 700
    """Steps of all stages, a picture each."""
    render: Annotated[int, Interval(ge=8, le=512)] = 64
    """Side, in pixels, of the pictures that are rendered; they are scaled to what the bundle takes."""
    nodes: Annotated[int, Interval(ge=9, le=257)] = 73
    """Preset fast: nodes of the finest grid along an axis, a multiple of 8 and one more; coarser ones come first."""
    samples: Annotated[int, Interval(ge=2, le=4096)] = 64
    """Preset thesis: samples along a ray."""
    omega: Weight = 15.0
    """Weight of guidance in (1 + omega) eps(z; y) - omega eps(z); elsewhere `guidance_scale` 1 + omega."""
    lower_t: Time = 50
    """Smallest time of 1000 that is drawn."""
    upper_t: tuple[Time, Time] = (950, 300)
    """Largest time of 1000 that is drawn, at the first step and at the last."""
    target_every: Annotated[int, Interval(ge=0, le=100_000)] = 0
    """Preset fast: steps from one target to the next, a picture that the denoiser makes of the field in ten calls and
    that the field then follows; 0: score distillation, the paper's method."""
    target_omega: Weight = 6.0
    """Weight of guidance of targets."""
    weighting: Literal["sigma2", "uniform", "alpha-sigma2"] = "sigma2"
    """w(t): the paper's sigma^2, 1, or alpha sigma^2 as in Fantasia3D."""
    cameras: Literal["distant", "paper", "threestudio"] = "distant"
    """Random cameras. distant: the box fills the frame, as objects do in icons; paper; threestudio: its defaults."""
    views: Literal["none", "nearest", "mixed", "perp-neg", "camera"] = "none"
    """View behind the prompt. nearest: front, side, back or overhead view; mixed: the paper's interpolation between
    them; perp-neg: this, and the other views as negatives (arXiv:2304.04968); camera: no words but the camera itself,
    for a bundle that knows cameras, whose default it is."""
    latent: Share = 0.1
    """Part of the steps, from the first, in which a linear map of colours stands in for an encoder of latents."""
    shading: Share = 0.0
    """How often a picture is shaded by a random lamp, after the first 15th of the steps."""
    textureless: Share = 0.5
    """How many of the shaded pictures are white, so that only the shape tells."""
    blob: Literal["gaussian", "cone"] = "gaussian"
    """Density to begin with: DreamFusion's or Magic3D's."""
    background: Literal["white", "random", "learned"] = "white"
    """Behind the object: white; a random light grey each step; for preset thesis also a network of the direction."""
    orientation: Weight = 0.0
    """Weight of normals that face away from the camera; it grows from a hundredth over the first third of the steps."""
    opacity: Weight = 0.0
    """Weight of sqrt(alpha^2 + 0.01), against fog."""
    entropy: Weight = 0.05
    """Weight of the entropy of alpha, for rays that end or pass."""
    solid: Weight = 1.0
    """Weight of the light that passes inside the object's outline, and of what stops it outside, after three tenths of
    the steps: before white, white parts and holes look alike."""
    distortion: Weight = 0.0
    """Weight of the spread along rays (mip-NeRF 360, arXiv:2111.12077)."""
    variation: Weight = 1e-3
    """Preset fast: weight of the total variation of raw densities and colours, L1 but for small differences."""
    lr: Annotated[float, Interval(ge=0, le=10)] = 0.2
    """Learning rate of raw densities, or of the network; falls to a third."""
    colour_lr: Annotated[float, Interval(ge=0, le=1)] = 0.03
    """Preset fast: learning rate of colours in [0, 1]; falls to a third."""


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {},
    "thesis": {
        "steps": 15_000,
        "omega": 100.0,
        "lower_t": 20,
        "upper_t": (980, 980),
        "cameras": "paper",
        "views": "mixed",
        "latent": 0.0,
        "shading": 0.75,
        "background": "learned",
        "orientation": 1e-2,
        "opacity": 1e-3,
        "entropy": 0.0,
        "solid": 0.0,
        "lr": 1e-3,
    },
}
"""Options that a preset sets, where they are not the defaults."""


def preset_config(preset: str | None) -> Config:
    """Return the options of a preset; of the default one for a name that is none, which parsing refuses."""
    name = preset if preset in PRESETS else "fast"
    return replace(Config(), preset=name, **PRESETS[name])  # pyright: ignore[reportArgumentType]


def stem(config: Config) -> str:
    """Return a prompt's words joined by hyphens, without an article at their beginning."""
    return stem_of(config.prompt, "object", article=False)


def check(config: Config) -> Config:
    """Return the configuration, its prompt trimmed.

    Raises:
        UserError: the prompt is none or too long, or options do not go together.
    """
    config = replace(config, prompt=check_prompt(config.prompt))
    if config.preset == "fast":
        check_nodes(config.nodes, 8)
    if config.preset == "fast" and config.background == "learned":
        raise UserError("--background learned: expected with --preset thesis only; a grid has no network for it")
    if config.target_every and config.preset != "fast":
        raise UserError(f"--target-every {config.target_every}: expected with --preset fast only, got {config.preset}")
    if config.target_every and config.cameras != "distant":
        raise UserError(f"--target-every {config.target_every}: expected --cameras distant, got {config.cameras}")
    if config.lower_t > min(config.upper_t):
        raise UserError(f"--lower-t: expected at most --upper-t, {min(config.upper_t)}, got {config.lower_t}")
    return config
