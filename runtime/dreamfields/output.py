"""What `runtime.dreamfields` writes: a mesh, a film, figures, and pictures on the way."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from runtime.dreamfields.pixels import Pixels
from runtime.dreamfields.scenes import BOX
from runtime.field.fields.grid import DenseGrid
from runtime.field.fields.residual import ResidualField
from runtime.field.results import Orbit, Surface, mean_level, pictures_around, write_object, write_sheet
from runtime.files import replace_file
from runtime.guidance.clip import cosines_around
from runtime.loop.scene import Scene
from runtime.pictures import write_png
from runtime.version import __version__

if TYPE_CHECKING:
    from runtime.dreamfields.config import Config
    from runtime.engines.bundle import DiffusionBundle

ANGLE = 0.691
"""Angle of view of NeRF's synthetic cameras, radians: 2 atan(1 / (2 FOCAL))."""

HELD_OUT = Orbit(frames=8, elevation=0.785, angle=ANGLE, side=128)
"""Views that no step has seen: 45 degrees up, as in thesis 4.5.1, where training has 30."""

SNAPSHOT = Orbit(frames=4, elevation=0.524, angle=ANGLE, side=64)


def write(config: "Config", bundle: "DiffusionBundle", scene: Scene, out: Path) -> list[Path]:
    """Write a mesh, a film of it, and figures; for a flat picture that and figures. Return the paths."""
    views = views_of(scene)
    cosines = cosines_around(views, config.prompt, bundle.scorer)
    report = {"version": f"tgm {__version__}", "prompt": config.prompt, "cosines": cosines}
    if isinstance(scene, DenseGrid | ResidualField):
        # A network's objects have soft edges, which a fixed level may never meet.
        return write_object(scene, Surface.of(scene, BOX, mean_level), out, report)
    figures = out.with_suffix(".json")
    write_png(out, views[0])
    replace_file(figures, json.dumps(report, indent=1) + "\n")
    return [out, figures]


def snapshot(config: "Config", bundle: "DiffusionBundle", scene: Scene, stem: Path) -> Path:
    """Write a scene on the way as a PNG, an object seen from four sides with its normals; return its path."""
    if isinstance(scene, DenseGrid | ResidualField):
        return write_sheet(scene, stem, around=SNAPSHOT, normals=True)
    file = stem.with_name(f"{stem.name}.png")
    write_png(file, views_of(scene, SNAPSHOT)[0])
    return file


@torch.no_grad()
def views_of(scene: Scene, around: Orbit = HELD_OUT) -> Float[Tensor, "V 3 S S"]:
    """Return pictures of a scene from around it before white; of a flat one the only picture that there is."""
    if isinstance(scene, Pixels):
        colour, transmittance = scene.shown()
        size = (around.side, around.side)
        return functional.interpolate((colour + transmittance)[None], size=size, mode="bilinear")
    assert isinstance(scene, DenseGrid | ResidualField), "there are three kinds of scenes"
    return pictures_around(scene, around)
