"""The frozen networks that a method may use, as callables: a method cannot tell an engine from a PyTorch module.

Letters: B batch, T texts, N tokens, D width of a token, h w latent cells, H W pixels.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from runtime.engines.spec import EngineSpec


@runtime_checkable
class Engine(Protocol):
    """A network with a spec; the parts of a bundle are made of these."""

    @property
    def spec(self) -> EngineSpec:
        """The names, shapes and types of its tensors."""
        ...

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return fresh output tensors, on the device of the inputs."""
        ...


@runtime_checkable
class BindableEngine(Engine, Protocol):
    """An engine that also runs on tensors fixed beforehand, for a loop whose calls are short."""

    @property
    def device(self) -> torch.device:
        """Device of the network and of the tensors that it is bound to."""
        ...

    def bind(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Callable[[], None]:
        """Return a function that reads these inputs and fills these outputs, each time that it is called."""
        ...


@runtime_checkable
class Denoiser(Protocol):
    """A noise predictor eps(z_t; t, y), or a predictor of what its schedule's `prediction_type` names."""

    def __call__(
        self, z: Float[Tensor, "B C h w"], t: Int64[Tensor, " B"], context: Float[Tensor, "B N D"]
    ) -> Float[Tensor, "B C h w"]:
        """Return the prediction for noisy latents; no gradient passes.

        Args:
            z: noisy latents, scaled.
            t: times in [0, num_timesteps).
            context: of a `TextEncoder`.
        """
        ...


@runtime_checkable
class PixelDenoiser(Protocol):
    """A predictor, from noisy pictures alone, of what its schedule's `prediction_type` names."""

    def __call__(self, z: Float[Tensor, "B C H W"], t: Int64[Tensor, " B"]) -> Float[Tensor, "B C H W"]:
        """Return the prediction for noisy pictures; no gradient passes.

        Args:
            z: noisy pictures, of clean ones in [-1, 1].
            t: times in [0, num_timesteps).
        """
        ...


@runtime_checkable
class LatentEncoder(Protocol):
    """The encoder of an autoencoder, differentiable in its images."""

    def __call__(self, images: Float[Tensor, "B 3 H W"], /) -> Float[Tensor, "B C h w"]:
        """Return the scaled mean latents of RGB in [0, 1]."""
        ...


@runtime_checkable
class LatentDecoder(Protocol):
    """The decoder of an autoencoder."""

    def __call__(self, z: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]:
        """Return RGB in [0, 1] of scaled latents."""
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """An encoder of prompts to the sequence that conditions a denoiser."""

    def __call__(self, prompts: Sequence[str]) -> Float[Tensor, "B N D"]:
        """Return the context; the empty string is the unconditional prompt."""
        ...

    def fits(self, prompt: str) -> bool:
        """Return whether a prompt has no more tokens than the network takes; the network is not run."""
        ...


@runtime_checkable
class ImageEncoder(Protocol):
    """An encoder of pictures such as CLIP's, differentiable in its images."""

    def __call__(self, images: Float[Tensor, "B 3 H W"], /) -> Float[Tensor, "B E"]:
        """Return embeddings of unit norm of RGB in [0, 1]."""
        ...


@runtime_checkable
class ImageTextScorer(Protocol):
    """How well pictures fit texts."""

    def __call__(self, images: Float[Tensor, "B 3 H W"], texts: Sequence[str]) -> Float[Tensor, "B T"]:
        """Return the cosine similarity of each picture, RGB in [0, 1], with each text."""
        ...


@runtime_checkable
class TextGuide(Protocol):
    """How well pictures fit one text, differentiable in the pictures."""

    def __call__(self, images: Float[Tensor, "B 3 H W"], /) -> Float[Tensor, " B"]:
        """Return the cosine similarity of each picture, RGB in [0, 1], with the text."""
        ...
