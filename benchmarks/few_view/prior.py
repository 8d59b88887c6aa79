"""What helps where photos are few? The same fits with a prior, with the photos' visual hull, and without.

    python -m benchmarks.few_view.prior --objects data/objects [--count 20] [--views 3] [--out prior.png]

pixelNeRF is shown the photos that are fitted. A diffusion model is told an object's first caption and where its front
is. Differences are by object, from the first row, on the views that were not fitted. The sheet has an object a row:
what was fitted, then the two views that are farthest from that, each as it is and by each row's fit.

With --cleaned the two views of each fit are noised and cleaned by the diffusion model, and compared with the truth
again: targets that are no nearer to it than what a field shows already cannot help it.
"""

import json
import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from benchmarks.environment import describe_environment
from benchmarks.few_view.cleaning import Cleaner
from benchmarks.few_view.objects import SIDE, TO_Z_UP, archive_of
from benchmarks.options import TableOptions
from benchmarks.posed_objects import PosedObject, validation_objects
from benchmarks.turntables import write_small
from runtime.command.method import draw
from runtime.command.options import parse_options
from runtime.command.ranges import Amount, Count, Seed
from runtime.errors import UserError, run_main
from runtime.field.pictures import look
from runtime.field.poses import angles_of
from runtime.field.results import Field
from runtime.field.sheets import contact_sheet
from runtime.nerf import METHOD, Config
from runtime.nerf.output import figures_of
from runtime.nerf.scenes import Split

FRONT = -90.0
"""Azimuth of the objects' fronts once z is up, degrees."""

SHOWN = 2
"""Views on the sheet that were not fitted."""


@dataclass(frozen=True, kw_only=True)
class Options(TableOptions):
    """What is measured."""

    objects: Path
    """Folder of the set of posed objects."""
    split: str = "validation"
    """Which of its objects: train, test or validation."""
    count: Count = 20
    """Objects, evenly spaced among them."""
    views: Count = 3
    """Of each object's 16 views, how many are fitted."""
    seed: Seed = 0
    """Of all draws, that of the views among them."""
    rows: tuple[str, ...] = ("without", "guess in hull")
    """Fits of each object, of: without, hull, guess, guess in hull, distillation."""
    sides: str = "pixelnerf"
    """The network that guesses."""
    guess: Amount = Config.guess
    """Weight of its pictures."""
    teacher: str = "objects"
    """The diffusion model."""
    distillation: Amount = Config.distillation
    """Weight of its score distillation."""
    omega: Amount = Config.omega
    """Its weight of guidance."""
    cleaned: tyro.conf.FlagCreatePairsOff[bool] = False
    """Have the diffusion model clean what each fit shows."""
    steps: Count = Config.steps
    """Steps of a fit."""
    out: Path | None = None
    """Sheet to write, a PNG."""


def configs(options: Options, one: PosedObject, capture: Path) -> dict[str, Config]:
    """Return the fits of an object, by row."""
    bare = Config(capture=capture, views=options.views, seed=options.seed, steps=options.steps)
    guess = replace(bare, prior=options.sides, guess=options.guess)
    distilled = replace(bare, prior=options.teacher, prompt=one.caption, front=FRONT)
    fits = {
        "without": bare,
        "hull": replace(bare, hull=True),
        "guess": guess,
        "guess in hull": replace(guess, hull=True),
        "distillation": replace(distilled, distillation=options.distillation, omega=options.omega),
    }
    unknown = [name for name in options.rows if name not in fits]
    if unknown or not options.rows:
        raise UserError(f"--rows: expected some of {', '.join(fits)}, got {', '.join(unknown) or 'none'}")
    return {name: fits[name] for name in options.rows}


def farthest(centres: Float[Tensor, "V 3"], fitted: list[int], held_out: list[int]) -> list[int]:
    """Return the held-out views with the largest angle to the nearest fitted one, the farthest first."""
    directions = torch.nn.functional.normalize(centres, dim=1)
    nearest = (directions[held_out] @ directions[fitted].T).amax(1)
    return [held_out[index] for index in nearest.argsort().tolist()]


def shown(scene: Field, split: Split, row: int) -> Float[Tensor, "3 H W"]:
    """Return what a field shows a camera of a capture, before white."""
    return look(scene.render, split.capture.cameras, row, samples=2).on(1.0).permute(2, 0, 1)


def truth(split: Split, row: int) -> Float[Tensor, "3 H W"]:
    """Return a view of a capture, before white."""
    rgba = split.capture.rgba([row], tuple(split.capture.cameras.sizes[row].tolist()))[0]  # pyright: ignore
    return (rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]).permute(2, 0, 1)


def measured(
    options: Options, one: PosedObject, capture: Path, cleaner: Cleaner | None = None
) -> tuple[dict[str, Any], list[Tensor]]:
    """Return the figures of an object's fits, by row and name, and its row of the sheet."""
    row: dict[str, Any] = {"object": one.name, "caption": one.caption}
    scenes: dict[str, Field] = {}
    fits = configs(options, one, capture)
    split = Split.of(next(iter(fits.values())))
    far = farthest(split.capture.cameras.centres, split.train, split.held_out)[:SHOWN]
    for name, config in fits.items():
        begun = time.process_time()
        scenes[name] = draw(METHOD, config)  # pyright: ignore[reportArgumentType]
        seconds = time.process_time() - begun
        figures = figures_of(config, scenes[name], split)  # pyright: ignore[reportArgumentType]
        row[name] = {"psnr": figures["psnr"], "ssim": figures["ssim"], "cpu_s": seconds}
        if cleaner is not None:
            gains = [cleaner.gains(*seen(scenes[name], split, view), one.caption) for view in far]
            row[name]["cleaned"] = {what: [one[what] for one in gains] for what in gains[0]}
    cells = [truth(split, index) for index in split.train]
    for index in far:
        cells += [truth(split, index), *(shown(scene, split, index) for scene in scenes.values())]
    return row, cells


def seen(scene: Field, split: Split, view: int) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Return what a field shows a camera, the truth, and the camera's azimuth from the front and its elevation."""
    azimuth, elevation = angles_of(split.capture.cameras.centres[view : view + 1])
    return shown(scene, split, view), truth(split, view), (azimuth - math.radians(FRONT), elevation)


def rows(options: Options) -> Iterator[tuple[dict[str, Any], list[Tensor]]]:
    """Yield each object's figures and its row of the sheet."""
    cleaner = Cleaner.of(options.teacher) if options.cleaned else None
    with tempfile.TemporaryDirectory() as folder:
        for index, one in enumerate(validation_objects(options.objects, options.count, SIDE, options.split)):
            capture = Path(folder) / f"{index}.npz"
            capture.write_bytes(archive_of(one.views, TO_Z_UP @ one.poses.numpy()))
            yield measured(options, one, capture, cleaner)


def mean_of(values: list[float]) -> tuple[float, float]:
    """Return a mean and its standard error; 0 of one value."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return statistics.mean(values), error


def gains(measured: list[dict[str, Any]], name: str, first: str, figure: str) -> list[float]:
    """Return by how much a row's figure is above the first row's, by object."""
    return [row[name][figure] - row[first][figure] for row in measured]


def summary(measured: list[dict[str, Any]], names: Sequence[str]) -> Iterator[str]:
    """Yield a line for each row: its means, and its gains from the first one."""
    for name in names:
        psnr, ssim, cpu = (mean_of([row[name][figure] for row in measured]) for figure in ("psnr", "ssim", "cpu_s"))
        line = f"{name:14} {psnr[0]:.2f} +- {psnr[1]:.2f} dB, SSIM {ssim[0]:.3f} +- {ssim[1]:.3f}, {cpu[0]:.0f} CPU s"
        if name != names[0]:
            by_object = gains(measured, name, names[0], "psnr")
            more, similar = mean_of(by_object), mean_of(gains(measured, name, names[0], "ssim"))
            line += f"; gain {more[0]:+.2f} +- {more[1]:.2f} dB, SSIM {similar[0]:+.3f} +- {similar[1]:.3f}, "
            line += f"{sum(gain > 0 for gain in by_object)}/{len(by_object)} objects"
        yield line
        for what in measured[0][name].get("cleaned", ()):
            views = [gain for row in measured for gain in row[name]["cleaned"][what]]
            nearer = f"{sum(gain > 0 for gain in views)}/{len(views)} views"
            yield f"    cleaned, {what}: {statistics.mean(views):+.2f} dB, nearer to the truth in {nearer}"


def main() -> None:
    """Print a line for each object, and the means."""
    options = parse_options(Options, "benchmarks.few_view.prior", description=__doc__)
    options.set_threads()
    print(describe_environment())
    print(f"{'PSNR in dB and SSIM':36}" + "".join(name.rjust(15) for name in options.rows))
    figures, cells = [], []
    for row, pictures in rows(options):
        figures.append(row)
        cells += pictures
        values = (f"{row[name]['psnr']:.2f} {row[name]['ssim']:.3f}".rjust(15) for name in options.rows)
        print(json.dumps(row) if options.json else f"{row['object'][:35]:36}" + "".join(values), flush=True)
        if options.out is not None:
            # After each row, so that a long run can be looked at.
            write_small(options.out, contact_sheet(cells, options.views + (1 + len(options.rows)) * SHOWN))
    for line in summary(figures, options.rows):
        print(line)


if __name__ == "__main__":
    run_main(main)
