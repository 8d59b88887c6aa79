"""The commands: train the probe, and read views of held-out objects and of a bundle's drawings with it."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Interval
from jaxtyping import Float
from torch import Tensor

import benchmarks.azimuth
from benchmarks import cameras
from benchmarks.azimuth.probe import Probe, difference, load_probe, read_azimuths, train
from benchmarks.azimuth.views import KINDS, Views, load_views, sheets_of, shrink
from benchmarks.environment import describe_environment
from benchmarks.turntables import write_small
from runtime.command.options import parse_options
from runtime.command.ranges import Count, Seed, Threads
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError

PROMPTS = {
    "a car": "vehicle",
    "a chair": "seat",
    "a boat": "boat",
    "a fish": "fish",
    "a robot": "robot",
    "a man": "character",
    "a dog": "animal",
    "a spaceship": "spaceship",
}
"""Prompts, one for each kind that has a front, and the kinds, which the probe knows."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How long the probe is trained, and on what."""

    data: Path
    """Folder of a set of rendered objects, as of train.latent_diffusion.objects."""
    run: Path
    """Folder of the checkpoint; one that is there is resumed."""
    steps: Count = 2500
    """Steps of 64 views."""
    threads: Threads | None = None
    """Threads; by default PyTorch's choice."""
    seed: Seed = 0
    """Seed of the initialization and of all draws."""


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """What is read."""

    data: Path
    """Folder of the set that the probe was trained on."""
    run: Path
    """Folder of the trained probe."""
    bundle: str = "objects"
    """Bundle whose denoiser knows cameras."""
    out: Path | None = None
    """PNG of the drawn views, a row a prompt and seed; none draws no sheet."""
    seeds: Annotated[int, Interval(ge=1, le=1000)] = 4
    """Noises of each prompt."""
    views: Annotated[int, Interval(ge=1, le=64)] = 8
    """Azimuths, evenly spaced from the front."""
    elevation: Annotated[float, Interval(ge=-1.5, le=1.5)] = math.radians(30.0)
    """Elevation of the cameras, radians; that of most views of the set."""
    omega: Annotated[float, Interval(ge=-1, le=1000)] = 2.0
    """Weight of guidance."""
    steps: Annotated[int, Interval(ge=1, le=1000)] = 15
    """Calls of the network a picture."""
    count: Annotated[int, Interval(ge=1, le=len(PROMPTS))] = len(PROMPTS)
    """Prompts, from the first."""
    threads: Threads | None = None
    """Threads; by default PyTorch's choice."""


def draw_views(
    bundle: DiffusionBundle, prompt: str, kind: int, options: MeasureOptions, out: list[Float[Tensor, "V 3 S S"]]
) -> Views:
    """Return what a bundle draws of a prompt from all azimuths, with each seed; rows of the sheet are added to `out`.

    Raises:
        UserError: as of `benchmarks.cameras.pictures_of`.
    """
    config = cameras.Config(
        out=Path(), views=options.views, elevation=options.elevation, omega=options.omega, steps=options.steps
    )
    pictures = []
    for seed in range(options.seeds):
        drawn = cameras.pictures_of(bundle, prompt, replace(config, seed=seed))
        pictures.append(shrink((255.0 * drawn.clamp(0.0, 1.0)).round().byte()))
        out.append(torch.nn.functional.interpolate(drawn, size=(64, 64), mode="area"))
    count = options.views * options.seeds
    azimuths = (torch.arange(options.views) * (2.0 * math.pi / options.views)).repeat(options.seeds)
    return Views(torch.cat(pictures), azimuths, torch.full((count,), kind), torch.zeros(count, dtype=torch.bool))


def figures_of(read: Float[Tensor, " V"], azimuths: Float[Tensor, " V"]) -> dict[str, float]:
    """Return what is wrong with read azimuths: degrees and shares.

    Returns:
        `median` error in degrees; `under 30` and `over 150`, shares of errors in degrees, by chance 0.17 each; `modulo
        180`, the median where front and back count as one direction, by chance 45.
    """
    errors = difference(read, azimuths).rad2deg()
    modulo = difference(read, azimuths, math.pi).rad2deg()
    return {
        "views": float(len(errors)),
        "median": float(errors.median()),
        "under 30": float((errors < 30.0).float().mean()),
        "over 150": float((errors > 150.0).float().mean()),
        "modulo 180": float(modulo.median()),
    }


def row_of(name: str, probe: Probe, views: Views) -> str:
    """Return a line of the table."""
    read = read_azimuths(probe, views.pictures.float() / 255.0, views.kinds)
    f = figures_of(read, views.azimuths)
    shares = f"{100 * f['under 30']:.0f} % | {100 * f['over 150']:.0f} %"
    return f"| {name} | {f['views']:.0f} | {f['median']:.0f} | {shares} | {f['modulo 180']:.0f} |"


def measure(options: MeasureOptions, report: Callable[[str], object]) -> None:
    """Report the table: held-out views, all of them and by kind, then drawn ones, all of them and by prompt.

    Raises:
        UserError: something is missing, or the bundle knows no cameras.
    """
    probe, bundle = load_probe(options.run), DiffusionBundle.load(options.bundle, threads=options.threads)
    real = load_views(options.data)
    real = real.pick(real.held_out)
    report("| views | number | median error, degrees | under 30 | over 150 | modulo 180 |")
    report("|---|---|---|---|---|---|")
    report(row_of("held-out objects", probe, real))
    for number, kind in enumerate(KINDS):
        if bool((real.kinds == number).any()):
            report(row_of(kind, probe, real.pick(real.kinds == number)))
    drawn, sheet = [], []
    for prompt, kind in list(PROMPTS.items())[: options.count]:
        drawn.append(draw_views(bundle, prompt, KINDS.index(kind), options, sheet))
        report(row_of(f'drawn: "{prompt}"', probe, drawn[-1]))
    report(row_of(f"drawn by `{bundle.name}`", probe, _joined(drawn)))
    if options.out is not None:
        write_small(options.out, sheets_of(sheet))


def _joined(parts: list[Views]) -> Views:
    def all_of(values: list[Tensor]) -> Tensor:
        return torch.cat(values)

    return Views(
        all_of([p.pictures for p in parts]),
        all_of([p.azimuths for p in parts]),
        all_of([p.kinds for p in parts]),
        all_of([p.held_out for p in parts]),
    )


def main() -> None:
    """Train or measure from a command line."""
    words = sys.argv[1:2]
    if words not in (["train"], ["measure"]) and words not in (["-h"], ["--help"]):
        raise UserError(f"benchmarks.azimuth: expected train or measure, got {' '.join(words) or 'nothing'}")
    if words in (["-h"], ["--help"]):
        print(benchmarks.azimuth.__doc__)
        return
    del sys.argv[1]
    if words == ["train"]:
        options = parse_options(TrainOptions, "benchmarks.azimuth train", description=benchmarks.azimuth.__doc__)
        _set_threads(options.threads)
        train(load_views(options.data), options.run, options.steps, lambda line: print(line, flush=True), options.seed)
        return
    options = parse_options(MeasureOptions, "benchmarks.azimuth measure", description=benchmarks.azimuth.__doc__)
    _set_threads(options.threads)
    print(describe_environment())
    measure(options, lambda line: print(line, flush=True))


def _set_threads(threads: int | None) -> None:
    if threads is not None:
        torch.set_num_threads(threads)
