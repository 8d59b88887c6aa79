"""What is evaluated: the network of a run folder or of a bundle, and the pictures that it models."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from runtime.engines.bundle import DdpmBundle
from runtime.engines.bundle.installed import installed_bundles
from runtime.guidance.diffusion import PredictNoise
from runtime.guidance.sampler import times
from runtime.guidance.schedule import Schedule
from runtime.guidance.solvers import Ancestral, Ddim, DpmSolver, Heun, Solver, noise_predictor, solve
from train.ddpm.data import Pictures, load_pictures
from train.ddpm.runs import load_run

BATCH = 64
"""Samples that are drawn together."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network and its pictures.

    Attributes:
        network: the prediction.
        schedule: alpha_t and sigma_t, in float64, and what is predicted.
        shape: of a picture.
        pictures: both splits.
        differentiable: whether PyTorch can differentiate the network.
    """

    network: PredictNoise
    schedule: Schedule
    shape: tuple[int, int, int]
    pictures: Pictures
    differentiable: bool


def load_subject(place: Path, *, data: str = "", data_dir: Path | None = None, sets: str = "") -> Subject:
    """Return the averaged weights of a run, or the network of a bundle, and its pictures.

    Args:
        place: run folder of `train.ddpm`, folder of a bundle, or name of an installed one.
        data: as of `load_pictures`; by default what the network was trained on.
        data_dir: as of `load_pictures`.
        sets: icon sets, by default the run's; a bundle doesn't know them.

    Raises:
        UserError: where the run, the bundle or the data do not fit.
    """
    if (place / "bundle.json").is_file() or str(place) in [bundle.name for bundle in installed_bundles()]:
        bundle = DdpmBundle.load(place)
        shape, description, network = bundle.shape, bundle.schedule, bundle.denoiser()
        data = data or bundle.manifest.data
    else:
        network, run = load_run(place)
        a = run.architecture
        shape, description = (a.channels, a.size, a.size), run.schedule
        # Icon sets are of the run's own data only.
        data, sets = data or run.data, sets or ("" if data else run.sets)
    return Subject(
        network=network,
        schedule=Schedule.of(description, torch.float64),
        shape=shape,
        pictures=load_pictures(data, data_dir, size=shape[1], sets=sets),
        differentiable=isinstance(network, torch.nn.Module),
    )


def solver_of(name: str, schedule: Schedule, steps: int) -> Solver:
    """Return the sampler of a name: dpm++, heun, ddim or ancestral."""
    kinds = {"dpm++": DpmSolver, "heun": Heun, "ddim": Ddim, "ancestral": Ancestral}
    return kinds[name](schedule, times(schedule, min(steps, len(schedule))), clip=True)


def draw_levels(subject: Subject, solver: Solver, count: int, seed: int) -> UInt8[Tensor, "N C H W"]:
    """Return samples as levels 0 to 255, rounded as files are."""
    generator, rows = torch.Generator().manual_seed(seed), []
    predict = noise_predictor(subject.network, subject.schedule)
    for begin in range(0, count, BATCH):
        noise = torch.randn((min(BATCH, count - begin), *subject.shape), generator=generator)
        drawn = solve(solver, predict, noise, generator).clamp(-1.0, 1.0)
        rows.append(((drawn + 1.0) * 127.5).round().to(torch.uint8))
    return torch.cat(rows)


def pick(pictures: UInt8[Tensor, "N C H W"], count: int) -> UInt8[Tensor, "M C H W"]:
    """Return at most so many pictures, evenly apart in a set: neighbours in it are often variants of one."""
    if count >= len(pictures):
        return pictures
    return pictures[torch.linspace(0, len(pictures) - 1, count + 2).round().long()[1:-1]]
