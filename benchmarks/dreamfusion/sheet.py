r"""What does DreamFusion make of prompts, seen from eight sides? A sheet, a prompt a row, and figures of the shapes.

    python -m benchmarks.dreamfusion.sheet --out benchmarks/dreamfusion.png
    python -m benchmarks.dreamfusion.sheet --bundle objects --steps 480 --target-every 5 --upper-t 950 200 \
        --prompts "a mushroom" "a chair" "a sedan car" "a penguin" --out benchmarks/dreamfusion_targets.png

Below each row of colours is one of the same views before black, where white parts and holes look different. Figures are
those that the command writes: of the mesh, before floaters are taken away.
"""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from benchmarks.environment import describe_environment
from benchmarks.turntables import write_small
from runtime.command.method import draw
from runtime.command.options import parse_options
from runtime.command.ranges import Count, Seed, Whole
from runtime.command.settings import with_defaults
from runtime.dreamfusion import METHOD
from runtime.dreamfusion.config import Time, preset_config
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import run_main
from runtime.field.fields.grid import DenseGrid
from runtime.field.pictures import look
from runtime.field.results import Orbit, Surface, mean_level
from runtime.field.sheets import contact_sheet

PROMPTS = ("a mushroom", "a red apple", "a cactus", "a robot", "a snowman")
"""Three that look alike from all sides, one with a front, and one that is nearly all white."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to draw."""

    out: Path
    """PNG file to write."""
    prompts: tuple[str, ...] = PROMPTS
    """A row each."""
    bundle: str = "icons"
    """Name or folder of the networks."""
    steps: Count = preset_config("fast").steps
    """Steps of preset `fast`."""
    target_every: Whole = preset_config("fast").target_every
    """As of `runtime.dreamfusion`."""
    upper_t: tuple[Time, Time] = preset_config("fast").upper_t
    """As of `runtime.dreamfusion`."""
    seed: Seed = 0
    """Of every draw."""
    side: Count = 72
    """Pixels of a view."""


def rows_of(scene: DenseGrid, side: int) -> list[Float[Tensor, "3 S S"]]:
    """Return eight views before white, and the same before black."""
    around = Orbit(frames=8, elevation=0.3, side=side).cameras()
    views = [look(scene.render, around, view, samples=1) for view in range(len(around))]
    return [view.on(grey).permute(2, 0, 1) for grey in (1.0, 0.0) for view in views]


def main() -> None:
    """Draw the sheet and print a line of figures for each prompt."""
    config = parse_options(Config, "benchmarks.dreamfusion.sheet", description=__doc__)
    print(describe_environment())
    bundle = DiffusionBundle.load(config.bundle)
    cells = []
    for prompt in config.prompts:
        options = with_defaults(preset_config("fast"), bundle.defaults("dreamfusion"), f"bundle {bundle.name!r}")
        own = {name: getattr(config, name) for name in ("steps", "target_every", "upper_t", "seed")}
        options = replace(options, prompt=prompt, bundle=str(bundle.folder), **own)
        begun = time.process_time()
        scene = draw(METHOD, options, bundle)
        spent = time.process_time() - begun
        assert isinstance(scene, DenseGrid), "preset fast has a grid"
        shape = Surface.of(scene, scene.box, mean_level).shape()
        print(json.dumps({"prompt": prompt, "cpu_s": round(spent, 1), **shape}), flush=True)
        cells.extend(rows_of(scene, config.side))
        # After each row, so that a long run can be looked at.
        write_small(config.out, contact_sheet(cells, 8))


if __name__ == "__main__":
    run_main(main)
