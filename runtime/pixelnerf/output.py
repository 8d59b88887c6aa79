"""What `runtime.pixelnerf` writes: a mesh, a film, and a sheet of views beside the picture."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.field.cameras import Cameras
from runtime.field.fields.grid import DenseGrid
from runtime.field.pictures import look
from runtime.field.poses import on_sphere
from runtime.field.results import Orbit, Surface, write_model, write_turntable
from runtime.field.sheets import contact_sheet
from runtime.pictures import write_png
from runtime.pixelnerf.stages import FRONT, read_pictures

if TYPE_CHECKING:
    from runtime.engines.bundle import PixelNeRFBundle
    from runtime.pixelnerf.config import Config

VIEWS = 7
"""Views of the sheet, beside the pictures."""

SHEET_SIDE = 128
"""Height and width of a view of the sheet, pixels."""


def write(config: "Config", bundle: "PixelNeRFBundle", scene: DenseGrid, out: Path) -> list[Path]:
    """Write all files; return their paths.

    Raises:
        UserError: the network sees nothing solid in the picture, so that there is no surface.
    """
    film, sheet = out.with_suffix(".mp4"), out.with_suffix(".png")
    manifest = bundle.manifest
    elevation = math.radians(config.elevation)
    angle = 2 * math.atan(0.5 / manifest.focal)
    around = Orbit(radius=manifest.distance, elevation=elevation, angle=angle, frames=config.frames, side=config.size)
    write_model(scene, Surface.seen(scene, scene.box, around.cameras()), out)
    write_turntable(scene, film, around)
    write_png(sheet, sheet_of(config, bundle, scene))
    return [out, film, sheet]


def sheet_of(config: "Config", bundle: "PixelNeRFBundle", scene: DenseGrid) -> Float[Tensor, "3 H W"]:
    """Return the pictures and views all round the object, the first of them from the first picture's own camera."""
    manifest = bundle.manifest
    pictures = read_pictures(config, manifest.side)
    shown = pictures[:, :3] + 1 - pictures[:, 3:]
    shown = torch.nn.functional.interpolate(shown, size=(SHEET_SIDE, SHEET_SIDE), mode="nearest")
    cameras = turn(VIEWS, math.radians(config.elevation), manifest.distance, manifest.focal * SHEET_SIDE)
    views = [look(scene.render, cameras, view).on(1.0).permute(2, 0, 1) for view in range(VIEWS)]
    return contact_sheet([*shown, *views], len(shown) + VIEWS)


def turn(count: int, elevation: float, distance: float, focal: float) -> Cameras:
    """Return cameras once around from the picture's own, for pictures of the sheet's size."""
    azimuth = FRONT + 2 * math.pi * torch.arange(count) / count
    poses = on_sphere(azimuth, torch.full((count,), elevation), torch.full((count,), distance))
    intrinsics = torch.tensor([focal, focal, SHEET_SIDE / 2, SHEET_SIDE / 2]).repeat(count, 1)
    return Cameras(poses, intrinsics, torch.tensor([[SHEET_SIDE, SHEET_SIDE]]).repeat(count, 1))
