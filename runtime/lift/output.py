"""What `runtime.lift` writes: a mesh, a film, figures, and pictures on the way."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.field.fields.grid import DenseGrid
from runtime.field.results import Orbit, Surface, pictures_around, write_model, write_turntable
from runtime.field.sheets import contact_sheet
from runtime.files import replace_file
from runtime.guidance.clip import cosines_around
from runtime.lift.config import text_of
from runtime.pictures import write_png
from runtime.version import __version__

if TYPE_CHECKING:
    from runtime.engines.bundle import DiffusionBundle
    from runtime.lift.config import Config

AROUND = Orbit(frames=8, elevation=0.3, side=128)
"""The views that are measured and shown on the way, evenly around."""

SNAPSHOT_SIDE = 96


def write(config: "Config", bundle: "DiffusionBundle", scene: DenseGrid, out: Path) -> list[Path]:
    """Write a mesh, a film of it, and figures; return the paths."""
    film, figures = out.with_suffix(".mp4"), out.with_suffix(".json")
    surface = Surface.of(scene, scene.box)
    report = {"version": f"tgm {__version__}", "prompt": config.prompt, **surface.shape()}
    report["cosines"] = cosines_around(pictures_around(scene, AROUND), text_of(config), bundle.scorer)
    write_turntable(scene, film, Orbit())
    report["mesh"] = write_model(scene, surface, out)
    replace_file(figures, json.dumps(report, indent=1) + "\n")
    return [out, film, figures]


def snapshot(config: "Config", bundle: "DiffusionBundle", scene: DenseGrid, stem: Path) -> Path:
    """Write a scene on the way, seen from eight sides, as a PNG; return its path."""
    file = stem.with_name(f"{stem.name}.png")
    around = Orbit(frames=AROUND.frames, elevation=AROUND.elevation, side=SNAPSHOT_SIDE)
    write_png(file, contact_sheet(list(pictures_around(scene, around)), 4))
    return file
