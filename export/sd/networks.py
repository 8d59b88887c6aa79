"""The networks of a source with their weights, each as it is exported, with inputs as they come in use."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from export.network import ExportedNetwork
from export.pretrained.mixed import compute_of, dtype_of
from export.pretrained.text import TextConfig, TextTransformer
from export.pretrained.weights import fill
from export.samples import PROMPTS, dead_leaves
from export.sd import denoiser, latent_decoder, latent_encoder, text_encoder
from export.sd.configurations import Pipeline
from export.sd.source import Source
from runtime.engines.precision import Storage
from runtime.engines.tokens import PromptTokenizer

_PART = {"denoiser": "unet", "latent_encoder": "vae", "latent_decoder": "vae"}


def make_text(pipeline: Pipeline, index: int) -> TextTransformer:
    """Return a text encoder on the meta device; the second of XL has a projection."""
    config = TextConfig.of_transformers(pipeline.text_encoders[index], project=index == 1)
    with torch.device("meta"):
        return TextTransformer(config)


def empty_module(pipeline: Pipeline, role: str) -> nn.Module:
    """Return the network of a role on the meta device."""
    if role.startswith("text_encoder"):
        return make_text(pipeline, 1 if role.endswith("2") else 0)
    make = {
        "denoiser": denoiser.make_unet,
        "latent_encoder": latent_encoder.make_encoder,
        "latent_decoder": latent_decoder.make_decoder,
    }
    return make[role](pipeline)


def load_module(source: Source, role: str, precision: Storage) -> nn.Module:
    """Return the network of a role with its weights; the autoencoder is in float32 whatever the precision."""
    # XL's autoencoder overflows float16, and rounding in an encoder spoils the loop's gradient.
    dtype = torch.float32 if role.startswith("latent") else dtype_of(precision)
    return fill(empty_module(source.pipeline, role), source.weights[_PART.get(role, role)], dtype)


def tokens(source: Source, index: int) -> Int[Tensor, "V N"]:
    """Return the tokens of `PROMPTS` by one of the tokenizers."""
    length = int(source.pipeline.text_encoders[index]["max_position_embeddings"])
    return PromptTokenizer(source.tokenizers[index], length, "tokenizer.json")(PROMPTS)[0]


def network_makers(source: Source, precision: Storage) -> dict[str, Callable[[], ExportedNetwork]]:
    """Return for each role a function that loads and makes its network.

    Args:
        source: the model.
        precision: of the text encoders' and the U-Net's products, one of `export.pretrained.mixed.PRECISIONS`.
    """
    makers: dict[str, Callable[[], ExportedNetwork]] = {}
    for index in range(len(source.pipeline.text_encoders)):
        role = "text_encoder_2" if index else "text_encoder"
        makers[role] = partial(_text_encoder, source, role, index, precision)
    makers["denoiser"] = partial(_denoiser, source, precision)
    makers["latent_encoder"] = partial(_latent_encoder, source)
    makers["latent_decoder"] = partial(_latent_decoder, source)
    return makers


def _text_encoder(source: Source, role: str, index: int, precision: Storage) -> ExportedNetwork:
    text = load_module(source, role, precision)
    assert isinstance(text, TextTransformer)
    penultimate = source.pipeline.is_xl
    network = text_encoder.make_network(
        role, text, tokens(source, index), source.tokenizers[index], penultimate=penultimate
    )
    return replace(network, storage=precision, compute=compute_of(precision))


def _denoiser(source: Source, precision: Storage) -> ExportedNetwork:
    context, pooled = contexts(source)
    z = latents(source)  # before the largest network is in memory
    unet = load_module(source, "denoiser", precision)
    network = denoiser.make_network(source.pipeline, unet, z, context, pooled)
    return replace(network, storage=precision, compute=compute_of(precision))


def _latent_encoder(source: Source) -> ExportedNetwork:
    encoder = load_module(source, "latent_encoder", Storage.FLOAT32)
    return latent_encoder.make_network(source.pipeline, encoder, pictures(source.pipeline))  # pyright: ignore


def _latent_decoder(source: Source) -> ExportedNetwork:
    vae = load_module(source, "latent_decoder", Storage.FLOAT32)
    return latent_decoder.make_network(source.pipeline, vae, latents(source))


def pictures(pipeline: Pipeline) -> Float[Tensor, "V 3 H W"]:
    """Return pictures in [0, 1] to verify the networks with."""
    return dead_leaves(len(PROMPTS), pipeline.image_size, torch.Generator().manual_seed(0))


@torch.no_grad()
def latents(source: Source) -> Float[Tensor, "V C h w"]:
    """Return latents of those pictures, scaled to deviation 1, which random weights would not give.

    Only two large pictures are encoded; the others are their mirror images.
    """
    encoder = load_module(source, "latent_encoder", Storage.FLOAT32)
    images = pictures(source.pipeline)
    # A float32 encoder takes gigabytes for a batch of large pictures; mirrored latents are as natural.
    if source.pipeline.image_size > 128:
        first = torch.cat([encoder(image[None]) for image in images[:2]])
        z = torch.cat([first, first.flip(-1)])
    else:
        z = encoder(images)
    # The denoiser sees noised latents: without unit deviation the schedule's noise would be too much or too little.
    return (z - z.mean()) / z.std()


@torch.no_grad()
def contexts(source: Source) -> tuple[Float[Tensor, "V N D"], Float[Tensor, "V E"] | None]:
    """Return the contexts of `PROMPTS` in float32, and their pooled texts for XL."""
    texts = []
    for index in range(len(source.pipeline.text_encoders)):
        # In float32, whatever the export: all precisions are verified on the same inputs.
        network = _text_encoder(source, "text_encoder_2" if index else "text_encoder", index, Storage.FLOAT32)
        outputs = network.module(*network.samples)
        texts.append(outputs if isinstance(outputs, tuple) else (outputs,))
    if not source.pipeline.is_xl:
        return texts[0][0], None
    context = torch.cat([outputs[0] for outputs in texts], -1)
    pooled = texts[1][1]
    # The empty prompt, which XL was trained with as zeros (force_zeros_for_empty_prompt).
    context[0] = 0.0
    pooled[0] = 0.0
    return context, pooled
