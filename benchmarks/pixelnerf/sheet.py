"""What does pixelNeRF guess? A sheet of validation objects: the picture, four guessed views, the same four true.

python -m benchmarks.pixelnerf.sheet --data objects --cache objects-cache [--out benchmarks/pixelnerf.png]
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from benchmarks.pixelnerf.guesses import case_of, guess_field, guessed_views, load_networks, on_white
from runtime.command.options import parse_options
from runtime.command.ranges import check_ranges
from runtime.errors import run_main
from runtime.field.sheets import contact_sheet
from runtime.pictures import write_png
from train.pixelnerf.objects import load_objects

VIEWS = (2, 5, 7, 10)
"""Views of the ring that are shown, 30 degrees apart from one to the next."""

SCALE = 2
"""Pixels of the sheet along a pixel of the network."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is drawn, and where the sheet goes."""

    data: Path
    """Folder of the set of objects."""
    cache: Path
    """Folder of the reduced pictures; they are written where they are missing."""
    run: str = "pixelnerf"
    """Name or folder of a bundle, or a run folder of python -m train.pixelnerf."""
    objects: Annotated[int, Ge(1)] = 10
    """Validation objects, evenly spaced: none is chosen for its looks."""
    out: Path = Path(__file__).parents[1] / "pixelnerf.png"
    """PNG file to write."""


def large(picture: Float[Tensor, "3 H W"]) -> Float[Tensor, "3 H2 W2"]:
    """Return a picture with its pixels repeated."""
    return functional.interpolate(picture[None], scale_factor=SCALE, mode="nearest")[0]


def main() -> None:
    """Draw the sheet."""
    options = parse_options(Options, "benchmarks.pixelnerf.sheet", description=__doc__)
    check_ranges(options)
    network, side = load_networks(options.run)
    objects = load_objects(options.data, options.cache, side)
    # From the middles of equal parts, so that they are others than those at the ends, which all spacings share.
    parts = (torch.arange(options.objects) + 0.5) / options.objects
    pictures = []
    for row in objects.validation[(parts * len(objects.validation)).long()].tolist():
        case = case_of(objects, row, 1)
        shown = [guessed_views(1).index(view) for view in VIEWS]
        pictures.append(large(on_white(case.pictures[0, 0])))
        pictures += [large(guess_field(network, case, case.poses[index])) for index in shown]
        pictures += [large(case.truth[index]) for index in shown]
    write_png(options.out, contact_sheet(pictures, 1 + 2 * len(VIEWS)))


if __name__ == "__main__":
    run_main(main)
