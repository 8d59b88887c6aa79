"""The route by all sides: a picture from a known camera becomes a field by a network that has seen many objects."""

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from runtime.errors import UserError
from runtime.field.fields.conditioned import guess, read_grid
from runtime.field.fields.grid import DenseGrid
from runtime.field.lifting.matte import foreground
from runtime.field.poses import on_sphere
from runtime.loop.optimize import Stage

if TYPE_CHECKING:
    from runtime.engines.bundle import DiffusionBundle, PixelNeRFBundle
    from runtime.lift.config import Config


def load_teacher(config: "Config", bundle: "DiffusionBundle") -> "DiffusionBundle":
    """Return the bundle that draws and distils: that of `--bundle` if it knows cameras, else that of `--teacher`.

    Raises:
        UserError: there is none of this name, or it knows no cameras.
    """
    from runtime.engines.bundle import DiffusionBundle

    if bundle.knows_cameras:
        return bundle
    try:
        teacher = DiffusionBundle.load(config.teacher)
    except UserError as error:
        raise UserError(f"--teacher: {error}; or take --route inflate") from error
    if not teacher.knows_cameras:
        raise UserError(
            f"--teacher: expected a bundle that knows cameras, such as objects, got {teacher.name!r}; or take "
            "--route inflate"
        )
    return teacher


def premultiplied(picture: Float[Tensor, "3 S S"], side: int) -> Float[Tensor, "4 R R"]:
    """Return the object in a picture before an even background, transparent around it, at another size.

    Args:
        picture: RGB in [0, 1].
        side: height and width to return.
    """
    mask = torch.from_numpy(foreground(picture)).float()
    layers = torch.cat([picture * mask, mask[None]])
    # Means over areas: the outline gets a soft alpha, as that of the pictures that the network was trained on.
    return functional.interpolate(layers[None], size=(side, side), mode="area")[0]


def guessing(config: "Config", picture: Float[Tensor, "3 S S"], sides: "PixelNeRFBundle") -> Stage:
    """Return the stage that fills a grid with what a network guesses of a picture; its one step is for the preview."""

    def begin(before: None, generator: torch.Generator) -> DenseGrid:
        manifest = sides.manifest
        azimuth, elevation = (torch.tensor([math.radians(angle)]) for angle in config.seen_from)
        pose = on_sphere(azimuth, elevation, torch.tensor([manifest.distance]))
        field = guess(sides, premultiplied(picture, manifest.side)[None], pose)
        return read_grid(field, config.nodes)

    return Stage(
        name="lift",
        steps=1,
        begin=begin,
        restore=DenseGrid.from_state,
        advance=lambda scene, step, generator: scene.update_occupancy(),
    )
