"""The cuts of an image encoder and its text encoder, for a bundle of some picture size."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from export.clip import image
from export.clip.sources import EncoderSource
from export.cut import Cut
from export.pretrained.mixed import dtype_of
from export.pretrained.specs import batched
from export.pretrained.text import TextEmbedder, TextTransformer
from export.pretrained.weights import fill
from export.samples import PROMPTS, dead_leaves
from runtime.engines.tokens import PromptTokenizer

SCHEMES = {"float16": "fp16", "bfloat16": "bf16", "float32": "float32"}
"""By what a cut of each precision is judged."""


def cut_makers(
    source: EncoderSource, size: int, precision: str, *, said: str | None = None
) -> dict[str, Callable[[], Cut]]:
    """Return for each role what makes its cut; a network is loaded when its cut is made.

    Args:
        source: the encoders.
        size: height and width of the pictures.
        precision: of their products, one of `export.pretrained.mixed.PRECISIONS`.
        said: the precision that the cuts are to be judged by; by default the same.
    """
    makers: dict[str, Callable[[], Cut]] = {"image_embedder": partial(_image, source, size, precision, said)}
    if source.model.text is not None:
        makers["text_embedder"] = partial(_text, source, precision, said)
    return makers


def _image(source: EncoderSource, size: int, precision: str, said: str | None) -> Cut:
    images = dead_leaves(len(PROMPTS), size, torch.Generator().manual_seed(0))
    made = image.cut(source.model.vision, source.weights["image_embedder"], dtype_of(precision), images)
    return replace(made, scheme=SCHEMES[said or precision])


def _text(source: EncoderSource, precision: str, said: str | None) -> Cut:
    config = source.model.text
    assert config is not None
    with torch.device("meta"):
        text = TextTransformer(config)
    text = fill(text, source.weights["text_embedder"], dtype_of(precision))
    ids = PromptTokenizer(source.tokenizer, config.length, "tokenizer.json")(PROMPTS)[0]
    return Cut(
        spec=batched("text_embedder", {"input_ids": (config.length, "int64")}, {"embedding": (config.embedding,)}),
        module=TextEmbedder(text),  # pyright: ignore
        samples=(ids,),
        scheme=SCHEMES[said or precision],
        files={"tokenizer.json": source.tokenizer},
    )
