"""The sheet of `python -m benchmarks.sheet`."""

from dataclasses import dataclass
from pathlib import Path

import torch

import benchmarks.sheet
from benchmarks.consistency import measure
from benchmarks.consistency.captions import CAPTIONS
from runtime.command.options import parse_options
from runtime.command.ranges import Count

_CELL, _GAP = 128, 6


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to draw and where to keep it."""

    out: Path
    """PNG file to write."""
    pictures: Path = Path("runs/consistency")
    """Folder of the pictures."""
    bundle: str = "icons"
    """Bundle that draws."""
    route: str = "trace"
    """Route of the SVGs."""
    count: Count = 24
    """Prompts, from the first of captions.txt, 1 to 64."""
    columns: Count = 6
    """Pairs a row."""


def main() -> None:
    """Draw the sheet."""
    from runtime.pictures import write_png

    config = parse_options(Config, "benchmarks.sheet", description=benchmarks.sheet.__doc__)
    captions = CAPTIONS[: config.count]
    drawing = measure.Config(icons=Path(), out=config.pictures, bundle=config.bundle)
    measure.run_commands(drawing, config.route, captions)
    folder = config.pictures / config.route
    names = [measure.slug(c) for c in captions]
    pairs = measure.read_pictures(
        [path for n in names for path in (folder / "runs" / n / "sample.png", folder / f"{n}.png")]
    )
    rows = -(-config.count // config.columns)
    width = config.columns * (2 * _CELL + 2 * _GAP)
    sheet = torch.full((3, rows * (_CELL + _GAP), width), 0.88)
    for i in range(config.count):
        y, x = (i // config.columns) * (_CELL + _GAP), (i % config.columns) * (2 * _CELL + 2 * _GAP)
        for j in range(2):
            left = x + j * (_CELL + _GAP // 3)
            sheet[:, y : y + _CELL, left : left + _CELL] = pairs[2 * i + j]
    write_png(config.out, sheet)
    print(config.out)
