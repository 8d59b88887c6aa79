"""Inputs of the distribution that networks see in use, where no data set is at hand: pictures, latents, times."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from runtime.guidance.prompt import Prompt
from runtime.guidance.sampler import sample_latents
from runtime.guidance.schedule import Schedule

if TYPE_CHECKING:
    from runtime.engines.bundle import DiffusionBundle

PROMPTS = ("", "a red apple", "a panda rowing a boat in a pond", "the Eiffel Tower, minimal flat vector icon")
"""Texts that the networks are verified with."""


def dead_leaves(count: int, size: int, generator: torch.Generator, *, leaves: int = 120) -> Float[Tensor, "V 3 H W"]:
    """Return pictures in [0, 1] with the statistics of natural ones.

    Opaque disks cover each other, their radii by a power law of exponent 3: edges, occlusion, and a spectrum that falls
    as photographs' does (Lee, Mumford and Huang, 2001). A little noise stands for texture.

    Args:
        count: pictures.
        size: height and width, pixels.
        generator: of the draws.
        leaves: disks a picture.
    """
    places = (torch.arange(size) + 0.5) / size
    y, x = places[:, None], places[None, :]
    pictures = torch.rand(count, 3, 1, 1, generator=generator).expand(count, 3, size, size).clone()
    for picture in pictures:
        radius = (1.0 / (0.03**-2 + torch.rand(leaves, generator=generator) * (0.4**-2 - 0.03**-2))).sqrt()
        centre, colour = torch.rand(leaves, 2, generator=generator), torch.rand(leaves, 3, generator=generator)
        for r, (cx, cy), paint in zip(radius.tolist(), centre.tolist(), colour, strict=True):
            inside = (x - cx) ** 2 + (y - cy) ** 2 < r * r
            picture[:] = torch.where(inside, paint[:, None, None], picture)
    return (pictures + 0.02 * torch.randn(pictures.shape, generator=generator)).clamp_(0.0, 1.0)


@dataclass(frozen=True)
class Drawn:
    """What a bundle draws of `PROMPTS`, each twice, for verification."""

    prompt: Prompt
    latents: Float[Tensor, "B 4 h w"]
    generator: torch.Generator
    """Of the draws that follow."""

    @classmethod
    def by(cls, base: "DiffusionBundle") -> "Drawn":
        """Return what a bundle draws."""
        generator, count = torch.Generator().manual_seed(0), 2 * len(PROMPTS)
        prompt = Prompt.encode(PROMPTS, base.text_encoder()).at(torch.arange(count) % len(PROMPTS))
        schedule, shape = Schedule.of(base.schedule), (count, *base.latent_shape)
        latents = sample_latents(base.denoiser(), schedule, prompt, shape, generator, omega=2.0, steps=10)
        return cls(prompt, latents, generator)


def noised(
    latents: Float[Tensor, "V C h w"], schedule: Schedule, generator: torch.Generator
) -> tuple[Float[Tensor, "V C h w"], Int[Tensor, " V"]]:
    """Return latents noised to times spread over the whole schedule, and those times."""
    t = torch.linspace(0, len(schedule) - 1, len(latents)).long()
    return schedule.diffuse(latents, torch.randn(latents.shape, generator=generator), t), t
