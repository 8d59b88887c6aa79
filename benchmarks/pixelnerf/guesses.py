"""Guesses of an object's other views: by a network's field, by a visual hull, and by the nearest trained object."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from runtime.engines.bundle import PixelNeRFBundle
from train.pixelnerf.network import PixelNeRF
from train.pixelnerf.objects import Objects
from train.pixelnerf.render import Samples, masks_of, pixel_places, render, samples_of_view
from train.pixelnerf.runs import load_run

SAMPLES = 64
"""Samples a ray."""

RING = 12
"""Views at one elevation, 30 degrees apart: those that every object has from the same angles."""

GIVEN = (0, 4, 8)
"""Views of the ring that are input pictures, 120 degrees apart: the first one to three of them."""


@dataclass(frozen=True)
class Networks:
    """The networks of a bundle, as those of a run are called."""

    encoder: Callable[[Tensor], Tensor]
    field: Callable[[Tensor, Tensor], Tensor]
    side: int

    @classmethod
    def of(cls, bundle: PixelNeRFBundle) -> "Networks":
        """Return the engines of a bundle."""
        encoder, field = bundle.engine("picture_encoder"), bundle.engine("field")

        def values(features: Float[Tensor, "V P E"], points: Float[Tensor, "V P 3"]) -> Float[Tensor, "P 4"]:
            return field(features.transpose(0, 1).contiguous(), points.transpose(0, 1).contiguous())[0]

        return cls(lambda pictures: encoder(pictures)[0], values, bundle.manifest.side)


@dataclass(frozen=True)
class Case:
    """One validation object."""

    pictures: Float32[Tensor, "1 V 4 H W"]
    inputs: Float32[Tensor, "1 V 4 4"]
    poses: Float32[Tensor, "T 4 4"]
    """Of the views to guess."""
    truth: Float32[Tensor, "T 3 H W"]
    """On white."""


def on_white(pictures: Float[Tensor, "*B 4 H W"]) -> Float[Tensor, "*B 3 H W"]:
    """Return premultiplied pictures on white."""
    return pictures[..., :3, :, :] + 1 - pictures[..., 3:, :, :]


def guessed_views(inputs: int) -> list[int]:
    """Return the views of the ring that are no input."""
    return [view for view in range(RING) if view not in GIVEN[:inputs]]


def case_of(objects: Objects, row: int, inputs: int) -> Case:
    """Return what one object gives and what is to be guessed: the ring's views that are no input."""
    given, others = list(GIVEN[:inputs]), guessed_views(inputs)
    index = torch.tensor([row])
    return Case(
        pictures=objects.pictures(index, torch.tensor([given])),
        inputs=objects.poses[row, given][None],
        poses=objects.poses[row, others],
        truth=on_white(objects.pictures(index, torch.tensor([others])))[0],
    )


@torch.no_grad()
def guess_field(network: PixelNeRF | Networks, case: Case, pose: Float32[Tensor, "4 4"]) -> Float[Tensor, "3 H W"]:
    """Return a view of the network's field."""
    side = case.truth.shape[2]
    features = network.encoder(case.pictures[0])[None]
    row, samples = _samples(case, pose, side)
    seen = render(network.field, features, case.inputs, row, samples)
    return on_white(seen.T.reshape(4, side, side)).clamp(0, 1)


def guess_hull(case: Case, pose: Float32[Tensor, "4 4"]) -> Float[Tensor, "3 H W"]:
    """Return a view of the silhouettes' cones, cut to the ball, in the mean colour of the pictures."""
    side = case.truth.shape[2]
    _, samples = _samples(case, pose, side)
    alpha = samples.active.any(1).float().view(side, side)
    total = case.pictures[0].sum((0, 2, 3))
    colour = total[:3] / total[3]
    return colour[:, None, None] * alpha + 1 - alpha


def guess_nearest(
    objects: Objects, trained: Int64[Tensor, " N"], case: Case, views: list[int]
) -> Float[Tensor, "T 3 H W"]:
    """Return the views of the trained object whose pictures are nearest to the given ones."""
    given = torch.tensor(GIVEN[: case.pictures.shape[1]])
    best, lowest = 0, math.inf
    for rows in trained.split(200):
        pictures = objects.pictures(rows, given.expand(len(rows), -1))
        error = (on_white(pictures) - on_white(case.pictures)).square().flatten(1).mean(1)
        if float(error.min()) < lowest:
            best, lowest = int(rows[error.argmin()]), float(error.min())
    return on_white(objects.pictures(torch.tensor([best]), torch.tensor([views])))[0]


def _samples(case: Case, pose: Float32[Tensor, "4 4"], side: int) -> tuple[Int64[Tensor, " R"], Samples]:
    """Return the samples of all rays of a view; all belong to object 0."""
    at = pixel_places(side)
    samples = samples_of_view(masks_of(case.pictures), case.inputs, pose.expand(len(at), 4, 4), at, SAMPLES)
    return torch.zeros(len(at), dtype=torch.int64), samples


def guess_views(network: PixelNeRF | Networks, case: Case) -> Float[Tensor, "T 3 H W"]:
    """Return all views that are to be guessed, of the network's field."""
    return torch.stack([guess_field(network, case, pose) for pose in case.poses])


def load_networks(name: str) -> tuple[PixelNeRF | Networks, int]:
    """Return the networks of a run or of a bundle, and the side of their pictures.

    Args:
        name: run folder of python -m train.pixelnerf, or name or folder of a bundle.

    Raises:
        UserError: it is neither.
    """
    if (Path(name) / "ema.safetensors").is_file():
        network = load_run(Path(name))
        return network, network.architecture.side
    networks = Networks.of(PixelNeRFBundle.load(name))
    return networks, networks.side
