"""The roles of a bundle: each Protocol of `runtime.engines.protocols` over engines."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from runtime.engines.protocols import Engine, ImageEncoder, TextEncoder
from runtime.engines.tokens import PromptTokenizer

CAMERA = 3
"""Numbers of a camera: azimuth and elevation in radians, and 1; all are 0 where there is none."""


def run_in_parts(engine: Engine, *inputs: Shaped[Tensor, "B ..."]) -> Float[Tensor, "B ..."]:
    """Return an engine's first output for a batch that may be larger than the engine takes at once."""
    batch = engine.spec.inputs[0].shape[0]
    # an engine with a fixed batch gets the whole, and refuses it in its own words if it does not fit
    limit = engine.spec.ranges[batch][2] if isinstance(batch, str) else len(inputs[0])
    if len(inputs[0]) <= limit:
        return engine(*inputs)[0]
    count = -(-len(inputs[0]) // limit)
    # tensor_split evens the parts out: none is empty, and none larger than the limit
    parts = zip(*(tensor.tensor_split(count) for tensor in inputs), strict=True)
    return torch.cat([engine(*part)[0] for part in parts])


class EngineDenoiser:
    """A `Denoiser` over one engine (sample, timestep, context) -> prediction."""

    def __init__(self, engine: Engine) -> None:
        """Wrap an engine."""
        self.engine = engine

    def __call__(
        self, z: Float[Tensor, "B C h w"], t: Int64[Tensor, " B"], context: Float[Tensor, "B N D"]
    ) -> Float[Tensor, "B C h w"]:
        """Return what the network predicts, shaped as `z`."""
        return run_in_parts(self.engine, z, t, context)


class EnginePixelDenoiser:
    """A `PixelDenoiser` over one engine (sample, timestep) -> prediction."""

    def __init__(self, engine: Engine) -> None:
        """Wrap an engine."""
        self.engine = engine

    def __call__(self, z: Float[Tensor, "B C H W"], t: Int64[Tensor, " B"]) -> Float[Tensor, "B C H W"]:
        """Return what the network predicts, shaped as `z`."""
        return run_in_parts(self.engine, z, t)


class ConditionedDenoiser:
    """A `Denoiser` over an engine (sample, timestep, context, pooled, time_ids) -> prediction: Stable Diffusion XL's.

    Its contexts are a `DualTextEncoder`'s, whose last row holds the pooled text.
    """

    def __init__(self, engine: Engine, time_ids: Sequence[float]) -> None:
        """Wrap an engine, and remember the numbers that say how large the pictures are."""
        self.engine, self.time_ids = engine, torch.tensor(time_ids)
        shapes = {tensor.name: tensor.shape for tensor in engine.spec.inputs}
        self.width = int(shapes["pooled"][1])

    def __call__(
        self, z: Float[Tensor, "B C h w"], t: Int64[Tensor, " B"], context: Float[Tensor, "B N D"]
    ) -> Float[Tensor, "B C h w"]:
        """Return what the network predicts, shaped as `z`."""
        # Contiguous copies: engines bind memory, and a slice of a context is not one piece of it.
        pooled = context[:, -1, : self.width].contiguous()
        ids = self.time_ids.to(z.device).expand(len(z), -1).contiguous()
        return run_in_parts(self.engine, z, t, context[:, :-1].contiguous(), pooled, ids)


class CameraDenoiser:
    """A `Denoiser` over an engine (sample, timestep, context, camera) -> prediction, which knows where a camera is.

    The last row of its contexts is the camera's, as `guidance.views.with_cameras` writes it.
    """

    def __init__(self, engine: Engine) -> None:
        """Wrap an engine."""
        self.engine = engine

    def __call__(
        self, z: Float[Tensor, "B C h w"], t: Int64[Tensor, " B"], context: Float[Tensor, "B N D"]
    ) -> Float[Tensor, "B C h w"]:
        """Return what the network predicts, shaped as `z`."""
        camera = context[:, -1, :CAMERA].contiguous()
        return run_in_parts(self.engine, z, t, context[:, :-1].contiguous(), camera)


class CameraTextEncoder:
    """A `TextEncoder` whose contexts have one more row for a camera; it is all zeros, which means no camera."""

    def __init__(self, encoder: TextEncoder) -> None:
        """Wrap an encoder."""
        self.encoder = encoder

    def __call__(self, prompts: Sequence[str]) -> Float[Tensor, "B N D"]:
        """Return the context of prompts; errors as of the encoder."""
        return torch.nn.functional.pad(self.encoder(prompts), (0, 0, 0, 1))

    def fits(self, prompt: str) -> bool:
        """Return whether a prompt has no more tokens than the network takes."""
        return self.encoder.fits(prompt)


class WithoutCamera(CameraTextEncoder):
    """A `TextEncoder` whose contexts are those of a `CameraTextEncoder` without the camera's row."""

    def __call__(self, prompts: Sequence[str]) -> Float[Tensor, "B N D"]:
        """Return the context of prompts; errors as of the encoder."""
        return self.encoder(prompts)[:, :-1].contiguous()


class EngineLatentEncoder:
    """A `LatentEncoder` over one engine; gradients pass if the engine passes them."""

    def __init__(self, engine: Engine) -> None:
        """Wrap an engine."""
        self.engine = engine

    def __call__(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """Return scaled mean latents of RGB in [0, 1]."""
        return self.engine(images)[0]


class EngineLatentDecoder:
    """A `LatentDecoder` over one engine, with pictures clamped to [0, 1]."""

    def __init__(self, engine: Engine) -> None:
        """Wrap an engine."""
        self.engine = engine

    def __call__(self, z: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]:
        """Return RGB in [0, 1] of scaled latents."""
        return run_in_parts(self.engine, z).clamp_(0.0, 1.0)


class IconsTextEncoder:
    """A `TextEncoder` over a tokenizer and one engine (input_ids, attention_mask) -> context."""

    def __init__(self, tokenizer: PromptTokenizer, engine: Engine) -> None:
        """Wrap a tokenizer and an engine."""
        self.tokenizer, self.engine = tokenizer, engine

    def __call__(self, prompts: Sequence[str]) -> Float[Tensor, "B N D"]:
        """Return the context of prompts; a `UserError` names one that is too long."""
        if isinstance(prompts, str):
            raise TypeError(f"prompts: expected a sequence of strings, got the string {prompts!r:.60}")
        return self.engine(*self.tokenizer(prompts))[0]

    def fits(self, prompt: str) -> bool:
        """Return whether a prompt has no more tokens than the network takes."""
        return self.tokenizer.fits(prompt)


class ClipTextEncoder:
    """A `TextEncoder` over a tokenizer and one engine input_ids -> context."""

    def __init__(self, tokenizer: PromptTokenizer, engine: Engine, *, zero_empty: bool = False) -> None:
        """Wrap a tokenizer and an engine; `zero_empty` is whether the empty prompt's context is all zeros."""
        self.tokenizer, self.engine, self.zero_empty = tokenizer, engine, zero_empty

    def __call__(self, prompts: Sequence[str]) -> Float[Tensor, "B N D"]:
        """Return the context of prompts; a `UserError` names one that is too long."""
        return _zeroed(self.encode(prompts)[0], prompts, self.zero_empty)

    def encode(self, prompts: Sequence[str]) -> tuple[Tensor, ...]:
        """Return all outputs of the engine."""
        if isinstance(prompts, str):
            raise TypeError(f"prompts: expected a sequence of strings, got the string {prompts!r:.60}")
        return self.engine(self.tokenizer(prompts)[0])

    def fits(self, prompt: str) -> bool:
        """Return whether a prompt has no more tokens than the network takes."""
        return self.tokenizer.fits(prompt)


class DualTextEncoder:
    """A `TextEncoder` of Stable Diffusion XL: the contexts of two encoders side by side, and the pooled text.

    The second encoder's pooled text is the last row of the context, padded with zeros, so that a prompt stays one
    tensor for all code that passes it on.
    """

    def __init__(self, first: ClipTextEncoder, second: ClipTextEncoder, *, zero_empty: bool = False) -> None:
        """Wrap both encoders; the second one's engine gives (context, pooled)."""
        self.first, self.second, self.zero_empty = first, second, zero_empty

    def __call__(self, prompts: Sequence[str]) -> Float[Tensor, "B N D"]:
        """Return the context of prompts, the pooled text last; a `UserError` names one that is too long."""
        second, pooled = self.second.encode(prompts)
        context = torch.cat([self.first.encode(prompts)[0], second], -1)
        # The pooled text is narrower than two contexts side by side; the denoiser's wrapper knows its width.
        row = torch.nn.functional.pad(pooled, (0, context.shape[-1] - pooled.shape[-1]))
        return _zeroed(torch.cat([context, row[:, None]], 1), prompts, self.zero_empty)

    def fits(self, prompt: str) -> bool:
        """Return whether a prompt has no more tokens than each of the two networks takes."""
        return self.first.fits(prompt) and self.second.fits(prompt)


def _zeroed(context: Float[Tensor, "B N D"], prompts: Sequence[str], zero_empty: bool) -> Float[Tensor, "B N D"]:
    if not zero_empty:
        return context
    has_text = torch.tensor([bool(prompt) for prompt in prompts], device=context.device)
    # where, not a product: 0 times an infinity would be NaN
    return torch.where(has_text[:, None, None], context, 0.0)


class ClipScorer:
    """An `ImageTextScorer` over an image embedder, and a text embedder with a tokenizer of its own."""

    def __init__(self, tokenizer: PromptTokenizer, image_embedder: Engine, text_embedder: Engine) -> None:
        """Wrap a tokenizer and the two embedders."""
        self.tokenizer, self.image_embedder, self.text_embedder = tokenizer, image_embedder, text_embedder

    def __call__(self, images: Float[Tensor, "B 3 H W"], texts: Sequence[str]) -> Float[Tensor, "B T"]:
        """Return cosine similarities in [-1, 1]."""
        return _cosines(run_in_parts(self.image_embedder, images), self.embed(texts))

    def embed(self, texts: Sequence[str]) -> Float[Tensor, "T E"]:
        """Return the embeddings of texts; a `UserError` names one that is too long."""
        return run_in_parts(self.text_embedder, self.tokenizer(texts)[0])


class EngineImageEncoder:
    """An `ImageEncoder` over one engine; gradients pass if the engine passes them."""

    def __init__(self, engine: Engine) -> None:
        """Wrap an engine."""
        self.engine = engine

    def __call__(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B E"]:
        """Return embeddings of unit norm of RGB in [0, 1]."""
        return run_in_parts(self.engine, images)


class DualEncoderScorer:
    """An `ImageTextScorer` over two engines that embed pictures and contexts on one sphere."""

    def __init__(self, text_encoder: TextEncoder, image_embedder: Engine, text_embedder: Engine) -> None:
        """Wrap the text encoder whose contexts `text_embedder` takes, and the two embedders."""
        self.text_encoder, self.image_embedder, self.text_embedder = text_encoder, image_embedder, text_embedder

    def __call__(self, images: Float[Tensor, "B 3 H W"], texts: Sequence[str]) -> Float[Tensor, "B T"]:
        """Return cosine similarities in [-1, 1]."""
        return _cosines(run_in_parts(self.image_embedder, images), self.embed(texts))

    def embed(self, texts: Sequence[str]) -> Float[Tensor, "T E"]:
        """Return the embeddings of texts; a `UserError` names one that is too long."""
        return run_in_parts(self.text_embedder, self.text_encoder(texts))


class EncoderTextGuide:
    """A `TextGuide` over an image encoder and the embedding of a text; gradients pass if the encoder passes them."""

    def __init__(self, image_encoder: ImageEncoder, sentence: Float[Tensor, " E"]) -> None:
        """Wrap an image encoder and the embedding of a text."""
        self.image_encoder, self.sentence = image_encoder, sentence

    def __call__(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
        """Return cosine similarities in [-1, 1]."""
        pictures = self.image_encoder(images)
        return _cosines(pictures, self.sentence[None].to(pictures.device))[:, 0]


def _cosines(pictures: Float[Tensor, "B E"], sentences: Float[Tensor, "T E"]) -> Float[Tensor, "B T"]:
    return torch.nn.functional.normalize(pictures) @ torch.nn.functional.normalize(sentences).T
