"""A diffusion model as a prior for few photos: score distillation of pictures from where no photo was taken.

What the thesis wants of a semantic loss, pictures from all sides that show the same thing (3.4), a diffusion model that
is told the prompt and the camera can say pixel by pixel (thesis Eq. 6.7; for fields of photos: arXiv:2302.10663).
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from runtime.command.prompts import check_prompt
from runtime.errors import UserError
from runtime.field.cameras import Rays
from runtime.field.training_views import TrainingViews
from runtime.guidance.prompt import Prompt, encode_prompt
from runtime.guidance.schedule import Schedule
from runtime.guidance.sds import distillation_loss, draw_time
from runtime.guidance.views import with_cameras
from runtime.nerf.judges.random_views import RandomViews

if TYPE_CHECKING:
    from runtime.engines.bundle import DiffusionBundle, PixelNeRFBundle
    from runtime.engines.protocols import Denoiser, LatentEncoder
    from runtime.nerf.config import Config

EVERY = 2
"""Steps from one look of the prior to the next: it takes as long as a batch of rays."""

SIDE = 64
"""Side, in pixels, of the pictures that it looks at."""

PARTS = (0.1, 0.6)
"""Part of a run in which it counts: before, there is nothing to see; after, photos alone decide. Until 0.9 of a run it
blurred what three photos had already shown (a wolf: 26.8 dB in place of 27.3; without it 28.1)."""

ELEVATION = (-0.05, 0.8)
"""Lowest and highest camera, radians: models of objects have seen few from straight above."""

TIMES = (50, (700, 200))
"""Least time of 1000, and the greatest at the first step and at the last: photos say what an object looks like, so
there is less to make up than from nothing, and ever less."""


@dataclass(frozen=True)
class Prior:
    """A diffusion model, and the cameras from which it looks."""

    views: RandomViews
    prompt: Prompt
    omega: float
    denoise: "Denoiser"
    schedule: Schedule
    encode: "LatentEncoder"
    side: int
    """Of the bundle's pictures, pixels."""
    front: float | None
    """Azimuth of the object's front, radians; None: the model is not told where cameras are."""

    @classmethod
    def of(cls, config: "Config", bundle: "DiffusionBundle", views: TrainingViews) -> "Prior":
        """Return the prior that a bundle's networks are; `--prompt` is encoded once."""
        return cls(
            views=RandomViews.of(views, SIDE, ELEVATION, "angle"),
            prompt=encode_prompt(config.prompt, bundle.prompt_suffix, bundle.text_encoder()),
            omega=config.omega,
            denoise=bundle.denoiser(),
            schedule=Schedule.of(bundle.schedule),
            encode=bundle.latent_encoder(gradients="auto"),
            side=bundle.image_size,
            front=None if config.front is None else math.radians(config.front),
        )

    def due(self, step: int, total: int) -> bool:
        """Return whether the prior looks at a step."""
        first, last = PARTS
        return step % EVERY == 0 and first * total <= step < last * total

    def draw(self, generator: torch.Generator) -> tuple[Rays, Prompt]:
        """Return the rays of a picture from a random camera, and the prompt of what it should show."""
        rays, (azimuth, elevation) = self.views.draw(generator)
        return rays, self.prompt if self.front is None else with_cameras(self.prompt, azimuth - self.front, elevation)

    def loss(
        self, colour: Float[Tensor, "R 3"], prompt: Prompt, progress: float, generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """Return the distillation loss of a picture of `SIDE` x `SIDE` rays before white.

        Args:
            colour: of the rays, differentiable.
            prompt: as `draw` gave it.
            progress: part of the run that is over.
            generator: of time and noise.
        """
        picture = colour.T.reshape(1, 3, SIDE, SIDE)
        z = self.encode(functional.interpolate(picture, size=(self.side,) * 2, mode="bilinear"))
        lowest, first, last = self.schedule.times(TIMES[0], *TIMES[1])
        return distillation_loss(
            z,
            draw_time(1, progress, generator, lowest=lowest, highest=(first, last)),
            torch.randn(z.shape, generator=generator),
            denoise=self.denoise,
            schedule=self.schedule,
            prompt=prompt,
            omega=self.omega,
        )


def load_prior(config: "Config") -> "DiffusionBundle | PixelNeRFBundle":
    """Return the bundle of `--prior`: its kind says how it is a prior.

    Raises:
        UserError: there is none of this name, it is of a kind that is no prior, or other options do not go with it.
    """
    from runtime.engines.bundle import DiffusionBundle, PixelNeRFBundle, manifest_of

    assert config.prior is not None, "asked for without a prior"
    kind = manifest_of(config.prior).kind
    if kind == PixelNeRFBundle.manifest_type.kind:
        for option, given in (("--prompt", config.prompt), ("--front", config.front)):
            if given not in ("", None):
                raise UserError(f"{option}: expected with a diffusion model, got --prior {config.prior}; leave it out")
        return PixelNeRFBundle.load(config.prior)
    if kind != DiffusionBundle.manifest_type.kind:
        raise UserError(f"--prior: expected a bundle for pixelnerf or diffusion, got {config.prior!r} for {kind}")
    check_prompt(config.prompt)
    bundle = DiffusionBundle.load(config.prior, device=config.device)
    if config.front is not None and not bundle.knows_cameras:
        raise UserError(
            f"--front: expected a bundle that knows cameras, such as objects, got {bundle.name!r}; leave it out, or "
            "take that one"
        )
    return bundle
