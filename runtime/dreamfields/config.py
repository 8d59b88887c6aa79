"""What `runtime.dreamfields` can be asked for: its options and presets."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from annotated_types import Interval

from runtime.command.prompts import check_prompt
from runtime.command.ranges import check_nodes
from runtime.errors import UserError

Weight = Annotated[float, Interval(ge=0, le=1000)]
"""Weight of a term."""

Share = Annotated[float, Interval(gt=0, le=1)]
"""Part of a picture's area."""

Transmittance = Annotated[float, Interval(ge=0, lt=1)]
Steps = Annotated[int, Interval(ge=0, le=1_000_000)]
Width = Annotated[int, Interval(ge=4, le=4096)]
Factor = Annotated[float, Interval(ge=0.2, le=10)]
"""Factor on the focal length of NeRF's synthetic scenes."""

Degrees = Annotated[float, Interval(ge=-360, le=360)]

Elevation = Annotated[float, Interval(ge=-90, le=90)]
"""Degrees above the horizon."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Turn words into 3D by an image-text encoder alone: a mesh (GLB), a film of it (MP4), figures (JSON)."""

    prompt: tyro.conf.Positional[str] = ""
    """What to make, 1 to 500 characters."""
    out: Path | None = None
    """File to write, GLB (PNG for --field pixels); by default the prompt's words, in the working directory."""
    preset: Literal["fast", "thesis"] = "fast"
    """fast: a few minutes on two cores; thesis: the thesis' sizes, hours on a GPU."""
    field: Literal["mlp", "voxels", "pixels"] = "mlp"
    """mlp: a network on waves; voxels: a dense grid, compiled; pixels: one flat picture. The latter two are the thesis'
    baselines."""
    bundle: str = "icons"
    """Frozen networks, an image-text encoder among them: name of an installed bundle or path of its folder."""
    seed: Annotated[int, Interval(ge=0, le=2**63 - 1)] = 0
    """Seed of every draw: equal seeds and options give equal files on a machine's CPU."""
    steps: Annotated[int, Interval(ge=1, le=1_000_000)] = 400
    """Optimizer steps."""
    views: Annotated[int, Interval(ge=1, le=64)] = 1
    """Cameras a step."""
    render: Annotated[int, Interval(ge=8, le=512)] = 48
    """Side, in pixels, of what a camera sees; its crops are scaled to what the encoder takes."""
    crops: Annotated[int, Interval(ge=1, le=64)] = 4
    """Crops of a camera's picture that the encoder sees, each before another background."""
    crop: tuple[Share, Share] = (0.84, 0.84)
    """Least and greatest part of the picture that a crop shows; 1 1: no crops."""
    background: Literal["random", "noise", "gaussian", "checkerboard", "texture", "white"] = "random"
    """Behind the object. random: noise, checkerboards or textures; all but white are blurred."""
    sparsity: Literal["none", "noise", "beta", "gated", "clipped", "additive"] = "additive"
    """Row of thesis Table 4.2: how emptiness is rewarded; noise perturbs densities instead."""
    sparsity_weight: Weight | None = None
    """Lambda of beta and additive; by default the published code's, 0.001 and 0.5."""
    noise: Annotated[float, Interval(ge=0, le=100)] = 1.0
    """Standard deviation of that perturbation of raw densities."""
    tau: tuple[Transmittance, Transmittance] = (0.4, 0.88)
    """Mean transmittance that is enough, at the first step and from `tau_steps` on, for a focal factor of 1.2; others
    scale it by the object's area."""
    tau_steps: Steps = 150
    """Steps over which tau rises."""
    azimuth: tuple[Degrees, Degrees] = (-180.0, 180.0)
    """Cameras' azimuths, degrees; a narrow range makes billboards."""
    elevation: tuple[Elevation, Elevation] = (30.0, 30.0)
    """Cameras' angles above the horizon, degrees."""
    distance: tuple[Annotated[float, Interval(ge=2, le=100)], Annotated[float, Interval(ge=2, le=100)]] = (4.0, 4.0)
    """Cameras' distances; the object lies in a cube of side 2."""
    focal: tuple[Factor, Factor] = (1.2, 1.2)
    """Factors on the focal length: over 1 enlarges."""
    lr: Annotated[float, Interval(gt=0, le=10)] = 2e-3
    """Learning rate; of raw densities for voxels."""
    lr_start: Annotated[float, Interval(gt=0, le=10)] = 2e-4
    """mlp: learning rate at the first step; it rises exponentially."""
    warmup: Steps = 50
    """mlp: steps over which the learning rate rises."""
    network: Literal["residual", "plain"] = "residual"
    """mlp: residual blocks with normalization, or NeRF's eight layers."""
    width: Width = 32
    """mlp: numbers between blocks."""
    wide: Width = 64
    """mlp: numbers within a block, or of a plain layer."""
    blocks: Annotated[int, Interval(ge=0, le=16)] = 2
    """mlp: residual blocks."""
    basis: Literal["fourier", "axes"] = "fourier"
    """mlp: random frequencies in all directions, or powers of two along the axes."""
    octaves: Annotated[int, Interval(ge=1, le=16)] = 5
    """mlp: frequencies reach 2 to that power."""
    directions: Annotated[int, Interval(ge=1, le=4096)] = 48
    """mlp: random frequencies."""
    ipe: tyro.conf.FlagCreatePairsOff[bool] = True
    """mlp: average waves over the cone of a pixel (mip-NeRF)."""
    bounds: tyro.conf.FlagCreatePairsOff[bool] = True
    """mlp: nothing is outside of the cube, and all samples lie in it."""
    track_origin: tyro.conf.FlagCreatePairsOff[bool] = True
    """mlp: cameras follow the object's centre of mass."""
    density: Literal["softplus", "exp", "volsdf"] = "softplus"
    """mlp: of a raw value; volsdf: by a signed distance (thesis 10.5)."""
    eikonal: Weight = 0.1
    """volsdf: weight of the distance's slope being 1."""
    samples: Annotated[int, Interval(ge=2, le=1024)] = 32
    """mlp: along a ray."""
    looks: Annotated[int, Interval(ge=2, le=1024)] = 64
    """mlp: along a ray of a result."""
    nodes: Annotated[int, Interval(ge=17, le=257)] = 65
    """voxels: along an axis, a multiple of 4 and one more."""
    colour_lr: Annotated[float, Interval(gt=0, le=1)] = 0.02
    """voxels: learning rate of colours."""
    variation: Weight = 1e-3
    """voxels, pixels: weight of the total variation."""


_THESIS: Mapping[str, Any] = {"steps": 10_000, "render": 168, "crops": 64, "tau_steps": 500}
"""Eight crops on each of eight devices."""

_THESIS_GRID: Mapping[str, Any] = {"steps": 5000, "crops": 8, "tau": (0.95, 0.95), "tau_steps": 0, "lr": 0.1}

PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "fast": {
        "mlp": {},
        "voxels": {"render": 96, "lr": 0.15},
        "pixels": {"render": 96, "lr": 0.1},
    },
    "thesis": {
        "mlp": {
            **_THESIS,
            "lr": 1e-4,
            "lr_start": 1e-5,
            "warmup": 1500,
            "width": 128,
            "wide": 256,
            "blocks": 4,
            "octaves": 8,
            "directions": 128,
            "samples": 192,
            "looks": 512,
        },
        "voxels": {
            **_THESIS,
            **_THESIS_GRID,
            "views": 20,
            "crop": (0.5, 1.0),
            "sparsity_weight": 1.0,
            "nodes": 129,
            "colour_lr": 0.025,
            "variation": 0.1,
        },
        "pixels": {**_THESIS, **_THESIS_GRID, "render": 128, "crop": (0.5, 1.0), "variation": 0.1},
    },
}
"""Options that a preset sets for a field, where they are not the defaults."""


def preset_config(preset: str | None, field: str | None) -> Config:
    """Return a preset's options for a field; the default ones for names that are none, which parsing refuses."""
    size = preset if preset is not None and preset in PRESETS else "fast"
    kind = field if field is not None and field in PRESETS[size] else "mlp"
    return replace(Config(), preset=size, field=kind, **PRESETS[size][kind])  # pyright: ignore[reportArgumentType]


def check(config: Config) -> Config:
    """Return the configuration, its prompt trimmed.

    Raises:
        UserError: the prompt is none, or options do not go together.
    """
    for name in ("crop", "azimuth", "elevation", "distance", "focal"):
        low, high = getattr(config, name)
        if low > high:
            raise UserError(f"--{name}: expected the lower value first, got {low:g} {high:g}")
    if config.field == "voxels":
        check_nodes(config.nodes, 4)
    if config.field != "mlp" and config.sparsity == "noise":
        raise UserError(f"--sparsity noise: expected --field mlp, got {config.field}")
    return replace(config, prompt=check_prompt(config.prompt))
