"""A drawing that is fitted to targets, clean pictures that the denoiser makes of it in several calls.

It follows a target for some steps of a cheap loss, and a new one is made of what it then shows (dataset updates of
Instruct-NeRF2NeRF, arXiv:2303.12789), noised to a smaller t (DreamTime, arXiv:2306.12422): the first targets invent,
the last ones mend.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.guidance.prompt import Prompt
from runtime.guidance.sampler import TARGET_CALLS, falling_time, target_latents
from runtime.guidance.schedule import Schedule
from runtime.vector.scene import VectorScene
from runtime.vector.trace.smoothing import smooth
from runtime.vectorfusion.config import steps_of

if TYPE_CHECKING:
    from runtime.engines.bundle import DiffusionBundle
    from runtime.vectorfusion.config import Config

Clean = Callable[[Float[Tensor, "1 3 H W"], int, torch.Generator], Float[Tensor, "3 H W"]]
"""clean(picture, t, generator) -> the picture that the denoiser makes of one that is noised to t."""

Pull = Callable[[VectorScene, int, torch.Generator], tuple[Tensor, dict[str, Tensor]]]
"""pull(scene, step, generator) -> the picture of the scene that a step looks at, and what pulls it to the prompt."""


def cleaner(config: "Config", bundle: "DiffusionBundle", prompt: Prompt) -> Clean:
    """Return what makes targets: clean pictures of a prompt, smoothed as raster samples are, for drawings are flat.

    Args:
        config: `sample_omega` counts.
        bundle: the networks.
        prompt: what to draw.
    """
    schedule = Schedule.of(bundle.schedule)
    denoise, encode, decode = bundle.denoiser(), bundle.latent_encoder("none"), bundle.latent_decoder()

    @torch.no_grad()
    def clean(picture: Float[Tensor, "1 3 H W"], t: int, generator: torch.Generator) -> Float[Tensor, "3 H W"]:
        # On the CPU, like all draws and samples.
        z = encode(picture).cpu()
        latents = target_latents(
            z,
            t,
            torch.randn(z.shape, generator=generator),
            denoise=denoise,
            schedule=schedule,
            prompt=prompt,
            omega=config.sample_omega,
            calls=TARGET_CALLS,
        )
        return smooth(decode(latents).clamp(0.0, 1.0))[0].to(picture.device)

    return clean


def target_term(config: "Config", bundle: "DiffusionBundle", prompt: Prompt) -> Pull:
    """Return the pull of targets: the mean squared error to the scene's target, which is renewed when it is time.

    The target is kept in the scene, and so in checkpoints.

    Args:
        config: `target_every`, `upper_t`, `sample_omega`, `steps` and the rasterizer count.
        bundle: the networks.
        prompt: what to draw.
    """
    clean = cleaner(config, bundle, prompt)
    first, last = Schedule.of(bundle.schedule).times(*config.upper_t)

    def pull(scene: VectorScene, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        image = scene.render()
        if scene.target is None or step % config.target_every == 0:
            t = falling_time(step, steps_of(config), config.target_every, first, last)
            scene.target = clean(image.detach(), t, generator)
        return image, {"target": (image[0] - scene.target).square().mean()}

    return pull
