"""Does a diffusion model that knows cameras help where photos are few? The same fits with `--prior` and without.

    python -m benchmarks.few_view.prior --objects data/objects [--count 20] [--views 3] [--out prior.png]

The prior is told an object's first caption and where its front is. Differences are by object, on the views that were
not fitted. The sheet has an object a row: what was fitted, then the two views that are farthest from that, each as it
is, without the prior, and with it.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.environment import describe_environment
from benchmarks.few_view.objects import SIDE, TO_Z_UP, archive_of
from benchmarks.options import TableOptions
from benchmarks.posed_objects import PosedObject, validation_objects
from benchmarks.turntables import write_small
from runtime.command.method import draw
from runtime.command.options import parse_options
from runtime.command.ranges import Amount, Count, Seed
from runtime.errors import run_main
from runtime.field.pictures import look
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
    bundle: str = "objects"
    """The prior's networks."""
    distillation: Amount = Config.distillation
    """Weight of the prior."""
    omega: Amount = Config.omega
    """The prior's weight of guidance."""
    steps: Count = Config.steps
    """Steps of a fit."""
    out: Path | None = None
    """Sheet to write, a PNG."""


def configs(options: Options, one: PosedObject, capture: Path) -> dict[str, Config]:
    """Return the two fits of an object."""
    bare = Config(capture=capture, views=options.views, seed=options.seed, steps=options.steps)
    prior = replace(bare, prior=options.bundle, prompt=one.caption, front=FRONT)
    return {"without": bare, "with": replace(prior, distillation=options.distillation, omega=options.omega)}


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


def measured(options: Options, one: PosedObject, capture: Path) -> tuple[dict[str, Any], list[Tensor]]:
    """Return the figures of an object's two fits, and its row of the sheet."""
    row: dict[str, Any] = {"object": one.name, "caption": one.caption}
    scenes: dict[str, Field] = {}
    fits = configs(options, one, capture)
    split = Split.of(fits["without"])
    for name, config in fits.items():
        begun = time.process_time()
        scenes[name] = draw(METHOD, config)  # pyright: ignore[reportArgumentType]
        row[f"cpu_s_{name}"] = time.process_time() - begun
        figures = figures_of(config, scenes[name], split)  # pyright: ignore[reportArgumentType]
        row |= {f"{key}_{name}": figures[key] for key in ("psnr", "ssim")}
    cells = [truth(split, index) for index in split.train]
    for index in farthest(split.capture.cameras.centres, split.train, split.held_out)[:SHOWN]:
        cells += [truth(split, index), *(shown(scene, split, index) for scene in scenes.values())]
    return row, cells


def rows(options: Options) -> Iterator[tuple[dict[str, Any], list[Tensor]]]:
    """Yield each object's figures and its row of the sheet."""
    with tempfile.TemporaryDirectory() as folder:
        for index, one in enumerate(validation_objects(options.objects, options.count, SIDE, options.split)):
            capture = Path(folder) / f"{index}.npz"
            capture.write_bytes(archive_of(one.views, TO_Z_UP @ one.poses.numpy()))
            yield measured(options, one, capture)


def gain(measured: list[dict[str, Any]], figure: str) -> tuple[float, float]:
    """Return by how much the prior raises a figure, mean over objects, and the standard error."""
    gains = [row[f"{figure}_with"] - row[f"{figure}_without"] for row in measured]
    return statistics.mean(gains), statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else 0.0


def main() -> None:
    """Print a line for each object, and the means."""
    options = parse_options(Options, "benchmarks.few_view.prior", description=__doc__)
    options.set_threads()
    print(describe_environment())
    columns = [f"{figure}_{name}" for figure in ("psnr", "ssim", "cpu_s") for name in ("without", "with")]
    print(f"{'object':36}" + "".join(column.rjust(15) for column in columns))
    figures, cells = [], []
    for row, pictures in rows(options):
        figures.append(row)
        cells += pictures
        print(f"{row['object'][:35]:36}" + "".join(f"{row[column]:15.3f}" for column in columns), flush=True)
        if options.out is not None:
            # After each row, so that a long run can be looked at.
            write_small(options.out, contact_sheet(cells, options.views + 3 * SHOWN))
    means = (statistics.mean(row[column] for row in figures) for column in columns)
    print(f"{'mean':36}" + "".join(f"{mean:15.3f}" for mean in means))
    (psnr, psnr_error), (ssim, ssim_error) = gain(figures, "psnr"), gain(figures, "ssim")
    print(f"the prior's gain: {psnr:+.2f} +- {psnr_error:.2f} dB, SSIM {ssim:+.4f} +- {ssim_error:.4f}")


if __name__ == "__main__":
    run_main(main)
