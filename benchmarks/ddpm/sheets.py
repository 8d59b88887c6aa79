"""Draw the README's pictures of a DDPM bundle: samples, progressive coding, rate and distortion, paths of sampling.

    python -m benchmarks.ddpm.sheets --data-dir data/icons.npz --out benchmarks

writes into the folder
ddpm_samples.png   24 samples
ddpm_rates.png     held-out pictures, and what a receiver has of each after a fifth, two fifths ... of its code
ddpm_curve.png     error against bits: the bound's rate and distortion, and the codec's files, of held-out pictures
ddpm_paths.png     pictures as they appear; pictures that share what is drawn down to a time; blends of two pictures
and prints the figures of the second and third.
"""

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Interval
from jaxtyping import Float, UInt8
from torch import Tensor

from benchmarks.environment import describe_environment
from runtime.command.method import draw
from runtime.command.options import parse_options
from runtime.command.ranges import check_ranges
from runtime.ddpm import CODEC, INTERPOLATE, SAMPLE, Codec, Interpolate, Sample
from runtime.ddpm.codec import RATES, CodeScene, picked
from runtime.ddpm.output import write_samples
from runtime.ddpm.pictures import to_rgb
from runtime.ddpm.stages import PictureScene
from runtime.engines.bundle import DdpmBundle
from runtime.errors import UserError, run_main
from runtime.pictures import write_png
from runtime.pixels.sheets import sheet
from train.ddpm.data import to_unit
from train.ddpm.evaluate import Terms, evaluate_terms
from train.ddpm.subject import Subject, load_subject, pick

COLUMNS = 8
"""Pictures of a row of paths."""

SHARED = (700, 400, 200)
"""Times down to which pictures share what is drawn."""

STEPS = 100
"""Steps of ancestral sampling for paths."""

DRAWN = ("samples", "rates", "curve", "paths")
"""Pictures that are drawn."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is drawn of which bundle."""

    out: Path
    """Folder of the pictures."""
    bundle: str = "icons-ddpm"
    """Name of an installed bundle, or its folder."""
    data: str = ""
    """As of train.ddpm; by default what the bundle says."""
    data_dir: Path | None = None
    """Archive or folder of a named data set, by default below data/."""
    sets: str = "noto"
    """Icon sets that the network was trained on."""
    shown: Annotated[int, Interval(ge=1, le=16)] = 4
    """Held-out pictures that are shown coded."""
    count: Annotated[int, Interval(ge=1, le=10_000)] = 32
    """Held-out pictures of the bound's curve."""
    times: Annotated[int, Interval(ge=1, le=1000)] = 200
    """Times of the bound that are evaluated."""
    bits: Annotated[float, Interval(ge=0.01, le=32)] = 1.0
    """Greatest size of a code, bits a dimension."""
    seed: int = 1
    """Seed of all draws."""
    only: str = ""
    """Draw only these, with commas: samples, rates, curve, paths."""


def code(levels: UInt8[Tensor, "N C H W"], bundle: DdpmBundle, bits: float, seed: int) -> list[CodeScene]:
    """Return the coded scene of each picture."""
    scenes = []
    with tempfile.TemporaryDirectory() as folder:
        for number, picture in enumerate(levels):
            file = Path(folder) / f"{number}.png"
            write_png(file, picture.float().expand(3, -1, -1) / 255.0)
            scene = draw(CODEC, Codec(picture=file, bits=bits, seed=seed), bundle)
            assert isinstance(scene, CodeScene)
            scenes.append(scene)
    return scenes


def measured(scene: CodeScene, levels: UInt8[Tensor, "C H W"]) -> list[tuple[float, float, float]]:
    """Return bits a dimension of the file, its relative entropy, and the error of 255, after each step."""
    errors = (scene.estimates.float() - levels.float()).square().flatten(1).mean(1).sqrt()
    spent = scene.spent / levels.numel()
    return [(bits, entropy, float(error)) for (bits, entropy), error in zip(spent.tolist(), errors, strict=True)]


def draw_rates(scenes: Sequence[CodeScene], levels: UInt8[Tensor, "N C H W"], out: Path) -> Iterator[str]:
    """Draw held-out pictures at five rates, and yield a line for each picture."""
    cells = []
    yield "| picture | " + " | ".join(f"{i + 1}/{RATES} of the code" for i in range(RATES)) + " | relative entropy |"
    yield "|---" * (RATES + 2) + "|"
    for number, (scene, picture) in enumerate(zip(scenes, levels, strict=True)):
        rows, places = measured(scene, picture), picked(scene)
        cells += [picture[None], scene.estimates[places]]
        parts = [f"{math.ceil(rows[place][0] * picture.numel() / 8)} bytes, {rows[place][2]:.1f}" for place in places]
        last = rows[places[-1]]
        yield f"| {number + 1} | {' | '.join(parts)} | {last[1]:.3f} of {last[0]:.3f} bits/dim |"
    rgb = torch.cat(cells).expand(-1, 3, -1, -1).float() / 255.0
    write_png(out, sheet(rgb, RATES + 1))


def draw_curve(terms: Terms, scenes: Sequence[CodeScene], levels: UInt8[Tensor, "N C H W"], out: Path) -> Iterator[str]:
    """Draw error against bits of the bound and of the codec's files, and yield lines of both."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.2), dpi=110, layout="constrained")
    axes: Any = figure.subplots()
    rates = [terms.rate_at(place) for place in range(len(terms.visited))]
    errors = [terms.rmse_at(place) for place in range(len(terms.visited))]
    axes.plot(rates, errors, color="#2a5d9f", label="the bound: rate and error of the estimate, a time each")
    every = [measured(scene, picture) for scene, picture in zip(scenes, levels, strict=True)]
    for number, rows in enumerate(every):
        label = "the codec: size of the file and error, a step each" if number == 0 else None
        points = [(bits, error) for bits, _, error in rows]
        axes.plot(*zip(*points, strict=True), ".", color="#d9822b", markersize=3, alpha=0.7, label=label)
    axes.set(xlabel="bits a dimension", ylabel="RMSE of 255", xlim=(0, None), ylim=(0, 60))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(out, metadata={"Software": None})
    yield "| bits/dim | RMSE by the bound | RMSE of files of that size, mean |"
    yield "|---|---|---|"
    for target in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8):
        # The last time, or step, whose bits are no more.
        bound = min((error for rate, error in zip(rates, errors, strict=True) if rate <= target), default=math.nan)
        files = [min((e for bits, _, e in rows if bits <= target), default=math.nan) for rows in every]
        yield f"| {target} | {bound:.1f} | {sum(files) / len(files):.1f} |"


def appearing(bundle: DdpmBundle, count: int, seed: int) -> Float[Tensor, "N C H W"]:
    """Return pictures as they appear, the estimates at evenly spaced steps, a row each."""
    config = Sample(count=count, sampler="ancestral", steps=STEPS, video=True, seed=seed)
    scene = draw(SAMPLE, config, bundle)
    assert isinstance(scene, PictureScene)
    places = torch.linspace(0, len(scene.frames) - 1, COLUMNS).round().long()
    return (scene.frames[places].float() / 127.5 - 1.0).transpose(0, 1).flatten(0, 1)


def sharing(bundle: DdpmBundle, seed: int) -> Float[Tensor, "N C H W"]:
    """Return rows of pictures that share what is drawn down to a time, those of the latest time first."""
    rows = []
    for shared in SHARED:
        config = Sample(count=COLUMNS, sampler="ancestral", steps=STEPS, shared=shared, seed=seed)
        scene = draw(SAMPLE, config, bundle)
        assert isinstance(scene, PictureScene)
        rows.append(scene.pictures)
    return torch.cat(rows)


def blending(pair: UInt8[Tensor, "2 C H W"], bundle: DdpmBundle, seed: int) -> Float[Tensor, "N C H W"]:
    """Return a row of blends of two pictures."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("a.png", "b.png")]
        for file, picture in zip(files, pair, strict=True):
            write_png(file, picture.float().expand(3, -1, -1) / 255.0)
        config = Interpolate(first=files[0], second=files[1], count=COLUMNS, seed=seed)
        scene = draw(INTERPOLATE, config, bundle)
    assert isinstance(scene, PictureScene)
    return scene.pictures


def draw_all(options: Options, bundle: DdpmBundle, subject: Subject) -> Iterator[str]:
    """Draw what is asked for, and yield the lines of its figures."""
    asked = [name.strip() for name in options.only.split(",") if name.strip()] or list(DRAWN)
    if not set(asked) <= set(DRAWN):
        raise UserError(f"--only '{options.only}': expected {', '.join(DRAWN)}, with commas")
    options.out.mkdir(parents=True, exist_ok=True)
    levels = pick(subject.pictures.held_out, max(options.shown, 2))
    if "samples" in asked:
        config = Sample(count=24, seed=options.seed)
        scene = draw(SAMPLE, config, bundle)
        assert isinstance(scene, PictureScene)
        write_samples(config, bundle, scene, options.out / "ddpm_samples.png")
        yield f"{options.out / 'ddpm_samples.png'}"
    if {"rates", "curve"} & set(asked):
        begun = time.process_time()
        scenes = code(levels, bundle, options.bits, options.seed)
        yield f"coding {len(levels)} pictures: {time.process_time() - begun:.1f} CPU s"
        if "rates" in asked:
            yield from draw_rates(scenes, levels, options.out / "ddpm_rates.png")
        if "curve" in asked:
            x, generator = to_unit(pick(subject.pictures.held_out, options.count)), torch.Generator().manual_seed(0)
            with torch.no_grad():
                terms = evaluate_terms(
                    subject.network, x, subject.schedule, ranges=options.times, kind="fixedlarge", generator=generator
                )
            yield from draw_curve(terms, scenes, levels, options.out / "ddpm_curve.png")
    if "paths" in asked:
        cells = torch.cat(
            (
                appearing(bundle, 3, options.seed),
                sharing(bundle, options.seed),
                blending(levels[:2], bundle, options.seed),
            )
        )
        write_png(options.out / "ddpm_paths.png", sheet(to_rgb(cells), COLUMNS))
        yield f"{options.out / 'ddpm_paths.png'}"


def main() -> None:
    """Draw, and print the figures."""
    options = parse_options(Options, "benchmarks.ddpm.sheets", description=__doc__)
    check_ranges(options)
    bundle = DdpmBundle.load(options.bundle)
    place = Path(options.bundle)
    subject = load_subject(place, data=options.data, data_dir=options.data_dir, sets=options.sets)
    print(describe_environment())
    for line in draw_all(options, bundle, subject):
        print(line, flush=True)


if __name__ == "__main__":
    run_main(main)
