"""Does a prompt become a solid? The README's turntables, and figures of their shape.

    python -m benchmarks.turntables --teacher objects --out benchmarks/turntables.png

Each row is a prompt: the raster sample, eight views around what `runtime.lift` makes of it, and with a teacher, behind
a gap, eight views around what `runtime.dreamfusion` makes of the prompt by that bundle.
"""

import io
import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional

from benchmarks.environment import describe_environment
from runtime.command.method import draw
from runtime.command.options import parse_options
from runtime.command.ranges import Count, Whole
from runtime.dreamfusion import METHOD as DREAMFUSION
from runtime.dreamfusion.config import preset_config
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import run_main
from runtime.field.fields.grid import DenseGrid
from runtime.field.results import Orbit, Surface, level_of, mean_level, pictures_around
from runtime.field.sheets import contact_sheet
from runtime.files import replace_file
from runtime.lift import METHOD as LIFT
from runtime.lift import Config as Lift
from runtime.pictures import read_png

PROMPTS = (
    "a red apple",
    "a mushroom",
    "a rocket",
    "a blue fish",
    "a robot",
    "a cactus",
    "a cat",
    "a car",
    "a chair",
    "a house",
    "a boat",
    "a tree",
)

ALL = len(PROMPTS)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to draw."""

    out: Path
    """PNG file to write."""
    refine: Whole = 0
    """Steps of score distillation of what is lifted."""
    teacher: str | None = None
    """Name or folder of the networks by which DreamFusion makes the same."""
    steps: Count = preset_config("fast").steps
    """Its steps."""
    count: Count = ALL
    """Prompts, from the first."""
    side: Count = 48
    """Pixels of a view."""


def write_small(path: Path, picture: Float[Tensor, "3 H W"]) -> None:
    """Write a PNG of 256 colours: a quarter of the size."""
    levels = picture.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(levels).quantize(256, method=Image.Quantize.FASTOCTREE).save(file, format="PNG", optimize=True)
    replace_file(path, file.getvalue())


def lifted(prompt: str, refine: int, bundle: DiffusionBundle, side: int) -> tuple[DenseGrid, Float[Tensor, "3 S S"]]:
    """Return what `runtime.lift` makes of a prompt, and the raster sample that it began from."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        scene = draw(LIFT, Lift(prompt=prompt, route="inflate", refine=refine), bundle, run=run)
        sample = read_png(run / "sample.png")
    assert isinstance(scene, DenseGrid), "lift makes a grid"
    return scene, functional.interpolate(sample[None], size=(side, side), mode="area")[0]


def distilled(prompt: str, steps: int, bundle: DiffusionBundle) -> DenseGrid:
    """Return what DreamFusion makes of a prompt, with the bundle's own options."""
    options = {**bundle.defaults(DREAMFUSION.name), "prompt": prompt, "steps": steps, "bundle": bundle.name}
    scene = draw(DREAMFUSION, replace(preset_config("fast"), **options), bundle)
    assert isinstance(scene, DenseGrid), "preset fast has a grid"
    return scene


def main() -> None:
    """Draw the sheet and print a line of figures for each solid."""
    config = parse_options(Config, "benchmarks.turntables", description=__doc__)
    print(describe_environment())
    bundle = DiffusionBundle.load("icons")
    teacher = None if config.teacher is None else DiffusionBundle.load(config.teacher)
    around = Orbit(frames=8, elevation=0.3, side=config.side)
    cells = []
    for prompt in PROMPTS[: config.count]:
        begun = time.process_time()
        scene, sample = lifted(prompt, config.refine, bundle, config.side)
        cells += [sample, *pictures_around(scene, around)]
        tell(prompt, "lift", begun, Surface.of(scene, scene.box, level_of))
        if teacher is not None:
            begun = time.process_time()
            scene = distilled(prompt, config.steps, teacher)
            cells += [torch.ones(3, config.side, config.side // 4), *pictures_around(scene, around)]
            tell(prompt, teacher.name, begun, Surface.of(scene, scene.box, mean_level))
        # After each row, so that a long run can be looked at.
        write_small(config.out, contact_sheet(cells, 9 if teacher is None else 18))


def tell(prompt: str, by: str, begun: float, surface: Surface) -> None:
    """Print what a solid took and what shape it has."""
    spent = round(time.process_time() - begun, 1)
    print(json.dumps({"prompt": prompt, "by": by, "cpu_s": spent, **surface.shape()}), flush=True)


if __name__ == "__main__":
    run_main(main)
