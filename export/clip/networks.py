"""The exported networks of an image encoder and its text encoder, for a bundle of some picture size."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from export.clip import image
from export.clip.sources import EncoderSource
from export.network import ExportedNetwork
from export.pretrained.mixed import compute_of, dtype_of
from export.pretrained.specs import batched
from export.pretrained.text import TextEmbedder, TextTransformer
from export.pretrained.weights import fill
from export.samples import PROMPTS, dead_leaves
from runtime.engines.precision import Storage
from runtime.engines.tokens import PromptTokenizer


def network_makers(source: EncoderSource, size: int, precision: Storage) -> dict[str, Callable[[], ExportedNetwork]]:
    """Return for each role a function that loads and makes its network.

    Args:
        source: the encoders.
        size: height and width of the pictures.
        precision: of their products, one of `export.pretrained.mixed.PRECISIONS`.
    """
    makers: dict[str, Callable[[], ExportedNetwork]] = {"image_embedder": partial(_image, source, size, precision)}
    if source.model.text is not None:
        makers["text_embedder"] = partial(_text, source, precision)
    return makers


def _image(source: EncoderSource, size: int, precision: Storage) -> ExportedNetwork:
    images = dead_leaves(len(PROMPTS), size, torch.Generator().manual_seed(0))
    weights = source.weights["image_embedder"]
    network = image.make_network(source.model.vision, weights, dtype_of(precision), images)
    return replace(network, storage=precision, compute=compute_of(precision))


def _text(source: EncoderSource, precision: Storage) -> ExportedNetwork:
    config = source.model.text
    assert config is not None
    with torch.device("meta"):
        text = TextTransformer(config)
    text = fill(text, source.weights["text_embedder"], dtype_of(precision))
    ids = PromptTokenizer(source.tokenizer, config.length, "tokenizer.json")(PROMPTS)[0]
    return ExportedNetwork(
        spec=batched("text_embedder", {"input_ids": (config.length, "int64")}, {"embedding": (config.embedding,)}),
        module=TextEmbedder(text),  # pyright: ignore
        samples=(ids,),
        storage=precision,
        compute=compute_of(precision),
        files={"tokenizer.json": source.tokenizer},
    )
