"""The table of `python -m benchmarks.pixelnerf`."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from annotated_types import Ge, Interval
from jaxtyping import Float
from torch import Tensor

import benchmarks.pixelnerf
from benchmarks.environment import describe_environment
from benchmarks.pixelnerf.guesses import (
    Case,
    case_of,
    guess_hull,
    guess_nearest,
    guess_views,
    guessed_views,
    load_networks,
)
from benchmarks.pixelnerf.tower import TowerDistance
from runtime.command.options import parse_options
from runtime.command.ranges import check_ranges
from runtime.errors import UserError
from runtime.field.quality import psnr, ssim
from runtime.nerf.judges.semantic import load_encoder
from train.pixelnerf.network import PixelNeRF
from train.pixelnerf.objects import load_objects
from train.pixelnerf.scene import Scene, Tuning, tuned


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure."""

    run: Annotated[str, tyro.conf.Positional]
    """Run folder of python -m train.pixelnerf, or name or folder of a bundle."""
    data: Path
    """Folder of the set of objects."""
    cache: Path
    """Folder of the reduced pictures; they are written where they are missing."""
    objects: Annotated[int, Ge(1)] = 142
    """Validation objects, evenly spaced among all 142."""
    trained: Annotated[int, Ge(1)] = 2069
    """Trained objects, evenly spaced, among which the nearest is looked for."""
    inputs: Annotated[int, Interval(ge=1, le=3)] = 1
    """Input pictures: view 0, then 4, then 8, which stand 120 degrees apart."""
    tune: Annotated[int, Ge(0)] = 0
    """Steps by which the network of a run is fitted to each object's input pictures, for rows of their own."""
    encoder: str = "icons"
    """Bundle whose image encoder gives the semantic loss."""


Figures = tuple[float, float, float]
"""PSNR in dB, SSIM, tower distance."""


def measure(
    guess: Float[Tensor, "T 3 H W"], truth: Float[Tensor, "T 3 H W"], distance: Callable[[Tensor, Tensor], float]
) -> Figures:
    """Return the means of PSNR, SSIM and a distance over views."""
    pairs = [(a.permute(1, 2, 0), b.permute(1, 2, 0)) for a, b in zip(guess, truth, strict=True)]
    ratio, similarity = (sum(figure(a, b) for a, b in pairs) / len(pairs) for figure in (psnr, ssim))
    return ratio, similarity, distance(guess, truth)


def tuned_rows(network: PixelNeRF, case: Case, config: Config) -> dict[str, Float[Tensor, "T 3 H W"]]:
    """Return the guesses of the network when it is fitted to the input pictures, by name."""
    guesses = {}
    for name, encoder in (("pixelNeRF, MSE", None), ("DietPixelNeRF, MSE and semantic", load_encoder(config.encoder))):
        scene, draws = Scene(case.pictures, case.inputs), torch.Generator().manual_seed(0)
        guesses[name] = guess_views(tuned(network, scene, Tuning(steps=config.tune), draws, encoder), case)
    return guesses


def main() -> None:
    """Measure from a command line."""
    config = parse_options(Config, "benchmarks.pixelnerf", description=benchmarks.pixelnerf.__doc__)
    check_ranges(config)
    network, side = load_networks(config.run)
    if config.tune and not isinstance(network, PixelNeRF):
        raise UserError(f"--tune: expected a run folder of python -m train.pixelnerf, got the bundle '{config.run}'")
    objects = load_objects(config.data, config.cache, side)
    rows = objects.validation[torch.linspace(0, len(objects.validation) - 1, config.objects).long()]
    trained = objects.train[torch.linspace(0, len(objects.train) - 1, config.trained).long()]
    others, distance = guessed_views(config.inputs), TowerDistance()
    figures: dict[str, list[Figures]] = {}
    seconds = 0.0
    for row in rows.tolist():
        case = case_of(objects, row, config.inputs)
        started = time.process_time()
        guesses = {"pixelNeRF": guess_views(network, case)}
        seconds += time.process_time() - started
        if config.tune and isinstance(network, PixelNeRF):
            guesses |= tuned_rows(network, case, config)
        guesses["nearest trained"] = guess_nearest(objects, trained, case, others)
        guesses["hull, mean colour"] = torch.stack([guess_hull(case, pose) for pose in case.poses])
        for name, guess in guesses.items():
            figures.setdefault(name, []).append(measure(guess, case.truth, distance))
    print(describe_environment())
    print(f"{len(rows)} validation objects, {config.inputs} input pictures, {len(others)} views each, {side} px")
    print(f"{seconds / len(rows) / len(others):.2f} CPU seconds a view\n")
    print("| guess | PSNR | SSIM | tower distance |\n|---|---|---|---|")
    for name, values in figures.items():
        ratio, similarity, far = (sum(value[i] for value in values) / len(values) for i in range(3))
        print(f"| {name} | {ratio:.2f} | {similarity:.3f} | {far:.4f} |")
