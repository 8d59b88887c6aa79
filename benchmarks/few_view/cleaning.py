"""Pictures noised and cleaned again by a diffusion model that knows cameras: are they nearer to the truth?"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from runtime.engines.bundle import DiffusionBundle
from runtime.engines.protocols import Denoiser, LatentDecoder, LatentEncoder, TextEncoder
from runtime.field.quality import psnr
from runtime.guidance.prompt import encode_prompt
from runtime.guidance.sampler import TARGET_CALLS, target_latents
from runtime.guidance.schedule import Schedule
from runtime.guidance.views import with_cameras

TIMES = (50, 150, 300)
"""Of 1000, to which pictures are noised."""

OMEGA = 0.0
"""Weight of guidance: with 3 pictures came out farther from the truth."""


@dataclass(frozen=True)
class Cleaner:
    """A diffusion model and its autoencoder."""

    side: int
    """Of its pictures, pixels."""
    schedule: Schedule
    encode: LatentEncoder
    decode: LatentDecoder
    denoise: Denoiser
    read: TextEncoder

    @classmethod
    def of(cls, name: str) -> "Cleaner":
        """Load a bundle's networks."""
        bundle = DiffusionBundle.load(name)
        return cls(
            side=bundle.image_size,
            schedule=Schedule.of(bundle.schedule),
            encode=bundle.latent_encoder(gradients="none"),
            decode=bundle.latent_decoder(),
            denoise=bundle.denoiser(),
            read=bundle.text_encoder(),
        )

    @torch.no_grad()
    def pictures(
        self, picture: Float[Tensor, "3 S S"], angles: tuple[Tensor, Tensor], caption: str
    ) -> Mapping[str, Float[Tensor, "3 S S"]]:
        """Return a picture through the autoencoder alone, and cleaned from each time.

        Args:
            picture: RGB before white.
            angles: the camera's azimuth from the object's front and its elevation, radians.
            caption: what the object is.
        """
        large = functional.interpolate(picture[None], size=(self.side, self.side), mode="bilinear")
        z = self.encode(large)
        # Without the suffix of icons, as its training's objects were captioned.
        prompt = with_cameras(encode_prompt(caption, "", self.read), *angles)
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
        latents = {"autoencoder alone": z}
        for t in TIMES:
            latents[f"from time {t}"] = target_latents(
                z,
                t,
                noise,
                denoise=self.denoise,
                schedule=self.schedule,
                prompt=prompt,
                omega=OMEGA,
                calls=TARGET_CALLS,
            )
        side = picture.shape[1]

        def small(z: Tensor) -> Tensor:
            return functional.interpolate(self.decode(z).clamp(0, 1), size=(side, side), mode="area")[0]

        return {name: small(z) for name, z in latents.items()}

    def gains(
        self,
        picture: Float[Tensor, "3 S S"],
        truth: Float[Tensor, "3 S S"],
        angles: tuple[Tensor, Tensor],
        caption: str,
    ) -> dict[str, float]:
        """Return by how many dB each of `pictures` is nearer to the truth than the picture itself."""
        before = psnr(picture.permute(1, 2, 0), truth.permute(1, 2, 0))
        cleaned = self.pictures(picture, angles, caption)
        return {name: psnr(after.permute(1, 2, 0), truth.permute(1, 2, 0)) - before for name, after in cleaned.items()}
