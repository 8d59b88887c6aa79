"""The frozen networks of a run: what a picture is judged by."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from runtime.dreamfusion.linear_latents import linear_encoder
from runtime.dreamfusion.looks import Look
from runtime.errors import UserError
from runtime.guidance.prompt import Prompt, encode_prompt
from runtime.guidance.schedule import Schedule
from runtime.guidance.sds import WEIGHTINGS, distillation_loss, draw_time
from runtime.guidance.views import VIEWS, prompt_of_views

if TYPE_CHECKING:
    from runtime.dreamfusion.config import Config
    from runtime.engines.bundle import DiffusionBundle
    from runtime.engines.protocols import Denoiser, LatentEncoder


@dataclass(frozen=True)
class Teacher:
    """A diffusion model with a prompt: pictures are pulled towards what it takes for the prompt."""

    config: "Config"
    prompt: Prompt
    """With one text, or one for each of `VIEWS`, encoded once."""
    denoise: "Denoiser"
    schedule: Schedule
    encode: "LatentEncoder"
    """The bundle's, differentiable."""
    encode_early: "LatentEncoder | None"
    """The linear one of the first steps."""
    image_size: int
    """Of the bundle's pictures, pixels."""

    @classmethod
    def of(cls, config: "Config", bundle: "DiffusionBundle", generator: torch.Generator) -> "Teacher":
        """Return the networks of a bundle; the generator draws the pictures to which the linear encoder is fitted."""
        early = None
        if config.latent > 0:
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
        )

    def loss(
        self, picture: Float[Tensor, "1 3 S S"], look: Look, progress: float, generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """Return the distillation loss of a picture; arXiv:2209.14988, Eq. 3.

        Args:
            picture: RGB in [0, 1], differentiable.
            look: whose picture it is, for the prompt of its view.
            progress: part of the run that is over.
            generator: of time and noise.
        """
        config = self.config
        # The first pictures are blobs, on which the encoder has never been trained; a linear map of colours is cheap
        # and passes gradients on evenly.
        if self.encode_early is not None and progress < config.latent:
            z = self.encode_early(picture)
        else:
            # Fields are rendered smaller than the encoder's pictures: rays cost more than the enlargement.
            z = self.encode(functional.interpolate(picture, size=(self.image_size,) * 2, mode="bilinear"))
        # Options are times of 1000, as papers have them; a bundle may have another number of times.
        lowest, first, last = self.schedule.times(config.lower_t, *config.upper_t)
        return distillation_loss(
            z,
            draw_time(1, progress, generator, lowest=lowest, highest=(first, last)),
            torch.randn(z.shape, generator=generator),
            denoise=self.denoise,
            schedule=self.schedule,
            prompt=prompt_of_views(config.views)(self.prompt, *look.angles),
            omega=config.omega,
            weight=WEIGHTINGS[config.weighting],
        )


def encoded(config: "Config", bundle: "DiffusionBundle") -> Prompt:
    """Return the prompt as the bundle's denoiser reads it, with a text for each view where views have one.

    Raises:
        UserError: the prompt is too long, or the bundle knows no cameras where the views are these.
    """
    if config.views == "camera" and not bundle.knows_cameras:
        raise UserError(
            f"--views camera: expected a bundle that knows cameras, such as objects, got {bundle.name!r}; "
            "take that one or other views"
        )
    views = () if config.views in ("none", "camera") else VIEWS
    return encode_prompt(config.prompt, bundle.prompt_suffix, bundle.text_encoder(), views)
