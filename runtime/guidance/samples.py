"""The raster sample that a method starts from: the one of K that fits the prompt best."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.guidance.clip import rank
from runtime.guidance.prompt import Prompt
from runtime.guidance.sampler import sample_latents
from runtime.guidance.schedule import Schedule
from runtime.loop.events import Report, Sampled
from runtime.pictures import format_png, read_png, write_png

if TYPE_CHECKING:
    from runtime.engines.bundle import DiffusionBundle
    from runtime.loop.folder import RunFolder

SAMPLER_STEPS = 15
"""Calls of the denoiser for each raster sample: its latents are then 3 % of their deviation from those of 120 calls."""
PROMISING = 1 / 3
"""Share of the calls after which only the samples that promise most are drawn on."""
STAYING = 3 / 8
"""Share of the samples that are."""
FEWEST_STEPS = 12
"""Calls from which on a third of them shows what a sample will be."""


def best_sample(
    bundle: "DiffusionBundle",
    prompt: Prompt,
    generator: torch.Generator,
    *,
    count: int,
    omega: float,
    report: Report,
    finish: Callable[[Tensor], Tensor] = lambda images: images,
) -> tuple[Float[Tensor, "3 H W"], Float[Tensor, "3 H _"]]:
    """Return the raster sample that is most consistent with the prompt, and all K of them side by side; Thesis 6.4.1.

    It is compared with the prompt that it was drawn for, its suffix included. After a third of the calls those that
    then fit it least are given up (successive halving, arXiv:1502.07943, of one round); they stand beside the others
    as they were. The picture is rounded to 8 bits, so that a PNG file of it, which a resumed run reads, is the same.

    Args:
        bundle: the networks.
        prompt: what to draw.
        generator: of the draws.
        count: K.
        omega: weight of guidance.
        report: receives each call of the denoiser, with a preview.
        finish: what is done to the samples before they are ranked.
    """
    times = bundle.manifest.sample_times
    steps = len(times) or SAMPLER_STEPS
    decode = bundle.latent_decoder()

    def note(step: int, x_hat: Tensor) -> None:
        report(Sampled(step=step, steps=steps, preview=lambda: decode(x_hat)))

    text, given_up = prompt.texts[0], {}
    staying = list(range(count))

    def choose(step: int, x_hat: Tensor) -> list[int] | None:
        few = math.ceil(count * STAYING)
        if few == count or steps < FEWEST_STEPS or step != round(steps * PROMISING):
            return None
        pictures = decode(x_hat)
        staying[:] = sorted(rank(pictures.clamp(0.0, 1.0), text, bundle.scorer())[:few])
        given_up.update((index, picture) for index, picture in enumerate(pictures) if index not in staying)
        return staying

    latents = sample_latents(
        bundle.denoiser(),
        Schedule.of(bundle.schedule),
        prompt,
        (count, *bundle.latent_shape),
        generator,
        omega=omega,
        steps=steps,
        times=times,
        report=note,
        choose=choose,
    )
    images = finish(decode(latents))
    best = images[rank(images, text, bundle.scorer())[0] if len(images) > 1 else 0]
    pictures = given_up | dict(zip(staying, images, strict=True))
    sheet = torch.cat([pictures[index] for index in range(count)], -1)
    return best.clamp(0.0, 1.0).mul(255.0).round() / 255.0, sheet


def sample_or_read(
    bundle: "DiffusionBundle",
    prompt: Prompt,
    generator: torch.Generator,
    *,
    count: int,
    omega: float,
    run: "RunFolder | None",
    report: Report,
    finish: Callable[[Tensor], Tensor] = lambda images: images,
    suffix: str = "",
) -> Float[Tensor, "3 H W"]:
    """Return the raster sample: from the run folder, where an earlier part of the run has stored it.

    Args:
        bundle: as of `best_sample`, and so are those that follow.
        prompt: what to draw.
        generator: of the draws.
        count: K.
        omega: weight of guidance.
        run: keeps `sample.png`, and `samples.png` for the user; None: nothing is kept.
        report: receives each call of the denoiser.
        finish: what is done to the samples before they are ranked.
        suffix: of both names, where a run has several samples, such as "-seed-3".
    """
    if run is not None and run.stored(f"sample{suffix}.png") is not None:
        # Sampling again would cost most of the seconds that a resumed run is to save.
        return read_png(run.path / f"sample{suffix}.png")
    picture, samples = best_sample(bundle, prompt, generator, count=count, omega=omega, report=report, finish=finish)
    if run is not None:
        write_png(run.path / f"samples{suffix}.png", samples)
        # Last: a run that finds this file need not sample.
        run.store(f"sample{suffix}.png", format_png(picture))
    return picture
