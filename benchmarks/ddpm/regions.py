"""How do LMConv and DDPM with RePaint complete any part of a picture? Pictures and seconds of both on the same digits.

    python -m benchmarks.ddpm.regions --bundle bundles/mnist-ddpm --out completions.png

The digits are those of `benchmarks.completions`, which no network has seen. LMConv's bundle `mnist` models black and
white, so it sees each digit as such; DDPM's is a grey one of 28 pixels that you have trained:
`python -m train.ddpm --data mnist --preset mnist --out runs/mnist-ddpm && python -m export ddpm runs/mnist-ddpm --out
bundles/mnist-ddpm`. Seconds are of the process's CPU, for all samples of a digit together.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Interval
from jaxtyping import Float
from torch import Tensor

from benchmarks.completions import REGIONS, STROKES, draw_digit
from benchmarks.environment import describe_environment
from runtime.command.method import draw
from runtime.command.options import parse_options
from runtime.command.ranges import check_ranges
from runtime.ddpm import COMPLETE, Complete
from runtime.ddpm.pictures import to_rgb as ddpm_rgb
from runtime.ddpm.stages import PictureScene
from runtime.engines.bundle import DdpmBundle, LMConvBundle
from runtime.errors import UserError, run_main
from runtime.lmconv.sheets import read_levels, to_rgb
from runtime.pictures import read_picture, write_png
from runtime.pixels.order_names import read_order
from runtime.pixels.regions import Region, hidden_region
from runtime.pixels.sampler import Sampler
from runtime.pixels.sheets import sheet, tinted


@dataclass(frozen=True, kw_only=True)
class Options:
    """What completes, and how often."""

    bundle: Path
    """Folder of a grey DDPM bundle of 28 pixels."""
    lmconv: str = "mnist"
    """LMConv's bundle."""
    out: Path
    """PNG file of the sheet: observed, LMConv's completions, RePaint's, the truth."""
    samples: Annotated[int, Interval(ge=1, le=16)] = 3
    """Completions of each digit by each."""
    steps: Annotated[int, Interval(ge=1, le=1000)] = 50
    """Of RePaint: times that are visited on the way down."""
    jump: Annotated[int, Interval(ge=1, le=1000)] = 5
    """Of RePaint: steps of each way back."""
    resamples: Annotated[int, Interval(ge=1, le=100)] = 5
    """Of RePaint: how often each stretch is gone down."""
    seed: int = 0
    """Seed of all draws."""


def by_lmconv(
    file: Path, hidden: Region, sampler: Sampler, bundle: LMConvBundle, options: Options
) -> Float[Tensor, "K 3 H W"]:
    """Return LMConv's completions."""
    manifest = bundle.manifest
    levels = read_levels(file, manifest)[0]
    order = read_order("max-context", manifest.size, manifest.orders, hidden)
    generator = torch.Generator().manual_seed(options.seed)
    return to_rgb(sampler.complete(levels, hidden, order, generator=generator, samples=options.samples), manifest)


def by_repaint(file: Path, hide: str, bundle: DdpmBundle, options: Options) -> Float[Tensor, "K 3 H W"]:
    """Return RePaint's completions."""
    config = Complete(
        picture=file,
        hide=hide,
        samples=options.samples,
        steps=options.steps,
        jump=options.jump,
        resamples=options.resamples,
        seed=options.seed,
    )
    scene = draw(COMPLETE, config, bundle)
    assert isinstance(scene, PictureScene)
    return ddpm_rgb(scene.pictures)


def main() -> None:
    """Complete, print and draw."""
    options = parse_options(Options, "benchmarks.ddpm.regions", description=__doc__)
    check_ranges(options)
    ours, theirs = LMConvBundle.load(options.lmconv), DdpmBundle.load(options.bundle)
    if theirs.shape != (1, *ours.manifest.size):
        expected = " x ".join(map(str, ours.manifest.size))
        raise UserError(
            f"--bundle '{options.bundle}': expected grey pictures of {expected}, those of LMConv's bundle, got "
            f"{' x '.join(map(str, theirs.shape))}; train one with --preset mnist"
        )
    print(describe_environment())
    print(f"{options.samples} completions of each digit; RePaint: {options.steps} times, jumps of {options.jump},")
    print(f"each stretch {options.resamples} times\n")
    print("| digit | hidden | LMConv, CPU s | RePaint, CPU s |\n|---|---|---|---|")
    cells, totals, sampler = [], [0.0, 0.0], Sampler.of(ours)
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(STROKES):
            file, hide = Path(folder) / f"{name}.png", REGIONS[number % len(REGIONS)]
            write_png(file, draw_digit(name, Path(folder)))
            hidden = hidden_region(hide, ours.manifest.size)
            begun = time.process_time()
            first = by_lmconv(file, hidden, sampler, ours, options)
            between = time.process_time()
            second = by_repaint(file, hide, theirs, options)
            seconds = (between - begun, time.process_time() - between)
            totals = [total + part for total, part in zip(totals, seconds, strict=True)]
            print(f"| {name} | {hide} | {seconds[0]:.2f} | {seconds[1]:.2f} |", flush=True)
            truth = read_picture(file)[None]
            cells += [tinted(truth, hidden), first, second, truth]
    print(f"| all | | {totals[0]:.2f} | {totals[1]:.2f} |")
    write_png(options.out, sheet(torch.cat(cells), 2 * options.samples + 2))
    print(options.out)


if __name__ == "__main__":
    run_main(main)
