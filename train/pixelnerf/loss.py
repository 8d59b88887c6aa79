"""The loss of a training step: rays of other views of objects, given one to three views of each."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from train.pixelnerf.network import PixelNeRF
from train.pixelnerf.objects import VIEWS, Objects
from train.pixelnerf.render import Samples, active_samples, masks_of, ray_samples, render

SILHOUETTE = 0.1
"""Weight of the cross entropy of opacities."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """How much a step looks at."""

    objects: int = 8
    """Objects a step."""
    targets: int = 2
    """Views of each that rays go through."""
    rays: int = 40
    """Rays of each view that meet all silhouettes."""
    candidates: int = 3
    """Random pixels for each ray: those whose rays surely see nothing teach nothing and are left out."""
    samples: int = 24
    """Samples a ray."""
    single: float = 0.7
    """Share of steps with one input picture; the others have two or three."""
    silhouette: float = SILHOUETTE
    """Weight of the cross entropy of opacities."""


def loss_of_batch(network: PixelNeRF, objects: Objects, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
    """Return the mean squared error of rays on white, and a share of the cross entropy of their opacity.

    Args:
        network: encoder and field.
        objects: the set, on the generator's device.
        batch: sizes.
        generator: source of all draws.
    """
    device = generator.device

    def draw(high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=generator, device=device)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=device)

    side = network.architecture.side
    row = objects.train[draw(len(objects.train), batch.objects)]
    views = 1 if float(uniform()) < batch.single else 2 + int(draw(2))
    order = uniform(batch.objects, VIEWS).argsort(1)
    chosen, aims = order[:, :views], order[:, -batch.targets :]
    pictures = objects.pictures(row, chosen)
    inputs = objects.poses[row[:, None], chosen]
    truth = objects.pictures(row, aims)

    # Pixels of all target views: most are dropped again before the field is asked.
    count, total = batch.candidates * batch.rays, batch.objects * batch.targets
    pixel = draw(side * side, total, count)
    owner = torch.arange(batch.objects, device=device).repeat_interleave(batch.targets)[:, None].expand(total, count)
    at = (torch.stack([pixel % side, pixel // side], dim=-1) + 0.5) / side
    poses = objects.poses[row[:, None], aims].flatten(0, 1)[:, None].expand(total, count, 4, 4)
    jitter = uniform(total * count, batch.samples)
    points, steps, hits = ray_samples(poses.flatten(0, 1), at.flatten(0, 1), batch.samples, jitter)
    masks = masks_of(pictures)
    active = active_samples(masks, inputs, owner.flatten(), points, hits).view(total, count, -1)
    some = active.any(-1)
    # The first active ones of each view, in the order in which they were drawn; stable, so the draw decides alone.
    first = (~some).long().argsort(dim=1, stable=True)[:, : batch.rays]
    index = (first + count * torch.arange(total, device=device)[:, None]).flatten()
    samples = Samples(points[index], steps[index], active.flatten(0, 1)[index])
    features = network.encoder(pictures.flatten(0, 1)).float().unflatten(0, (batch.objects, views))
    seen = render(network.field, features, inputs, owner.flatten()[index], samples)
    colours = truth.flatten(0, 1).flatten(2).gather(2, pixel.gather(1, first)[:, None].expand(-1, 4, -1))
    aim = colours.permute(0, 2, 1).reshape(-1, 4)
    # On white: premultiplied colour plus what shows through.
    on_white = (seen[:, :3] - seen[:, 3:]) - (aim[:, :3] - aim[:, 3:])
    error = on_white.square().mean(1) + batch.silhouette * silhouette_error(seen[:, 3], aim[:, 3])
    weight = some.flatten()[index].float()
    return (weight * error).sum() / weight.sum().clamp(min=1)


def silhouette_error(alpha: Float[Tensor, " R"], aim: Float[Tensor, " R"]) -> Float[Tensor, " R"]:
    """Return the cross entropy of rays' opacities.

    Squared errors alone end in empty space now and then: where nothing is dense, no density has a gradient. The
    logarithm of an opacity has one however small the density is.
    """
    alpha = alpha.clamp(1e-6, 1 - 2e-3)
    return -(aim * alpha.log() + (1 - aim) * (1 - alpha).log())
