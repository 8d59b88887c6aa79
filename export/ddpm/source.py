"""Where a network comes from: a run folder of `train.ddpm`, or a folder of diffusers or of the official checkpoints.

A folder of diffusers has `unet/config.json`, `diffusion_pytorch_model.safetensors` beside it, and
`scheduler/scheduler_config.json`, or all three in itself. The official checkpoints, converted to PyTorch, are one
`model.safetensors` beside a `config.json` in the manner of diffusers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from runtime.engines.strict_json import parse_value
from runtime.errors import UserError
from runtime.files import read_ordinary
from train.ddpm.names import our_names
from train.ddpm.network import Architecture, PixelDenoiser
from train.ddpm.runs import SCHEDULE, load_run
from train.ddpm.weights import PICKLES, read_tensors, refuse_pickle

_FIXED = {"flip_sin_to_cos": False, "freq_shift": 1, "downsample_padding": 0, "norm_eps": 1e-6, "act_fn": "silu"}
_DEFAULTS = {"flip_sin_to_cos": True, "freq_shift": 0, "downsample_padding": 1, "norm_eps": 1e-5, "act_fn": "silu"}


@dataclass(frozen=True, kw_only=True)
class Source:
    """A trained network and what a bundle says of it."""

    network: PixelDenoiser
    """Frozen."""
    data: str
    """Name of the data set."""
    provenance: str
    """One sentence for people."""
    schedule: Mapping[str, Any] = field(default_factory=lambda: dict(SCHEDULE))
    """num_timesteps, beta_start, beta_end, beta_schedule and prediction_type."""
    variance: str = "fixedlarge"
    """Of a step of ancestral sampling."""
    attribution: bytes | None = None
    """Content of ATTRIBUTION.md, where the data ask for one."""

    @property
    def architecture(self) -> Architecture:
        """What the network is made from."""
        return self.network.architecture


def source_of_run(folder: Path) -> Source:
    """Return the averaged weights of a run folder of `train.ddpm`; errors as of `train.ddpm.runs.load_run`."""
    network, run = load_run(folder)
    data = run.data if "/" not in run.data else Path(run.data).name
    attribution = None
    if data == "icons":
        attribution = Path(__file__).parents[1].joinpath("icons", "ATTRIBUTION.md").read_bytes()
    sets = f", icon sets {run.sets}" if run.sets else ""
    return Source(
        network=network.eval().requires_grad_(False),
        data=data,
        provenance=f"Trained from scratch by train.ddpm of this package on {data}{sets}.",
        schedule=run.schedule,
        attribution=attribution,
    )


def source_of_weights(folder: Path) -> Source:
    """Return a network of diffusers' files, or of official checkpoints that were converted.

    Raises:
        UserError: the folder lacks a file, is of another network, or has weights that only unpickling could read.
    """
    room = folder / "unet" if (folder / "unet").is_dir() else folder
    architecture = _architecture(_read_json(room / "config.json"))
    weights = our_names(_read_weights(room), len(architecture.widths))
    with torch.device("meta"):
        network = PixelDenoiser(architecture)
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    got = {name: tuple(value.shape) for name, value in weights.items()}
    wrong = sorted(name for name in expected.keys() | got.keys() if expected.get(name) != got.get(name))
    if wrong:
        first = wrong[0]
        raise UserError(
            f"--weights '{folder}': expected {first} of shape {expected.get(first)}, got {got.get(first)}: the weights "
            "do not fit config.json; take both from one model"
        )
    network.load_state_dict({name: value.float() for name, value in weights.items()}, assign=True)
    document = _scheduler(folder)
    return Source(
        network=network.eval().requires_grad_(False),
        data=folder.name,
        provenance=f"Weights of '{folder.name}', exported by this package.",
        schedule=_schedule(document),
        variance="fixedsmall" if document.get("variance_type", "fixed_large") == "fixed_small" else "fixedlarge",
    )


def _read_json(file: Path) -> dict[str, Any]:
    try:
        document = parse_value(read_ordinary(file, 1 << 24))
    except FileNotFoundError:
        raise UserError(f"--weights: expected '{file}', got no file; name a folder of diffusers") from None
    except (OSError, ValueError) as error:
        raise UserError(f"'{file}' cannot be read as JSON: {error}") from error
    if not isinstance(document, dict):
        raise UserError(f"'{file}': expected a JSON object, got {type(document).__name__}")
    return document


def _read_weights(room: Path) -> dict[str, torch.Tensor]:
    files = sorted(room.glob("*.safetensors"))
    if files:
        return read_tensors(files[0])
    for path in sorted(room.iterdir()):
        if path.suffix in PICKLES:
            refuse_pickle(path)
    raise UserError(f"--weights '{room}': expected a .safetensors file, got none")


def _architecture(config: Mapping[str, Any]) -> Architecture:
    """Return the network that diffusers' configuration of a `UNet2DModel` describes."""
    for name, expected in _FIXED.items():
        got = config.get(name, _DEFAULTS[name])
        if got != expected:
            raise UserError(f"config.json: field '{name}': expected {expected}, the network of DDPM, got {got}")
    try:
        widths = tuple(config["block_out_channels"])
        kinds = config["down_block_types"]
        size = int(config["sample_size"])
        attention = tuple(size >> level for level, kind in enumerate(kinds) if kind == "AttnDownBlock2D")
        fits = all(kind in ("DownBlock2D", "AttnDownBlock2D") for kind in kinds)
        if not fits or config.get("attention_head_dim") is not None or len(kinds) != len(widths):
            raise ValueError(f"blocks {', '.join(kinds)} with heads of {config.get('attention_head_dim')}")
        return Architecture(
            channels=int(config["in_channels"]),
            size=size,
            widths=widths,
            blocks=int(config["layers_per_block"]),
            attention=attention,
            dropout=0.0,
            groups=int(config.get("norm_num_groups", 32)),
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"config.json: expected a UNet2DModel of DDPM, got something else ({error})") from error


def _scheduler(folder: Path) -> dict[str, Any]:
    """Return diffusers' description of the scheduler; nothing where the folder has none."""
    # The published DDPM checkpoints have it beside the weights, pipelines that diffusers saves in a folder of its own.
    for place in (folder / "scheduler", folder):
        if (place / "scheduler_config.json").is_file():
            return _read_json(place / "scheduler_config.json")
    return {}


def _schedule(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schedule that diffusers' scheduler_config.json describes; without one, the paper's."""
    named = {"num_timesteps": "num_train_timesteps"}
    return {name: document.get(named.get(name, name), value) for name, value in SCHEDULE.items()}
