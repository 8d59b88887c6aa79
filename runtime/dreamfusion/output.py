"""What `runtime.dreamfusion` writes: a mesh, a film, figures, and pictures on the way."""

from pathlib import Path
from typing import TYPE_CHECKING

from runtime.field.results import AROUND, pictures_around, write_object, write_sheet
from runtime.guidance.clip import cosines_around
from runtime.version import __version__

if TYPE_CHECKING:
    from runtime.dreamfusion.config import Config
    from runtime.dreamfusion.network import PaperField
    from runtime.engines.bundle import DiffusionBundle
    from runtime.field.fields.grid import DenseGrid


def write(config: "Config", bundle: "DiffusionBundle", scene: "DenseGrid | PaperField", out: Path) -> list[Path]:
    """Write a mesh, a film of it, and figures; return the paths."""
    cosines = cosines_around(pictures_around(scene, AROUND), config.prompt, bundle.scorer)
    figures = {"version": f"tgm {__version__}", "prompt": config.prompt, "cosines": cosines}
    return write_object(scene, scene.box.cpu(), out, figures)


def snapshot(config: "Config", bundle: "DiffusionBundle", scene: "DenseGrid | PaperField", stem: Path) -> Path:
    """Write a scene on the way, seen from eight sides, with its normals, as a PNG; return its path."""
    return write_sheet(scene, stem, normals=True)
