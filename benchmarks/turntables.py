"""Does a picture become a solid? The README's turntables, and figures of their shape.

    python -m benchmarks.turntables --out benchmarks/turntables.png

Each row is a prompt: the raster sample and eight views around what `runtime.lift` makes of it.
"""

import io
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional

from benchmarks.environment import describe_environment
from runtime.command.options import parse_options
from runtime.command.ranges import Count, Whole
from runtime.errors import run_main
from runtime.files import replace_file

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
)

ALL = len(PROMPTS)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to draw."""

    out: Path
    """PNG file to write."""
    refine: Whole = 0
    """Steps of score distillation."""
    count: Count = ALL
    """Prompts, from the first."""
    side: Count = 56
    """Pixels of a view."""


def write_small(path: Path, picture: Float[Tensor, "3 H W"]) -> None:
    """Write a PNG of 256 colours: a quarter of the size."""
    levels = picture.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(levels).quantize(256, method=Image.Quantize.FASTOCTREE).save(file, format="PNG", optimize=True)
    replace_file(path, file.getvalue())


def main() -> None:
    """Draw the sheet and print a line of figures for each prompt."""
    from runtime.command.method import draw
    from runtime.engines.bundle import DiffusionBundle
    from runtime.field.fields.grid import DenseGrid
    from runtime.field.results import Orbit, Surface, pictures_around
    from runtime.field.sheets import contact_sheet
    from runtime.lift import METHOD
    from runtime.lift import Config as Lift
    from runtime.pictures import read_png

    config = parse_options(Config, "benchmarks.turntables", description=__doc__)
    print(describe_environment())
    bundle = DiffusionBundle.load("icons")
    around = Orbit(frames=8, elevation=0.3, side=config.side)
    cells = []
    for prompt in PROMPTS[: config.count]:
        begun = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            scene = draw(METHOD, Lift(prompt=prompt, refine=config.refine), bundle, run=run)
            sample = read_png(run / "sample.png")
        assert isinstance(scene, DenseGrid)
        cells.append(functional.interpolate(sample[None], size=(config.side, config.side), mode="area")[0])
        spent = time.process_time() - begun
        cells.extend(pictures_around(scene, around))
        print(
            json.dumps({"prompt": prompt, "cpu_s": round(spent, 1), **Surface.of(scene, scene.box).shape()}), flush=True
        )
        # After each row, so that a long run can be looked at.
        write_small(config.out, contact_sheet(cells, 9))


if __name__ == "__main__":
    run_main(main)
