"""What `runtime.lift` writes: a mesh, a film, figures, and pictures on the way."""

from pathlib import Path
from typing import TYPE_CHECKING

from runtime.field.fields.grid import DenseGrid
from runtime.field.results import AROUND, Surface, mean_level, pictures_around, write_object, write_sheet
from runtime.guidance.clip import cosines_around
from runtime.lift.config import text_of
from runtime.lift.route import chosen_route, load_sides
from runtime.version import __version__

if TYPE_CHECKING:
    from runtime.engines.bundle import DiffusionBundle
    from runtime.lift.config import Config


def write(config: "Config", bundle: "DiffusionBundle", scene: DenseGrid, out: Path) -> list[Path]:
    """Write a mesh, a film of it, and figures; return the paths."""
    cosines = cosines_around(pictures_around(scene, AROUND), text_of(config), bundle.scorer)
    figures = {"version": f"tgm {__version__}", "prompt": config.prompt, "cosines": cosines}
    return write_object(scene, surface_of(config, scene), out, figures)


def surface_of(config: "Config", scene: DenseGrid) -> Surface:
    """Return the surface of a scene of this configuration.

    It lies where cameras see it; a network's guess stays translucent, and has it at its mean density.
    """
    if chosen_route(config, load_sides(config)) == "views":
        return Surface.of(scene, scene.box, mean_level)
    return Surface.seen(scene, scene.box, AROUND.cameras())


def snapshot(config: "Config", bundle: "DiffusionBundle", scene: DenseGrid, stem: Path) -> Path:
    """Write a scene on the way, seen from eight sides, with its normals, as a PNG; return its path."""
    return write_sheet(scene, stem, normals=True)
