"""The frozen networks of a run: what a picture is judged by."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from runtime.dreamfusion.linear_latents import linear_encoder
from runtime.dreamfusion.looks import Look
from runtime.engines.bundle.ddpm import DdpmBundle
from runtime.engines.pixel_space import NO_CONTEXT, Unconditional, encode_grey, encode_pixels
from runtime.errors import UserError
from runtime.guidance.prompt import Prompt, encode_prompt
from runtime.guidance.schedule import Schedule
from runtime.guidance.sds import WEIGHTINGS, distillation_loss, draw_time
from runtime.guidance.views import VIEWS, prompt_of_views

if TYPE_CHECKING:
    from runtime.dreamfusion.config import Config
    from runtime.engines.bundle import DiffusionBundle
    from runtime.engines.protocols import Denoiser, LatentDecoder, LatentEncoder

    Networks = DiffusionBundle | DdpmBundle


@dataclass(frozen=True)
class Teacher:
    """A diffusion model with a prompt: pictures are pulled towards what it takes for the prompt."""

    config: "Config"
    prompt: Prompt
    """With one text, or one for each of `VIEWS`, encoded once."""
    denoise: "Denoiser"
    schedule: Schedule
    encode: "LatentEncoder"
    """The bundle's, differentiable; of a model of pixels the range that it takes them in."""
    encode_early: "LatentEncoder | None"
    """The linear one of the first steps."""
    image_size: int
    """Of the bundle's pictures, pixels."""
    decode: "LatentDecoder | None" = None
    """The bundle's, where the run follows targets."""

    @classmethod
    def of(cls, config: "Config", bundle: "Networks", generator: torch.Generator) -> "Teacher":
        """Return the networks of a bundle; the generator draws the pictures to which the linear encoder is fitted."""
        if isinstance(bundle, DdpmBundle):
            return cls(
                # Without a text both halves of guidance are one, and the network is called once.
                config=replace(config, omega=0.0),
                prompt=encoded(config, bundle),
                denoise=Unconditional(bundle.denoiser()),
                schedule=Schedule.of(bundle.schedule),
                encode=encode_grey if bundle.manifest.channels == 1 else encode_pixels,
                encode_early=None,
                image_size=bundle.manifest.image_size,
            )
        early = None
        if config.latent > 0 and not bundle.in_pixels:
            sizes = {"side": bundle.image_size, "latent_side": bundle.latent_shape[1]}
            # Fitted to the bundle's own encoder: the factors that are published belong to Stable Diffusion's.
            early = linear_encoder(bundle.latent_encoder(gradients="none"), generator=generator, **sizes)
        return cls(
            config=config,
            prompt=encoded(config, bundle),
            denoise=bundle.denoiser(),
            schedule=Schedule.of(bundle.schedule),
            encode=bundle.latent_encoder(gradients="auto"),
            encode_early=early,
            image_size=bundle.image_size,
            decode=bundle.latent_decoder() if config.target_every else None,
        )

    def enlarges_to(self, side: int, progress: float) -> int | None:
        """Return the size to which a picture is enlarged before it is encoded; None where it is not."""
        return None if self._early(progress) or side >= self.image_size else self.image_size

    def _early(self, progress: float) -> bool:
        # The first pictures are blobs, on which the encoder has never been trained; a linear map of colours is cheap
        # and passes gradients on evenly.
        return self.encode_early is not None and progress < self.config.latent

    def loss(
        self, picture: Float[Tensor, "1 3 S S"], look: Look, progress: float, generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """Return the distillation loss of a picture; arXiv:2209.14988, Eq. 3.

        Args:
            picture: RGB in [0, 1], differentiable, of any size.
            look: whose picture it is, for the prompt of its view.
            progress: part of the run that is over.
            generator: of time and noise.
        """
        config = self.config
        if self.encode_early is not None and self._early(progress):
            z = self.encode_early(picture)
        else:
            if picture.shape[-1] != self.image_size:
                # Fields are rendered smaller than the encoder's pictures: rays cost more than the enlargement. Models
                # of pixels may have smaller ones, where every pixel that was rendered should count.
                shrunk = self.image_size < picture.shape[-1]
                size = (self.image_size,) * 2
                picture = functional.interpolate(picture, size=size, mode="bilinear", antialias=shrunk)
            z = self.encode(picture)
        # Options are times of 1000, as papers have them; a bundle may have another number of times.
        lowest, first, last = self.schedule.times(config.lower_t, *config.upper_t)
        return distillation_loss(
            z,
            draw_time(1, progress, generator, lowest=lowest, highest=(first, last)),
            torch.randn(z.shape, generator=generator),
            denoise=self.denoise,
            schedule=self.schedule,
            prompt=self.prompt if config.views == "none" else prompt_of_views(config.views)(self.prompt, *look.angles),
            omega=config.omega,
            weight=WEIGHTINGS[config.weighting],
        )


def encoded(config: "Config", bundle: "Networks") -> Prompt:
    """Return the prompt as the bundle's denoiser reads it, with a text for each view where views have one.

    Raises:
        UserError: the prompt is too long, or the bundle knows no cameras where the views are these, or no texts at all
            where there are views.
    """
    if isinstance(bundle, DdpmBundle):
        if config.views != "none":
            raise UserError(
                f"--views {config.views}: expected a bundle that reads texts, got {bundle.name!r}, which reads none; "
                "take --views none or another bundle"
            )
        return Prompt((config.prompt,), NO_CONTEXT, NO_CONTEXT)
    if config.views == "camera" and not bundle.knows_cameras:
        raise UserError(
            f"--views camera: expected a bundle that knows cameras, such as objects, got {bundle.name!r}; "
            "take that one or other views"
        )
    views = () if config.views in ("none", "camera") else VIEWS
    return encode_prompt(config.prompt, bundle.prompt_suffix, bundle.text_encoder(), views)
