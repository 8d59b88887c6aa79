"""The trained networks of the bundle `icons`, and inputs of the distribution that they see in use."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from runtime.engines.tokens import PromptTokenizer
from runtime.errors import UserError
from train.clip.dual import DualEncoder
from train.latent_diffusion.autoencoder import IconAutoencoder
from train.latent_diffusion.text import LENGTH, TextEncoder, bits_of, load_text_encoder
from train.latent_diffusion.unet import IconDenoiser
from train.quantize import Groups, quantize_groups

Module = TypeVar("Module", bound=nn.Module)

PROMPTS = (
    "",
    "a red apple",
    "a cat",
    "a fire truck",
    "a rocket, minimal flat vector icon",
    "an icon of a slice of pizza",
    "a blue heart",
    "two friendly robots, cartoon icon",
)
"""Texts that the networks are verified with."""

FILES = (
    "autoencoder/ema.safetensors",
    "denoiser/ema.safetensors",
    "denoiser/prepared.safetensors",
    "dual/ema.safetensors",
    "minilm/config.json",
    "minilm/model.safetensors",
    "minilm/tokenizer.json",
)
"""What a folder of weights holds: the run folders of the training programs, and all-MiniLM-L6-v2."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Trained networks, frozen, and verification inputs; V is `len(PROMPTS)`."""

    autoencoder: IconAutoencoder
    """Pictures to latents and back."""
    denoiser: IconDenoiser
    """Noise predictor."""
    dual: DualEncoder
    """Image-text encoder."""
    text_encoder: TextEncoder
    """MiniLM with its quantized values."""
    text_groups: tuple[Groups, ...]
    """The codes of those values."""
    tokenizer: bytes
    """Content of tokenizer.json."""
    latent_scale: float
    """Factor on the autoencoder's latents."""
    latents: Float[Tensor, "V 4 16 16"]
    """Scaled latents of training pictures."""
    input_ids: Int[Tensor, "V 16"]
    """Tokens of `PROMPTS`."""
    attention_mask: Int[Tensor, "V 16"]
    """1 where a token is, 0 where it fills up."""

    def context(self) -> Float[Tensor, "V 17 384"]:
        """Return the contexts of `PROMPTS`."""
        with torch.no_grad():
            return self.text_encoder(self.input_ids, self.attention_mask)

    def images(self) -> Float[Tensor, "V 3 128 128"]:
        """Return pictures in [0, 1]: the verification latents, decoded."""
        with torch.no_grad():
            return self.autoencoder.decode(self.latents / self.latent_scale).clamp(0.0, 1.0)


def load_weights(folder: Path) -> Weights:
    """Return the trained networks of a folder that holds `FILES`.

    Raises:
        UserError: a file is missing, or does not fit its network.
    """
    for name in FILES:
        if not (folder / name).is_file():
            raise UserError(f"--weights {folder}: expected {name} in it, got none; see train/ for how to make it")
    autoencoder = _load(IconAutoencoder, folder / "autoencoder" / "ema.safetensors")
    path = folder / "denoiser" / "prepared.safetensors"
    try:
        with safe_open(path, "pt") as prepared:
            # A slice is read without the rest of the table, which holds the latents of the whole training set.
            rows = prepared.get_slice("latents")
            step = max(1, rows.get_shape()[0] // len(PROMPTS))
            latents = torch.cat([rows[i * step : i * step + 1] for i in range(len(PROMPTS))])
            latent_scale = float(prepared.get_tensor("latent_scale"))
    except (OSError, SafetensorError, RuntimeError, IndexError) as error:
        raise UserError(f"'{path}': expected the tensors of the training, got {error!s:.200}") from None
    text_encoder, groups = load_text(folder / "minilm")
    tokenizer = (folder / "minilm" / "tokenizer.json").read_bytes()
    input_ids, attention_mask = tokenize(tokenizer)
    return Weights(
        autoencoder=autoencoder,
        denoiser=_load(IconDenoiser, folder / "denoiser" / "ema.safetensors"),
        dual=_load(DualEncoder, folder / "dual" / "ema.safetensors"),
        text_encoder=text_encoder,
        text_groups=groups,
        tokenizer=tokenizer,
        latent_scale=latent_scale,
        latents=latents,
        input_ids=input_ids,
        attention_mask=attention_mask,
    )


def load_text(folder: Path) -> tuple[TextEncoder, tuple[Groups, ...]]:
    """Return MiniLM with its quantized values, and the codes of those values in the order of its parameters."""
    network = load_text_encoder(folder)
    weights = load_file(folder / "model.safetensors")
    groups = []
    for name, parameter in network.named_parameters():
        if (layout := bits_of(name, parameter)) is not None:
            groups.append(quantize_groups(weights[name.removeprefix("bert.")], bits=layout[0], group=layout[1]))
    return network, tuple(groups)


def tokenize(tokenizer: bytes) -> tuple[Int[Tensor, "V 16"], Int[Tensor, "V 16"]]:
    """Return the tokens of `PROMPTS` and their mask."""
    return PromptTokenizer(tokenizer, LENGTH, "tokenizer.json")(PROMPTS)


def _load(make: Callable[[], Module], path: Path) -> Module:
    network = make()
    try:
        network.load_state_dict(load_file(path))
    except (RuntimeError, KeyError, OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{path} does not fit {type(network).__name__}: {reason}; train it with this version") from None
    return network.eval().requires_grad_(False)
