"""Held-out losses of a camera-aware denoiser: does it use the camera, and is it still good at icons?

All losses are mean squared errors of the noise at the same draws, so their ratios mean more than they themselves.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from runtime.guidance.schedule import Schedule
from train.latent_diffusion.prepared import Examples, Icons, ObjectViews
from train.latent_diffusion.unet import SCHEDULE

TIMES = (300, 1000)
"""Times of the measured losses, from and up to: where a picture's layout is decided."""


def noised(examples: Examples, t: Tensor, noise: Tensor) -> Tensor:
    """Return the noised latents of examples, channels-last."""
    diffused = Schedule.of(SCHEDULE).diffuse(examples.latents, noise, t)
    return diffused.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def measure(
    network: Callable[..., Tensor],
    objects: ObjectViews,
    icons: Icons,
    *,
    batches: int = 8,
    batch: int = 32,
    seed: int = 0,
) -> dict[str, float]:
    """Return the losses on held-out objects with a front, and on held-out icons.

    Args:
        network: a `CameraDenoiser`.
        objects: views of objects.
        icons: icons.
        batches: batches drawn of each.
        batch: examples in a batch.
        seed: seed of the draws, which are the same for all networks.

    Returns:
        `right`: the loss with the views' own cameras. `quarter`, `opposite`, `null`: the loss with azimuths 90 and 180
        degrees off, and with no camera, over `right`; above 1 where cameras matter. `icons`: the loss of icons without
        a camera.
    """
    fronts = torch.tensor(objects.held_out_fronts())
    generator = torch.Generator().manual_seed(seed)
    sums: dict[str, float] = dict.fromkeys(("right", "quarter", "opposite", "null", "icons"), 0.0)

    def loss(examples: Examples, turn: float | None) -> float:
        cameras = examples.cameras + torch.tensor([turn or 0.0, 0.0])
        given = (cameras, examples.present) if turn is not None else ()
        predicted = network(noised(examples, t, noise), t, examples.contexts, *given)
        return float((predicted - noise).square().mean())

    for _ in range(batches):
        seen = objects.pick(fronts[torch.randint(len(fronts), (batch,), generator=generator)], generator)
        plain = icons.pick(icons.held_out[torch.randint(len(icons.held_out), (batch,), generator=generator)], generator)
        t = torch.randint(*TIMES, (batch,), generator=generator)
        noise = torch.randn(seen.latents.shape, generator=generator)
        for name, turn in (("right", 0.0), ("quarter", math.pi / 2), ("opposite", math.pi), ("null", None)):
            sums[name] += loss(seen, turn)
        sums["icons"] += loss(plain, None)
    right = sums["right"]
    ratios = {name: sums[name] / right for name in ("quarter", "opposite", "null")}
    return {"right": right / batches, **ratios, "icons": sums["icons"] / batches}
