"""The roles of a bundle: each Protocol of `runtime.engines.protocols` over engines."""

from collections.abc import Sequence

import torch
from torch import Tensor

from runtime.engines.protocols import Engine, TextEncoder
from runtime.engines.tokens import PromptTokenizer


class EngineDenoiser:
    """A `Denoiser` over one engine (sample, timestep, context) -> epsilon."""

    def __init__(self, engine: Engine) -> None:
        """Wrap an engine."""
        self.engine = engine

    def __call__(self, z: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """Return the predicted noise, shaped as `z`."""
        return self.engine(z, t, context)[0]


class EngineLatentEncoder:
    """A `LatentEncoder` over one engine; gradients pass if the engine passes them."""

    def __init__(self, engine: Engine) -> None:
        """Wrap an engine."""
        self.engine = engine

    def __call__(self, images: Tensor) -> Tensor:
        """Return (B, 4, h, w) scaled mean latents of RGB in [0, 1]."""
        return self.engine(images)[0]


class EngineLatentDecoder:
    """A `LatentDecoder` over one engine, whose pictures are clamped to [0, 1]."""

    def __init__(self, engine: Engine) -> None:
        """Wrap an engine."""
        self.engine = engine

    def __call__(self, z: Tensor) -> Tensor:
        """Return (B, 3, H, W) RGB in [0, 1] of scaled latents."""
        return self.engine(z)[0].clamp_(0.0, 1.0)


class IconsTextEncoder:
    """A `TextEncoder` over a tokenizer and one engine (input_ids, attention_mask) -> context."""

    def __init__(self, tokenizer: PromptTokenizer, engine: Engine) -> None:
        """Wrap a tokenizer and an engine."""
        self.tokenizer, self.engine = tokenizer, engine

    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """Return the context, (B, N, D), of prompts; a `UserError` names one that is too long."""
        if isinstance(prompts, str):
            raise TypeError(f"prompts: expected a sequence of strings, got the string {prompts!r:.60}")
        return self.engine(*self.tokenizer(prompts))[0]


class DualEncoderScorer:
    """An `ImageTextScorer` over two engines that embed pictures and contexts on one sphere."""

    def __init__(self, text_encoder: TextEncoder, image_embedder: Engine, text_embedder: Engine) -> None:
        """Wrap the text encoder whose contexts `text_embedder` takes, and the two embedders."""
        self.text_encoder, self.image_embedder, self.text_embedder = text_encoder, image_embedder, text_embedder

    def __call__(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """Return (B, T) cosine similarities in [-1, 1]."""
        pictures = self.image_embedder(images)[0]
        sentences = self.text_embedder(self.text_encoder(texts))[0]
        return torch.nn.functional.normalize(pictures) @ torch.nn.functional.normalize(sentences).T
