"""The command of `runtime.lmconv`: options, files, and what it tells."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from runtime.command.threads import limit_spinning
from runtime.errors import UserError
from runtime.files import try_writing

if TYPE_CHECKING:
    from torch import Tensor

    from runtime.engines.bundle import LMConvBundle

PROGRAM = "python -m runtime.lmconv"

RANGES: dict[str, tuple[float, float]] = {
    "samples": (1, 256),
    "count": (1, 256),
    "seed": (0, 2**63 - 1),
    "temperature": (0.01, 100.0),
}
"""Smallest and largest value of each number."""


@dataclass(frozen=True, kw_only=True)
class Complete:
    """Draw the hidden part of a picture several times, as a sheet: observed, completions, truth."""

    picture: Annotated[Path, tyro.conf.Positional]
    """Picture to complete: PNG, JPEG, WebP, GIF or BMP. One of the bundle's proportions is scaled to its size."""
    hide: str
    """What is hidden: top, left, bottom, right, centre, or a picture that is white where it hides."""
    samples: int = 4
    """Completions, 1 to 256."""
    order: str = "max-context"
    """max-context: observed pixels first, then the hidden ones along a path trained with; max-context:hilbert:0: along
    this one; raster, s-curve:0 to 7, hilbert:0 to 7, or a .npy or .txt file of pixel indices: exactly in this order."""
    temperature: float = 1.0
    """1 draws from the model, less nearer to what it finds likeliest, 0.01 to 100."""
    seed: int = 0
    """Seed of all draws, at least 0."""
    out: Path | None = None
    """PNG file to write; by default the picture's name with -completed, in the working directory."""
    bundle: str = "mnist"
    """Name of an installed bundle for lmconv, or its folder."""
    truth: Path | None = None
    """The whole picture, to be shown last."""
    invert: tyro.conf.FlagCreatePairsOff[bool] = False
    """Turn dark into light before all else: for dark digits on light paper, where the bundle has light ones on dark."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Draw whole pictures, as a sheet and, if asked for, as a moving picture of their making."""

    count: int = 16
    """Pictures, 1 to 256."""
    order: str | None = None
    """raster, s-curve:0 to 7, hilbert:0 to 7, or a .npy or .txt file of pixel indices; by default the first one trained
    with."""
    temperature: float = 1.0
    """1 draws from the model, less nearer to what it finds likeliest, 0.01 to 100."""
    seed: int = 0
    """Seed of all draws, at least 0."""
    out: Path = Path("sample.png")
    """PNG file to write."""
    video: tyro.conf.FlagCreatePairsOff[bool] = False
    """Also write a GIF of the pixels appearing, beside the PNG file."""
    bundle: str = "mnist"
    """Name of an installed bundle for lmconv, or its folder."""


def complete(config: Complete, tell: Callable[[str], None]) -> Path:
    """Complete a picture, write the sheet and return its path.

    Args:
        config: what to complete.
        tell: called with a line about what was done to the picture and what was drawn.

    Raises:
        UserError: for a mistake of the user's; nothing was written then.
    """
    _check_ranges(config)
    out = config.out or Path(f"{config.picture.stem}-completed.png")
    inputs = [config.picture, *([config.truth] if config.truth else []), Path(config.hide)]
    _check_output(out, inputs)
    bundle = load_bundle(config.bundle)
    from runtime.lmconv.sheets import complete_sheet, read_hidden, read_levels
    from runtime.pictures import write_png
    from runtime.pixels.order_names import read_order

    said = bundle.manifest
    levels, scaled_from = read_levels(config.picture, said, invert=config.invert)
    if scaled_from:
        tell(f"'{config.picture}' has {_by(scaled_from)} pixels: scaled to {_by(said.size)}")
    hidden = read_hidden(config.hide, said.size, scaled_from)
    truth = read_levels(config.truth, said, invert=config.invert)[0] if config.truth else None
    order = read_order(config.order, said.size, said.orders, hidden)

    def draw(sampler, generator, report) -> "Tensor":
        return sampler.complete(
            levels,
            hidden,
            order,
            generator=generator,
            samples=config.samples,
            temperature=config.temperature,
            report=report,
        )

    drawn, seconds = _drawn(bundle, config.seed, draw)
    write_png(out, complete_sheet(levels, drawn, truth, hidden, said))
    tell(f"drew {config.samples} x {int(hidden.sum())} pixels in {seconds:.1f} s: {out}")
    return out


def sample(config: Sample, tell: Callable[[str], None]) -> Path:
    """Draw pictures, write the sheet, and the moving picture if asked for, and return the sheet's path.

    Args:
        config: what to draw.
        tell: called with a line about what was drawn.

    Raises:
        UserError: for a mistake of the user's; nothing was written then.
    """
    _check_ranges(config)
    _check_output(config.out, [])
    bundle = load_bundle(config.bundle)
    from runtime.lmconv.sheets import sample_sheet, write_video
    from runtime.pictures import write_png
    from runtime.pixels.order_names import read_order

    said = bundle.manifest
    order = read_order(config.order or said.orders.partition(",")[0].replace(":8", ""), said.size, said.orders, None)

    def draw(sampler, generator, report) -> "Tensor":
        return sampler.sample(
            order, said.size, generator=generator, count=config.count, temperature=config.temperature, report=report
        )

    drawn, seconds = _drawn(bundle, config.seed, draw)
    write_png(config.out, sample_sheet(drawn, said))
    written = str(config.out)
    if config.video:
        video = config.out.with_suffix(".gif")
        write_video(video, drawn, order, said)
        written += f" and {video}"
    tell(f"drew {config.count} pictures of {_by(said.size)} pixels in {seconds:.1f} s: {written}")
    return config.out


def _drawn(bundle: "LMConvBundle", seed: int, draw: Callable) -> "tuple[Tensor, float]":
    """Return what `draw(sampler, generator, report)` draws, and how many seconds that took."""
    import torch

    from runtime.loop.progress import ProgressBar
    from runtime.pixels.sampler import Sampler

    sampler = Sampler.of(bundle)
    begin = time.perf_counter()
    with ProgressBar() as bar:
        result = draw(sampler, torch.Generator().manual_seed(seed), lambda done, total: bar.note("pixels", done, total))
    return result, time.perf_counter() - begin


def load_bundle(name: str) -> "LMConvBundle":
    """Return a bundle for lmconv.

    Raises:
        UserError: where there is none of this name, with how to make one, or it is for another method or damaged.
    """
    from runtime.engines.bundle import INSTALLED, LMConvBundle

    if not os.path.isdir(INSTALLED / name) and not os.path.isdir(name):
        raise UserError(
            f"bundle {name!r:.200}: expected an installed bundle or a folder with one, got neither; make it: "
            "python -m train.lmconv --data mnist --data-dir DATA --binarized --out runs/mnist, then "
            "python -m export lmconv runs/mnist --out bundles/mnist, then give --bundle bundles/mnist"
        )
    return LMConvBundle.load(name, backend="auto")


def _check_ranges(config: Complete | Sample) -> None:
    """Raise a `UserError` for a number out of its range."""
    for name, (low, high) in RANGES.items():
        value = getattr(config, name, low)
        if not low <= value <= high:
            raise UserError(f"--{name} is {value}: expected {low:g} to {high:g}")


def _check_output(out: Path, inputs: list[Path]) -> None:
    """Raise a `UserError` where the sheet cannot be written, or would replace a picture that is read."""
    if out.suffix != ".png":
        raise UserError(f"--out: expected the name of a PNG file, ending in .png, got '{out}'")
    if not out.parent.is_dir():
        raise UserError(f"--out '{out}': there is no folder '{out.parent}'; make it, or choose another")
    if out.is_dir() or any(out.exists() and path.exists() and out.samefile(path) for path in inputs):
        raise UserError(f"--out '{out}' is {'a folder' if out.is_dir() else 'a picture that is read'}; choose another")
    try_writing(out)


def _by(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 130 where it was interrupted.

    Raises:
        UserError: for a mistake of the user's.
    """
    limit_spinning()
    commands = Annotated[Complete, tyro.conf.subcommand("complete")] | Annotated[Sample, tyro.conf.subcommand("sample")]
    config = tyro.cli(commands, prog=PROGRAM, args=arguments)  # pyright: ignore
    try:
        complete(config, print) if isinstance(config, Complete) else sample(config, print)
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)
        return 130
    return 0
