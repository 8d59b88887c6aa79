"""Draw the README's sheet of completions: digits of which a part is hidden, completed several times, beside the truth.

    python -m benchmarks.completions --out benchmarks/completions.png

The digits are pen strokes of our own, rasterized at 28 pixels; the network has seen none of them. `--digit FILE` writes
the one that the README completes.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from runtime.command.options import parse_options
from runtime.command.ranges import Count, Seed
from runtime.errors import run_main

STROKES = {
    "2": "M 8.6 9.4 C 9.5 5.2 18.6 4.4 19 9.6 C 19.3 14 11 17.6 8.2 22 C 12 21.4 16 22.4 20 21.4",
    "3": "M 9 7 C 13 4.6 19.2 5.6 18.4 9.8 C 17.8 12.6 14.6 13.4 12.4 13.6 C 16.4 13.4 20.4 15.4 19.4 19"
    " C 18.2 23 11.6 23 8.4 20.6",
    "5": "M 18.8 6.2 L 11 6.4 L 10.2 13 C 14 11.4 19.4 13.4 18.8 17.8 C 18.2 22.4 11.6 22.8 8.8 20.2",
    "6": "M 16.8 5.4 C 12 8 9 13.4 9.2 18 C 9.4 23 18 23.4 18.8 18.4 C 19.4 13.8 12 13 9.6 17.6",
    "7": "M 8 7 L 19.6 6.6 C 16.4 11.6 14 16.6 12.6 22.6",
    "9": "M 18.4 9.6 C 17.4 4.8 9.6 5 9.4 10.2 C 9.4 15 17.4 14.6 18.6 9.2 C 18.6 14 17.6 18.6 15.6 22.8",
}  # fmt: skip
"""SVG path data of pen strokes in a square of 28."""

REGIONS = ("top", "left", "bottom")
"""What is hidden, in turn."""

SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="28" height="28" viewBox="0 0 28 28"><path d="{path}" fill="none"
stroke="#fff" stroke-width="2.6" stroke-linecap="round" stroke-linejoin="round"/></svg>"""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to draw and where to keep it."""

    out: Path
    """PNG file of the sheet."""
    digit: Path | None = None
    """PNG file of one digit, the 5, alone."""
    bundle: str = "mnist"
    """Bundle that completes."""
    samples: Count = 5
    """Completions of each digit."""
    seed: Seed = 0
    """Seed of all draws."""


def draw_digit(name: str, folder: Path) -> Tensor:
    """Return the picture (3, 28, 28) of a digit of `STROKES`, light on dark."""
    from runtime.vector.raster import rasterize
    from runtime.vector.svg import read_svg

    file = folder / f"{name}.svg"
    file.write_text(SVG.format(path=STROKES[name]))
    drawing = read_svg(file, size=(28, 28))
    drawing.background.zero_()
    return rasterize(drawing)[0]


def main() -> None:
    """Draw the sheet."""
    import tempfile

    from runtime.engines.bundle import LMConvBundle
    from runtime.lmconv.sheets import read_levels, to_rgb
    from runtime.pictures import write_png
    from runtime.pixels.order_names import read_order
    from runtime.pixels.regions import hidden_region
    from runtime.pixels.sampler import Sampler
    from runtime.pixels.sheets import COLUMNS, sheet, tinted

    config = parse_options(Config, "benchmarks.completions", description=__doc__)
    bundle = LMConvBundle.load(config.bundle)
    manifest, sampler = bundle.manifest, Sampler.of(bundle)
    generator, cells = torch.Generator().manual_seed(config.seed), []
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(STROKES):
            file = Path(folder) / f"{name}.png"
            write_png(file, draw_digit(name, Path(folder)))
            if config.digit is not None and name == "5":
                config.digit.write_bytes(file.read_bytes())
            levels = read_levels(file, manifest)[0]
            hidden = hidden_region(REGIONS[number % len(REGIONS)], manifest.size)
            order = read_order("max-context", manifest.size, manifest.orders, hidden)
            drawn = sampler.complete(levels, hidden, order, generator=generator, samples=config.samples)
            cells += [tinted(to_rgb(levels, manifest), hidden), to_rgb(drawn, manifest), to_rgb(levels, manifest)]
    write_png(config.out, sheet(torch.cat(cells), min(COLUMNS, config.samples + 2)))
    print(config.out)


if __name__ == "__main__":
    run_main(main)
