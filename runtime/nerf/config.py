"""What `runtime.nerf` can be asked for: its options and presets."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from annotated_types import Interval

from runtime.command.prompts import check_prompt
from runtime.command.ranges import check_nodes
from runtime.errors import UserError
from runtime.nerf.capture import CaptureOptions, check_capture

Weight = Annotated[float, Interval(ge=0, le=1000)]
"""Weight of a term."""


@dataclass(frozen=True, kw_only=True)
class Config(CaptureOptions):
    """Turn photos with known cameras into 3D: a mesh (GLB), a film of it (MP4), and figures (JSON).

    `inspect CAPTURE` lists a capture's cameras, `render RUN` films a run, `mesh RUN` writes its mesh as OBJ or PLY, and
    `view RUN` shows it on a live page; each has a --help. `--viewer` shows the fit itself on such a page.
    """

    out: Path | None = None
    """GLB file to write, with an MP4 and a JSON beside it; by default the capture's name, in the working directory."""
    preset: Literal[
        "fast", "nerf", "simplified", "simplified-lego", "simplified-materials", "simplified-hotdog", "diet"
    ] = "fast"
    """fast: a grid, compiled, seconds on a CPU; the others: the thesis' networks, hours on a GPU."""
    field: Literal["dense", "hashed", "hashed-network"] = "dense"
    """Preset fast: one dense grid; or instant-ngp's hashed grids of many resolutions, by themselves or with its small
    network, whose colours depend on the direction."""
    views: Annotated[int, Interval(ge=1, le=100_000)] | None = None
    """Pictures to train on, drawn by the seed (0: as in DietNeRF's published code); the others are held out. By
    default all."""
    hold_out: Annotated[int, Interval(ge=0, le=100_000)] = 0
    """Hold out every n-th picture where the capture names no test pictures; 0: none."""
    size: Annotated[int, Interval(ge=8, le=8192)] = 400
    """Longest side, in pixels, at which pictures are read."""
    background: Literal["white", "black", "random"] = "white"
    """What is behind the scene where pictures are transparent; random: another colour each ray."""
    steps: Annotated[int, Interval(ge=1, le=1_000_000)] = 700
    """Steps of all stages."""
    rays: Annotated[int, Interval(ge=16, le=10_000_000)] = 5000
    """Rays a step."""
    nodes: Annotated[int, Interval(ge=9, le=513)] = 113
    """Preset fast: nodes of the finest grid along an axis, a multiple of 8 and one more; coarser ones come first.
    On hashed grids rays are sampled at their distance."""
    view_dependent: tyro.conf.FlagCreatePairsOff[bool] = False
    """Let colours depend on the direction of view; for preset fast linearly, in four times the memory."""
    alpha: Weight = 1.0
    """Weight of the pictures' alpha as a second target, where they have one."""
    variation: Weight = 6e-5
    """Preset fast: weight of the total variation of raw densities, and half of that of colours, L1 but for small
    differences."""
    distortion: Weight = 0.0
    """Weight of the distortion loss (mip-NeRF 360, arXiv:2111.12077)."""
    blur: Annotated[float, Interval(ge=0, le=8)] = 0.0
    """Preset fast, dense grid: standard deviation, in nodes, of a Gaussian that blurs gradients at first. It falls to 0
    over three fifths of the steps (a grid's form of SANeRF's annealing, arXiv:2406.07828); 0: none."""
    anneal: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """Networks: part of the steps in which high frequencies fade in (FreeNeRF, arXiv:2303.07418); 0: none."""
    lr: Annotated[float, Interval(gt=0, le=1)] | None = None
    """Networks: learning rate of Adam at the first step; by default that of Table 9.1, such as 0.0005 for nerf."""
    mixed_precision: tyro.conf.FlagCreatePairsOff[bool] = False
    """Networks: evaluate them in bfloat16 (thesis 3.4.4); pays on processors and cards with units for it."""
    device: str = "cpu"
    """Networks: where they are trained, and where those that judge run: cpu, cuda, cuda:N, or auto. Grids are on the
    CPU."""
    encoder: str | None = None
    """Bundle whose image encoder judges pictures from random cameras (DietNeRF): its name, or a folder."""
    semantic: Weight = 0.1
    """Weight of that judgement, every tenth step; without an encoder there is none."""
    semantic_size: Annotated[int, Interval(ge=8, le=512)] = 64
    """Side, in pixels, of the pictures that are rendered for it."""
    semantic_cameras: Literal["hemisphere", "between"] = "hemisphere"
    """Where it looks from: anywhere in the upper hemisphere, at the photos' distances; or, where a scene cannot be
    walked around, between the cameras of three photos (thesis 3.4.3)."""
    hull: tyro.conf.FlagCreatePairsOff[bool] = False
    """Preset fast, dense grid, pictures with alpha: hold empty what some picture shows to be outside the object's
    silhouette (visual hull), and what none shows."""
    prior: str | None = None
    """Preset fast, few photos: bundle that knows what objects look like, its name, or a folder. pixelnerf guesses, from
    three photos, pictures of unseen sides, weak targets beside the photos; a diffusion model, such as objects, looks
    from random cameras and pulls what it sees towards the prompt, by score distillation."""
    guess: Weight = 1.0
    """Weight of pixelNeRF's pictures at first, less near the photos; it falls to nothing over half of the steps."""
    prompt: str = ""
    """What the photos show, 1 to 500 characters, for a diffusion model."""
    front: Annotated[float, Interval(ge=-360, le=360)] | None = None
    """Azimuth of the object's front in the capture's frame, degrees, for a prior that knows cameras; without it that
    is not told where they are. `inspect` lists azimuths."""
    distillation: Weight = 0.1
    """Weight of a diffusion model as a prior, every second step."""
    omega: Weight = 3.0
    """That model's weight of guidance in (1 + omega) eps(z; y) - omega eps(z); elsewhere `guidance_scale` 1 + omega."""
    seed: Annotated[int, Interval(ge=0, le=2**63 - 1)] = 0
    """Seed of every draw."""


@dataclass(frozen=True, kw_only=True)
class Networks:
    """The thesis' networks of a preset (Table 9.1)."""

    frequencies: int
    """Of positions: 2^0 to 2^(frequencies - 1)."""
    coarse: int
    """Stratified samples a ray."""
    fine: int
    """Further samples a ray, of a second network; 0: none."""
    lr: float
    """Learning rate of Adam; it falls to a tenth over 500,000 steps, as in the published code."""


_SIMPLIFIED = Networks(frequencies=6, coarse=128, fine=0, lr=5e-5)

NETWORKS: Mapping[str, Networks] = {
    "nerf": Networks(frequencies=10, coarse=64, fine=128, lr=5e-4),
    "simplified": _SIMPLIFIED,
    "simplified-lego": _SIMPLIFIED,
    "simplified-materials": replace(_SIMPLIFIED, lr=1e-5),
    "simplified-hotdog": replace(_SIMPLIFIED, lr=1e-5, frequencies=4),
    "diet": Networks(frequencies=10, coarse=64, fine=128, lr=5e-4),
}
"""Networks of the presets that have some; `simplified` is the row of chair, drums, ficus, mic and ship."""

_LONG: Mapping[str, Any] = {"steps": 200_000, "rays": 1024, "alpha": 0.0}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {},
    "nerf": {**_LONG, "view_dependent": True},
    "simplified": _LONG,
    "simplified-lego": {**_LONG, "view_dependent": True},
    "simplified-materials": _LONG,
    "simplified-hotdog": _LONG,
    "diet": {**_LONG, "view_dependent": True, "encoder": "icons"},
}
"""Options that a preset sets, where they are not the defaults."""


def preset_config(preset: str | None) -> Config:
    """Return the options of a preset; of the default one for a name that is none, which parsing refuses."""
    name = preset if preset in PRESETS else "fast"
    return replace(Config(), preset=name, **PRESETS[name])  # pyright: ignore[reportArgumentType]


def stem(config: Config) -> str:
    """Return the name of a capture: that of its folder, or of an archive."""
    path = config.capture.absolute()
    generic = path.stem.startswith(("transforms", "poses")) or path.is_dir()
    name = (path if path.is_dir() else path.parent).name if generic else path.stem
    return name or "capture"


def check_device(device: str) -> None:
    """Raise `UserError` where there is no such device."""
    from runtime.engines.backends.choice import choose_device

    choose_device(device)


def check(config: Config) -> Config:
    """Refuse options that do not go together."""
    check_capture(config)
    check_nodes(config.nodes, 8)
    check_device(config.device)
    for option, given in (("--prior", config.prior is not None), ("--hull", config.hull)):
        if given and config.preset != "fast":
            raise UserError(f"{option}: expected with --preset fast only, got --preset {config.preset}")
    if config.hull and config.field != "dense":
        raise UserError(f"--hull: expected with --field dense only, got --field {config.field}")
    return replace(config, prompt=check_prompt(config.prompt)) if config.prior is not None and config.prompt else config
