"""The weights of a camera-aware denoiser in int8: what was trained; the rest is the denoiser of a bundle.

A folder holds `denoiser.safetensors`, int8 codes and float32 steps per output channel, vectors as float16, and
`denoiser.json`, which names the bundle and the hash of its denoiser, and tells how the weights came about.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from runtime.engines.bundle.diffusion import DiffusionBundle
from runtime.errors import UserError
from runtime.files import check_ordinary, read_ordinary
from train.latent_diffusion.camera import CameraDenoiser
from train.latent_diffusion.restore import restore_denoiser
from train.outputs import Outputs
from train.quantize import quantize_channels

WEIGHTS, FACTS = "denoiser.safetensors", "denoiser.json"

TRAINED = (".attentions.", "camera.")
"""Parts of the names of the weights that are trained: the transformers, which read the text, and the camera's token.

Convolutions and their norms stay the bundle's: on a CPU that makes a step nearly twice as fast, and the denoiser
forgets less of what it knows.
"""


def make_denoiser(bundle: DiffusionBundle) -> CameraDenoiser:
    """Return the denoiser of a bundle with an untrained camera; only what is `TRAINED` takes gradients."""
    network = CameraDenoiser()
    # Of the bundle itself: its quantized weights are what the trained parts will meet.
    network.base.load_state_dict(restore_denoiser(bundle).state_dict())
    for name, weight in network.named_parameters():
        weight.requires_grad_(any(part in name for part in TRAINED))
    return network


def pack(weights: Mapping[str, Float[Tensor, "..."]]) -> dict[str, Tensor]:
    """Return what is stored of weights: int8 codes and the step of each output channel, and float16 vectors."""
    state = {}
    for name, weight in weights.items():
        # Norms and biases: few numbers, on which everything depends.
        if weight.dim() < 2:
            state[name] = weight.detach().half().contiguous()
            continue
        codes, step = quantize_channels(weight)
        state[name], state[f"{name}/step"] = codes.contiguous(), step.contiguous()
    return state


def unpack(state: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "..."]]:
    """Return the float32 weights that are stored."""
    weights = {name: value.float() for name, value in state.items() if not name.endswith("/step")}
    return {name: weight * state[f"{name}/step"] if weight.dim() > 1 else weight for name, weight in weights.items()}


def save_weights(
    outputs: Outputs, weights: Mapping[str, Float[Tensor, "..."]], bundle: DiffusionBundle, facts: Mapping[str, object]
) -> None:
    """Write the trained weights of a denoiser, and facts about them.

    Args:
        outputs: of a folder, for `WEIGHTS` and `FACTS`.
        weights: the trained weights by name.
        bundle: what the others are from.
        facts: numbers and texts for `denoiser.json`.
    """
    outputs.write(WEIGHTS, save(pack(weights)))
    header = {"bundle": bundle.name, "denoiser_sha256": _hash_of(bundle)}
    outputs.write(FACTS, json.dumps({**header, **facts}, indent=1) + "\n")


def read_stored(folder: Path) -> tuple[dict[str, Tensor], dict]:
    """Return the stored weights of a folder, and the facts.

    Raises:
        UserError: the folder lacks a file, or one is damaged.
    """
    try:
        check_ordinary(folder / WEIGHTS)
        state, facts = load_file(folder / WEIGHTS), json.loads(read_ordinary(folder / FACTS, 1 << 20))
        facts["denoiser_sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        raise UserError(f"{folder}: expected {WEIGHTS} and {FACTS}, got {error!s:.100}") from None
    return state, facts


@torch.no_grad()
def load_weights(folder: Path, network: CameraDenoiser, bundle: DiffusionBundle) -> dict:
    """Put the trained weights of a folder into a denoiser made of the same bundle; return the facts.

    Raises:
        UserError: the folder lacks a file, or the weights are another network's or on another bundle.
    """
    where = folder / WEIGHTS
    state, facts = read_stored(folder)
    if facts["denoiser_sha256"] != _hash_of(bundle):
        raise UserError(
            f"{where}: expected weights on the denoiser of bundle {bundle.name!r}, got some on another; "
            "take the bundle that they are of, or train anew without --start"
        )
    try:
        fill(network, unpack(state))
    except (ValueError, KeyError) as error:
        raise UserError(
            f"{where}: expected the weights of this version's denoiser, got others: {error!s:.100}"
        ) from None
    return facts


@torch.no_grad()
def fill(network: CameraDenoiser, weights: Mapping[str, Float[Tensor, "..."]]) -> None:
    """Replace the trained weights of a denoiser.

    Raises:
        ValueError: names or shapes are others.
    """
    trained = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    if odd := sorted(weights.keys() ^ trained.keys()):
        raise ValueError(f"'{odd[0]}' is in one of them only")
    for name, weight in trained.items():
        if weights[name].shape != weight.shape:
            raise ValueError(f"'{name}' has shape {tuple(weights[name].shape)}, not {tuple(weight.shape)}")
        weight.copy_(weights[name])


def _hash_of(bundle: DiffusionBundle) -> str:
    return bundle.specs["denoiser"].files["model.onnx"].sha256
