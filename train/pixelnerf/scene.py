"""Fine-tuning on one scene: on its input pictures alone, or by DietPixelNeRF's semantic loss too (Thesis 3.5.2).

The pictures that condition the field are those that it is fitted to. From one picture their squared error says nothing
of the other sides; the semantic loss looks at them, by an image encoder that has seen other things from all sides.
"""

import copy
import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Interval
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional

from runtime.engines.protocols import ImageEncoder
from runtime.field.fields.lookup import DISTANCE
from runtime.field.poses import draw_sphere
from runtime.guidance.semantic import semantic_consistency, typical_cosine
from train.pixelnerf.loss import SILHOUETTE, silhouette_error
from train.pixelnerf.network import PixelNeRF
from train.pixelnerf.render import masks_of, pixel_places, render, samples_of_view

HIGHEST = math.radians(70)
"""Greatest elevation that random cameras are drawn from; the lowest is the horizon."""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How long and how a network is fitted to one scene."""

    steps: Annotated[int, Ge(1)] = 200
    """Optimizer steps; the thesis has 20,000."""
    rays: Annotated[int, Ge(1)] = 256
    """Rays a step, through pixels of the input pictures' silhouettes."""
    samples: Annotated[int, Ge(2)] = 32
    """Samples a ray."""
    lr: Annotated[float, Gt(0)] = 1e-4
    """Learning rate of Adam."""
    semantic: Annotated[float, Ge(0)] = 0.1
    """Weight of the semantic loss, where there is an encoder."""
    every: Annotated[int, Ge(1)] = 4
    """Steps from one semantic loss to the next."""
    side: Annotated[int, Interval(ge=8, le=512)] = 32
    """Height and width of the pictures that are rendered for it, pixels."""


@dataclass(frozen=True)
class Scene:
    """One to three pictures of one object."""

    pictures: Float32[Tensor, "1 V 4 H W"]
    """Premultiplied RGBA."""
    inputs: Float32[Tensor, "1 V 4 4"]
    """Poses of their cameras: OpenGL, +y up."""


def tuned(
    network: PixelNeRF,
    scene: Scene,
    tuning: Tuning,
    generator: torch.Generator,
    encoder: tuple[ImageEncoder, int] | None = None,
) -> PixelNeRF:
    """Return a copy of a network, fitted to a scene.

    Args:
        network: trained on many objects; it stays as it is.
        scene: what it is conditioned on and fitted to.
        tuning: how.
        generator: source of all draws.
        encoder: of pictures, with gradients, and the side that it takes; without one there is no semantic loss.
    """
    # Not in training mode: batch normalization keeps the statistics of the many objects.
    own = copy.deepcopy(network).eval().requires_grad_(True)
    targets = None
    if encoder is not None:
        with torch.no_grad():
            targets = encoder[0](_resized(_on_white(scene.pictures[0]), encoder[1]))
    optimizer = torch.optim.Adam(own.parameters(), lr=tuning.lr)
    for step in range(tuning.steps):
        features = own.encoder(scene.pictures[0])[None]
        loss = picture_loss(own, features, scene, tuning, generator)
        if encoder is not None and targets is not None and step % tuning.every == 0:
            seen = _resized(random_view(own, features, scene, tuning, generator)[None], encoder[1])
            target = targets[torch.randint(len(targets), (1,), generator=generator)]
            loss = loss + tuning.semantic * semantic_consistency(encoder[0](seen), target, typical_cosine(targets))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return own.requires_grad_(False)


def picture_loss(
    network: PixelNeRF,
    features: Float[Tensor, "1 V H W D"],
    scene: Scene,
    tuning: Tuning,
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """Return the loss of training for random rays through the input pictures: squared errors on white, and opacity's.

    Args:
        network: encoder and field.
        features: of the input pictures.
        scene: the pictures.
        tuning: numbers of rays and samples.
        generator: source of the draws.
    """
    masks = masks_of(scene.pictures)
    side = masks.shape[-1]
    # Beyond the silhouettes nothing is dense, whatever the weights are.
    candidates = masks[0].flatten().nonzero()[:, 0]
    chosen = candidates[torch.randint(len(candidates), (tuning.rays,), generator=generator)]
    view, pixel = chosen // (side * side), chosen % (side * side)
    jitter = torch.rand(tuning.rays, tuning.samples, generator=generator)
    samples = samples_of_view(masks, scene.inputs, scene.inputs[0, view], pixel_places(side)[pixel], jitter)
    seen = render(network.field, features, scene.inputs, torch.zeros_like(view), samples)
    truth = scene.pictures[0].flatten(2)[view, :, pixel]
    on_white = (seen[:, :3] - seen[:, 3:]) - (truth[:, :3] - truth[:, 3:])
    # Squared errors alone may end in empty space here too.
    return on_white.square().mean() + SILHOUETTE * silhouette_error(seen[:, 3], truth[:, 3]).mean()


def random_view(
    network: PixelNeRF,
    features: Float[Tensor, "1 V H W D"],
    scene: Scene,
    tuning: Tuning,
    generator: torch.Generator,
) -> Float[Tensor, "3 S S"]:
    """Return a small picture, on white, from a random camera above the horizon; arguments as of `picture_loss`."""
    side = tuning.side
    span = (DISTANCE, DISTANCE)
    pose = draw_sphere(1, generator, radius=span, elevation=(0.0, HIGHEST), up="y").expand(side * side, 4, 4)
    # One shift for the whole lattice: over many steps it visits all places between the pixels (thesis 3.5.2).
    at = pixel_places(side) + (torch.rand(2, generator=generator) - 0.5) / side
    jitter = torch.rand(len(at), tuning.samples, generator=generator)
    samples = samples_of_view(masks_of(scene.pictures), scene.inputs, pose, at, jitter)
    row = torch.zeros(len(at), dtype=torch.int64)
    seen = render(network.field, features, scene.inputs, row, samples).T.reshape(1, 4, side, side)
    return _on_white(seen)[0].clamp(0, 1)


def _on_white(pictures: Float[Tensor, "V 4 H W"]) -> Float[Tensor, "V 3 H W"]:
    return pictures[:, :3] + 1 - pictures[:, 3:]


def _resized(pictures: Float[Tensor, "V 3 H W"], side: int) -> Float[Tensor, "V 3 S S"]:
    return functional.interpolate(pictures, size=(side, side), mode="bilinear", antialias=pictures.shape[-1] > side)
