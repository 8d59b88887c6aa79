"""The one stage of `runtime.pixelnerf`: the network's field is read at the nodes of a grid, some planes a step."""

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.field.fields.conditioned import BOX, fill_planes, guess
from runtime.field.fields.grid import DenseGrid
from runtime.field.poses import on_sphere
from runtime.loop.events import Report
from runtime.loop.optimize import Stage
from runtime.pixelnerf.config import inputs
from runtime.pixelnerf.picture import read_objects

if TYPE_CHECKING:
    from runtime.engines.bundle import PixelNeRFBundle
    from runtime.loop.folder import RunFolder
    from runtime.pixelnerf.config import Config

PLANES = 8
"""Planes of nodes a step of the loop."""

FRONT = -math.pi / 2
"""Azimuth of the picture's camera: the object faces -y, as Blender has it."""


def picture_poses(config: "Config", distance: float) -> Float[Tensor, "V 4 4"]:
    """Return the poses of the pictures' cameras in a world with +z up."""
    turns = [0.0, config.second_at, config.third_at][: len(inputs(config))]
    azimuth = FRONT + torch.tensor(turns).deg2rad()
    return on_sphere(
        azimuth, torch.full_like(azimuth, math.radians(config.elevation)), torch.full_like(azimuth, distance)
    )


def read_pictures(config: "Config", side: int) -> Float[Tensor, "V 4 S S"]:
    """Return the pictures of a configuration; errors as of `read_objects`."""
    return read_objects(list(inputs(config).values()), side, as_it_is=config.as_it_is)


def build(
    config: "Config",
    bundle: "PixelNeRFBundle",
    generator: torch.Generator,
    *,
    run: "RunFolder | None" = None,
    report: Report = lambda event: None,
) -> list[Stage]:
    """Return the stage that fills the grid; see `runtime.command.method.Method.build`."""
    manifest = bundle.manifest
    pictures = read_pictures(config, manifest.side)
    conditioned = guess(bundle, pictures, picture_poses(config, manifest.distance))

    def begin(before: None, generator: torch.Generator) -> DenseGrid:
        return DenseGrid.empty(config.nodes, torch.tensor(BOX))

    def advance(scene: DenseGrid, step: int, generator: torch.Generator) -> None:
        first = step * PLANES
        fill_planes(scene, conditioned, first, min(first + PLANES, scene.size))
        # Once, when all planes have their densities: before it, cells reach into planes that are still fog.
        if first + PLANES >= scene.size:
            scene.update_occupancy()

    steps = math.ceil(config.nodes / PLANES)
    return [Stage(name="lift", steps=steps, begin=begin, restore=DenseGrid.from_state, advance=advance, snapshots=0)]


def validate(config: "Config", bundle: "PixelNeRFBundle") -> None:
    """Raise `UserError` where a picture cannot be read, or shows no object."""
    read_pictures(config, bundle.manifest.side)
