"""A text-to-image model, however it was named: its configurations, weights and tokenizers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from export.pretrained.weights import Weights
from export.sd.configurations import Pipeline


@dataclass(frozen=True, kw_only=True)
class Source:
    """A text-to-image model, nothing of it loaded yet."""

    pipeline: Pipeline
    """Its configurations."""
    weights: Mapping[str, Weights]
    """Of each part: `unet`, `vae`, `text_encoder`, and `text_encoder_2` of XL."""
    tokenizers: tuple[bytes, ...]
    """Content of tokenizer.json for each text encoder."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """What bundle.json says of it: `weights`, and `seed` or the hashes of its `files`."""

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles of its networks."""
        texts = ("text_encoder", "text_encoder_2")[: len(self.pipeline.text_encoders)]
        return (*texts, "denoiser", "latent_encoder", "latent_decoder")
