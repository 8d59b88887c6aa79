"""The bundle of a latent diffusion model: its networks behind the Protocols that methods know."""

import os
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from runtime.engines.backends.graphs import GRADIENT, graph_of, graphs_of
from runtime.engines.bundle.diffusion_manifest import DiffusionManifest
from runtime.engines.bundle.folder import Bundle
from runtime.engines.protocols import (
    Denoiser,
    Engine,
    ImageEncoder,
    ImageTextScorer,
    LatentDecoder,
    LatentEncoder,
    TextEncoder,
    TextGuide,
)
from runtime.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from runtime.engines.roles import ClipScorer, DualEncoderScorer
    from runtime.engines.tokens import PromptTokenizer

GRADIENTS = ("auto", "torch", "engine", "none")
"""Providers of an encoder of pictures: the bundle's choice, PyTorch, engines for value and VJP, or an engine that runs
forward only."""


class DiffusionBundle(Bundle):
    """The networks of a diffusion model that reads texts, of latents or of pixels, with their schedule and sizes."""

    manifest_type = DiffusionManifest

    @property
    def manifest(self) -> DiffusionManifest:
        """What bundle.json says."""
        # for type checkers: `Bundle.__init__` has refused other kinds
        assert isinstance(self._manifest, DiffusionManifest)
        return self._manifest

    @property
    def schedule(self) -> dict[str, Any]:
        """num_timesteps, beta_start, beta_end, beta_schedule and prediction_type, as diffusers names them."""
        return dict(self.manifest.schedule)

    @property
    def latent_scale(self) -> float:
        """Factor that the latents of this bundle's encoder already carry."""
        return self.manifest.latent_scale

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of the latents."""
        return self.manifest.latent_shape

    @property
    def image_size(self) -> int:
        """Height and width of the pictures, pixels."""
        return self.manifest.image_size

    @property
    def embedder_size(self) -> int:
        """Height and width of the pictures that the image encoder takes, pixels; a `UserError` where there is none."""
        self._scorer_networks()
        return int(self.specs["image_embedder"].inputs[0].shape[-1])

    @property
    def text_length(self) -> int:
        """Tokens of a prompt, special ones included."""
        return self.manifest.text_length

    @property
    def prompt_suffix(self) -> str:
        """Text that a method appends to each prompt."""
        return self.manifest.prompt_suffix

    @property
    def knows_cameras(self) -> bool:
        """Whether the denoiser can be told from where an object is seen (`guidance.views.with_cameras`)."""
        return any(tensor.name == "camera" for tensor in self.specs["denoiser"].inputs)

    @property
    def in_pixels(self) -> bool:
        """Whether the denoiser works on pictures in [-1, 1] themselves: there is no autoencoder, and nothing to encode.

        DreamFusion's own teacher, Imagen, is such a model (arXiv:2209.14988, section 2.1).
        """
        autoencoder = {"latent_encoder", "latent_decoder"} & set(self.specs)
        return not autoencoder and self.latent_shape == (3, self.image_size, self.image_size)

    @property
    def capturable(self) -> bool:
        """Whether a CUDA graph can hold calls of denoiser and encoder: PyTorch runs both on a CUDA device."""
        if self.in_pixels:
            return False
        choices = [self.choices()[role] for role in ("denoiser", "latent_encoder")]
        # Stable Diffusion XL's denoiser makes tensors of numbers in each call, which would wait
        simple = "pooled" not in [tensor.name for tensor in self.specs["denoiser"].inputs]
        return simple and all(choice.backend == "torch" and choice.device.startswith("cuda") for choice in choices)

    def denoiser(self) -> Denoiser:
        """Return the noise predictor."""
        from runtime.engines.roles import CameraDenoiser, ConditionedDenoiser, EngineDenoiser

        engine = self.engine("denoiser")
        if self.knows_cameras:
            return CameraDenoiser(engine)
        # Stable Diffusion XL's denoiser is known by its inputs: bundle.json does not name the family
        if any(tensor.name == "pooled" for tensor in engine.spec.inputs):
            if not self.manifest.time_ids:
                raise UserError(
                    f"bundle {self.name!r}: bundle.json: expected the field 'time_ids' for its denoiser, got none; "
                    "export it again"
                )
            return ConditionedDenoiser(engine, self.manifest.time_ids)
        return EngineDenoiser(engine)

    def latent_encoder(self, gradients: str = "torch") -> LatentEncoder:
        """Return the autoencoder's encoder; of a model of pixels what brings pictures into its range.

        Args:
            gradients: `torch`: PyTorch forward and backward; `engine`: value and vector-Jacobian product from
                engines; `none`: forward only, and an input that requires a gradient is refused; `auto`: engines on a
                CPU where the bundle has the graph, else PyTorch.

        Raises:
            UserError: an unknown provider, or one that the bundle has no files for.
        """
        from runtime.engines.pixel_space import encode_pixels
        from runtime.engines.roles import EngineLatentEncoder

        if gradients not in GRADIENTS:
            raise UserError(f"gradients: expected one of {', '.join(GRADIENTS)}, got {gradients!r:.60}")
        if self.in_pixels:
            return encode_pixels
        gradients = self._provider("latent_encoder") if gradients == "auto" else gradients
        # PyTorch whatever backend the bundle has: no other engine passes gradients
        if gradients == "torch":
            return EngineLatentEncoder(self.eager_engine("latent_encoder"))
        if gradients == "none":
            return EngineLatentEncoder(self.engine("latent_encoder"))
        return self._differentiable("latent_encoder")

    def image_encoder(self, gradients: str = "torch") -> ImageEncoder:
        """Return the encoder of pictures that scores them; arguments and errors as of `latent_encoder`."""
        from runtime.engines.roles import EngineImageEncoder

        if gradients not in GRADIENTS:
            raise UserError(f"gradients: expected one of {', '.join(GRADIENTS)}, got {gradients!r:.60}")
        gradients = self._provider("image_embedder") if gradients == "auto" else gradients
        if gradients == "torch":
            return EngineImageEncoder(self.eager_engine("image_embedder"))
        if gradients == "none":
            return EngineImageEncoder(self.engine("image_embedder"))
        return self._differentiable("image_embedder")

    def latent_decoder(self) -> LatentDecoder:
        """Return the autoencoder's decoder; of a model of pixels what brings pictures out of its range."""
        from runtime.engines.pixel_space import decode_pixels
        from runtime.engines.roles import EngineLatentDecoder

        if self.in_pixels:
            return decode_pixels
        return EngineLatentDecoder(self.engine("latent_decoder"))

    def text_encoder(self) -> TextEncoder:
        """Return the text encoder with its tokenizer, always the same one; it remembers what it has encoded last."""
        return self._text_encoder

    def scorer(self) -> ImageTextScorer:
        """Return the image-text scorer that ranks samples; a `UserError` says that the bundle has none."""
        return self._scorer()

    def guide(self, text: str, gradients: str = "torch") -> TextGuide:
        """Return the cosine similarity with a text as a function of pictures, differentiable in them.

        Text-guided methods such as Dream Fields maximize it: Thesis Eq. 4.7 is its negative; arXiv:2112.01455. The text
        is encoded once, here.

        Args:
            text: the caption.
            gradients: provider of the image encoder, as of `latent_encoder`.

        Raises:
            UserError: no image-text encoder, a text that is too long, or an image encoder without the provider's files.
        """
        from runtime.engines.roles import EncoderTextGuide

        # the image encoder first: that its files are there is known before any network runs
        scorer, encoder = self._scorer(), self.image_encoder(gradients)
        return EncoderTextGuide(encoder, scorer.embed([text])[0])

    def eager_engine(self, role: str) -> Engine:
        """Return the PyTorch engine of a role, through which gradients pass."""
        from runtime.engines.backends.eager import torch_engine

        return torch_engine(graph_of(self, role), device=self.device, compile=self.compile)

    def _provider(self, role: str) -> str:
        """Return what is to differentiate a role's network where nobody has chosen.

        On a CPU the engine adds in one order whatever its threads are, and is the faster one for small networks.
        PyTorch's own threads would change the last bits, and on one thread it is slower.
        """
        if self.compile or role not in self.specs or GRADIENT not in self.specs[role].files:
            return "torch"
        try:
            choices = [self._choice(graph) for graph in graphs_of(self, role)]
        except UserError:  # the engine failed its verification on this machine
            return "torch"
        return "engine" if all((choice.backend, choice.device) == ("ort", "cpu") for choice in choices) else "torch"

    def _differentiable(self, role: str) -> "Callable[[Tensor], Tensor]":
        """Return a role's network as a function whose value and gradient come from engines."""
        from runtime.engines.autograd import differentiable, value_of_engine, vjp_of_engine

        return differentiable(value_of_engine(self.engine(role)), vjp_of_engine(self.vjp_engine(role)))

    def _scorer_networks(self) -> None:
        """Refuse a bundle without an image-text encoder."""
        if not {"image_embedder", "text_embedder"} <= set(self.specs):
            raise UserError(
                f"bundle {self.name!r} has no image-text encoder to rank pictures with; add one with: "
                f"python -m export clip --into {self.folder}"
            )

    def _scorer(self) -> "ClipScorer | DualEncoderScorer":
        self._scorer_networks()
        from runtime.engines.roles import ClipScorer, DualEncoderScorer, WithoutCamera

        embedder = self.engine("text_embedder")
        if embedder.spec.inputs[0].dtype == "int64":  # it reads tokens, not the contexts of the text encoder
            return ClipScorer(self._tokenizer("text_embedder"), self.engine("image_embedder"), embedder)
        encoder = self.text_encoder()
        # the text's embedding has nothing to do with a camera
        encoder = WithoutCamera(encoder) if self.knows_cameras else encoder
        return DualEncoderScorer(encoder, self.engine("image_embedder"), embedder)

    @property
    def _text_encoder(self) -> TextEncoder:
        from runtime.engines.remembering import RememberingTextEncoder

        # one for the whole bundle, so that sampling, ranking and distillation share what it remembers; a forked process
        # has engines of its own, see `Bundle`
        encoders = self._text_encoders
        if os.getpid() not in encoders:
            encoders[os.getpid()] = RememberingTextEncoder(self._new_text_encoder())
        return encoders[os.getpid()]

    @cached_property
    def _text_encoders(self) -> dict[int, TextEncoder]:
        return {}

    def _new_text_encoder(self) -> TextEncoder:
        from runtime.engines.roles import CameraTextEncoder, ClipTextEncoder, DualTextEncoder, IconsTextEncoder

        zero_empty = self.manifest.zero_empty
        if "text_encoder_2" in self.specs:
            first, second = (
                ClipTextEncoder(self._tokenizer(role), self.engine(role)) for role in ("text_encoder", "text_encoder_2")
            )
            # the pair zeroes the context as a whole, the pooled row with it; so its parts do not
            return DualTextEncoder(first, second, zero_empty=zero_empty)
        tokenizer, engine = self._tokenizer("text_encoder"), self.engine("text_encoder")
        if len(engine.spec.inputs) == 1:  # CLIP's has no mask
            return ClipTextEncoder(tokenizer, engine, zero_empty=zero_empty)
        encoder = IconsTextEncoder(tokenizer, engine)
        return CameraTextEncoder(encoder) if self.knows_cameras else encoder

    def _tokenizer(self, role: str) -> "PromptTokenizer":
        """Return the tokenizer in a network's folder, for as many tokens as the network takes."""
        from runtime.engines.tokens import PromptTokenizer

        where = f"bundle {self.name!r}: {self.manifest.networks[role]}/tokenizer.json"
        length = self.specs[role].inputs[0].shape[1]
        if not isinstance(length, int):
            raise UserError(f"{where}: expected a network of a fixed number of tokens, got '{length}'; export it again")
        return PromptTokenizer(self.read_file(role, "tokenizer.json"), length, where)
