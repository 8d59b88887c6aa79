"""How far does one true picture go? What the judge finds of pixelNeRF's guesses of held-out objects from 1 to 3 views.

    python -m benchmarks.text_to_3d.ceiling --judge JUDGE.safetensors --data objects

The objects are those of the row of real objects. Views are at 30 degrees of elevation and 64 pixels; the field is
looked at as those of the rows are. It bounds what `lift --route views` can reach without a better network.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.environment import describe_environment
from benchmarks.text_to_3d.definitions import PROMPTS
from benchmarks.text_to_3d.report import Share, share_of_views
from benchmarks.text_to_3d.views import pictures_of
from runtime.command.options import parse_options
from runtime.engines.bundle import PixelNeRFBundle
from runtime.errors import UserError, run_main
from runtime.field.fields.conditioned import BOX, fill_planes, guess
from runtime.field.fields.grid import DenseGrid
from runtime.field.poses import on_sphere
from runtime.field.results import AROUND, Surface
from train.latent_diffusion.objects import hold_out, read_objects
from train.pixelnerf.objects import reduce_sheet

GIVEN: Mapping[str, Sequence[int]] = {
    "one, from in front": (0,),
    "one, 30 degrees": (1,),
    "one, 60 degrees": (2,),
    "two, 30 and 210 degrees": (1, 7),
    "three, 30, 150 and 270 degrees": (1, 5, 9),
}
"""Views of the set, which are 30 degrees apart."""

NODES = 65
"""Of the grid that the field is read to."""

ELEVATION = math.radians(30)


@dataclass(frozen=True, kw_only=True)
class Config:
    """By which judge, of which set."""

    judge: Path
    """Safetensors file of the judge of `benchmarks.text_to_3d`."""
    data: Path
    """Folder of the set of objects."""
    bundle: str = "pixelnerf"
    """The network: its name, or a folder."""
    count: int = 0
    """Objects, from the first; 0: all."""


def guessed(bundle: PixelNeRFBundle, views: Float[Tensor, "16 4 S S"], given: Sequence[int]) -> DenseGrid:
    """Return what the network guesses of an object from some of its views.

    Args:
        bundle: the network.
        views: of the set, premultiplied.
        given: numbers of those at even azimuths.
    """
    azimuth = torch.tensor([math.pi / 6 * number for number in given])
    distance = torch.full_like(azimuth, bundle.manifest.distance)
    field = guess(bundle, views[list(given)], on_sphere(azimuth, torch.full_like(azimuth, ELEVATION), distance))
    scene = DenseGrid.empty(NODES, torch.tensor(BOX))
    fill_planes(scene, field, 0, NODES)
    scene.update_occupancy()
    return scene


def main() -> None:
    """Guess, judge, print."""
    config = parse_options(Config, "benchmarks.text_to_3d.ceiling", description=__doc__)
    from benchmarks.text_to_3d.judge import load_judge

    judge, bundle, texts = load_judge(config.judge), PixelNeRFBundle.load(config.bundle), [p.text for p in PROMPTS]
    shares: dict[str, list[float]] = {name: [] for name in GIVEN}
    every = read_objects(config.data)
    named = [(next((t for t in texts if t in one.captions), ""), one) for one in every]
    chosen = [pair for pair, held in zip(named, hold_out(every).tolist(), strict=True) if held and pair[0]]
    for text, entry in chosen[: config.count or None]:
        sheet = reduce_sheet(config.data / "views" / entry.file, bundle.manifest.side)
        rgba = torch.from_numpy(sheet.copy()).permute(0, 3, 1, 2).float() / 255.0
        rgba[:, :3] *= rgba[:, 3:]
        for name, given in GIVEN.items():
            scene = guessed(bundle, rgba, given)
            try:
                mesh = Surface.seen(scene, scene.box, AROUND.cameras()).mesh
            except UserError:
                mesh = None
            colour, _ = pictures_of(scene, mesh)
            shares[name].append(share_of_views(judge.similarities(colour, texts), texts.index(text)))
    print(describe_environment())
    print("\n| real views given | objects | views % |\n|---|---|---|")
    for name, values in shares.items():
        print(f"| {name} | {len(values)} | {Share.of(values).percent()} |")


if __name__ == "__main__":
    run_main(main)
