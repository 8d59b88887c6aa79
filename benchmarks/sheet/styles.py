"""Draw the README's picture of styles: a few prompts as text to SVG, as a sketch, as pixel art and by CLIPDraw.

    python -m benchmarks.sheet.styles --out benchmarks/styles.png

Each drawing is what a command of the package makes with its defaults. Drawings are kept in a folder; those that are
missing are drawn first.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional

from benchmarks.consistency.measure import slug
from runtime.command.options import parse_options
from runtime.errors import UserError, run_main
from runtime.pictures import read_png, write_png

COMMANDS = {
    "icon": ("runtime.vectorfusion",),
    "sketch": ("runtime.vectorfusion", "--preset", "sketch"),
    "pixel": ("runtime.vectorfusion", "--preset", "pixel"),
    "clipdraw": ("runtime.clipdraw",),
}
"""The columns, and the command of each without its prompt."""

SIDE, GAP = 256, 8


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to draw and where to keep it."""

    out: Path
    """PNG file to write."""
    pictures: Path = Path("runs/styles")
    """Folder of the drawings."""
    prompts: tuple[str, ...] = ("a red apple", "a panda", "a rocket")
    """Prompts, a row each."""
    bundle: str = "icons"
    """Bundle that draws."""


def draw(prompt: str, style: str, config: Config) -> Path:
    """Return the PNG file of a drawing; it is drawn where it is missing.

    Raises:
        UserError: the command failed.
    """
    folder = config.pictures.resolve() / style
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / f"{slug(prompt)}.png"
    if picture.is_file():
        return picture
    module, *options = COMMANDS[style]
    command = [
        sys.executable,
        "-m",
        module,
        prompt,
        *options,
        "--bundle",
        config.bundle,
        "--out",
        f"{slug(prompt)}.svg",
    ]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{module} {prompt!r}: exit code {done.returncode}: {done.stderr[-500:]}")
    return picture


def sheet_of(rows: list[list[Path]]) -> torch.Tensor:
    """Return pictures as a table, RGB (3, H, W) in [0, 1], on grey."""
    height, width = (len(cells) * (SIDE + GAP) - GAP for cells in (rows, rows[0]))
    sheet = torch.full((3, height, width), 0.88)
    for i, row in enumerate(rows):
        for j, path in enumerate(row):
            y, x = i * (SIDE + GAP), j * (SIDE + GAP)
            picture = functional.interpolate(read_png(path)[None], (SIDE, SIDE), mode="area")[0]
            sheet[:, y : y + SIDE, x : x + SIDE] = picture
    return sheet


def main() -> None:
    """Draw the picture from a command line."""
    config = parse_options(Config, "benchmarks.sheet.styles", description=__doc__)
    rows = []
    for prompt in config.prompts:
        row = []
        for style in COMMANDS:
            row.append(draw(prompt, style, config))
            print(row[-1], file=sys.stderr)
        rows.append(row)
    write_png(config.out, sheet_of(rows))
    print(config.out)


if __name__ == "__main__":
    run_main(main)
