"""How good are new views from one picture: pixelNeRF beside a visual hull and the nearest object that was trained on.

    python -m benchmarks.pixelnerf runs/pixelnerf --data objects --objects 20

From view 0 of each validation object to all its others, at the network's size, on white: means over the objects of
PSNR and SSIM. The hull is the cone of the silhouette in the unit ball, of the picture's mean colour. The nearest
object is the trained one whose view 0 has the least squared error to the picture; its views from the same angles
are the guess, as if it were the object.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from annotated_types import Ge, Interval
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from benchmarks.environment import describe_environment
from runtime.command.options import parse_options
from runtime.command.ranges import check_ranges
from runtime.errors import run_main
from runtime.field.quality import psnr, ssim
from train.pixelnerf.network import PixelNeRF
from train.pixelnerf.objects import Objects, load_objects
from train.pixelnerf.render import Samples, active_samples, masks_of, ray_samples, render
from train.pixelnerf.runs import load_run

SAMPLES = 64
"""Samples a ray."""

RING = 12
"""Views at one elevation, 30 degrees apart: those that every object has from the same angles."""

GIVEN = (0, 4, 8)
"""Views of the ring that are input pictures, 120 degrees apart: the first one to three of them."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder of python -m train.pixelnerf."""
    data: Path
    """Folder of the set of objects."""
    cache: Path | None = None
    """Folder of the reduced pictures; by default the run folder."""
    objects: Annotated[int, Ge(1)] = 20
    """Validation objects, evenly spaced among all."""
    trained: Annotated[int, Ge(1)] = 2000
    """Trained objects, evenly spaced, among which the nearest is looked for."""
    inputs: Annotated[int, Interval(ge=1, le=3)] = 1
    """Input pictures: view 0, then 4, then 8, which stand 120 degrees apart."""


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
def guess_field(network: PixelNeRF, case: Case, pose: Float32[Tensor, "4 4"]) -> Float[Tensor, "3 H W"]:
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
    pixel = torch.arange(side * side)
    at = (torch.stack([pixel % side, pixel // side], dim=1) + 0.5) / side
    points, steps, hits = ray_samples(pose.expand(len(at), 4, 4), at, SAMPLES, None)
    row = torch.zeros(len(at), dtype=torch.int64)
    active = active_samples(masks_of(case.pictures), case.inputs, row, points, hits)
    return row, Samples(points, steps, active)


def measure(guess: Float[Tensor, "T 3 H W"], truth: Float[Tensor, "T 3 H W"]) -> tuple[float, float]:
    """Return the means of PSNR and SSIM over views."""
    pairs = [(a.permute(1, 2, 0), b.permute(1, 2, 0)) for a, b in zip(guess, truth, strict=True)]
    return sum(psnr(a, b) for a, b in pairs) / len(pairs), sum(ssim(a, b) for a, b in pairs) / len(pairs)


def main() -> None:
    """Measure from a command line."""
    config = parse_options(Config, "benchmarks.pixelnerf", description=__doc__)
    check_ranges(config)
    network = load_run(config.run)
    objects = load_objects(config.data, config.cache or config.run, network.architecture.side)
    rows = objects.validation[torch.linspace(0, len(objects.validation) - 1, config.objects).long()]
    trained = objects.train[torch.linspace(0, len(objects.train) - 1, config.trained).long()]
    others = guessed_views(config.inputs)
    figures: dict[str, list[tuple[float, float]]] = {"pixelNeRF": [], "hull, mean colour": [], "nearest trained": []}
    seconds = 0.0
    for row in rows.tolist():
        case = case_of(objects, row, config.inputs)
        started = time.process_time()
        field = torch.stack([guess_field(network, case, pose) for pose in case.poses])
        seconds += time.process_time() - started
        figures["pixelNeRF"].append(measure(field, case.truth))
        hull = torch.stack([guess_hull(case, pose) for pose in case.poses])
        figures["hull, mean colour"].append(measure(hull, case.truth))
        figures["nearest trained"].append(measure(guess_nearest(objects, trained, case, others), case.truth))
    print(describe_environment())
    side = network.architecture.side
    print(f"{len(rows)} validation objects, {config.inputs} input pictures, {len(others)} views each, {side} px")
    print(f"{seconds / len(rows) / len(others):.2f} CPU seconds a view by PyTorch\n")
    print("| guess | PSNR | SSIM |\n|---|---|---|")
    for name, values in figures.items():
        ratio, similarity = (sum(value[i] for value in values) / len(values) for i in range(2))
        print(f"| {name} | {ratio:.2f} | {similarity:.3f} |")


if __name__ == "__main__":
    run_main(main)
