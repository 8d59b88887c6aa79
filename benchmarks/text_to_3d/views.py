"""What the judge sees of an object: 8 azimuths x 2 elevations, in colour and as a grey mesh; and what its shape is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from benchmarks.text_to_3d.raster import grey_picture, surface_seen
from runtime import lift
from runtime.errors import UserError
from runtime.field.cameras import Cameras
from runtime.field.fields.grid import DenseGrid
from runtime.field.fields.residual import ResidualField
from runtime.field.meshes import Mesh, describe
from runtime.field.pictures import look
from runtime.field.poses import on_sphere
from runtime.field.results import Surface, mean_level
from runtime.lift.output import surface_of as lifted_surface
from runtime.pictures import read_png

AZIMUTHS = 8
"""From the front on, evenly."""

ELEVATIONS = (math.radians(15.0), math.radians(45.0))
"""The second is the one that Dream Fields are judged from."""

SIDE = 128
"""Pixels of a view."""

NETWORK_SIDE = 64
"""Pixels of a network's view, which is then enlarged: networks are trained on fewer, and take long to draw."""

DISTANCE = 4.0
"""Of the cameras from the object's centre, world units."""

RADII = (0.3, math.sqrt(3.0))
"""Least and greatest radius of an object that fills the frame; the greatest is that of the box."""

HULL_NODES = 72
"""Places along each axis that are tested for lying in the visual hull."""

HULL_SIDE = 256
"""Pixels of the silhouettes."""


@dataclass(frozen=True)
class Frame:
    """The ball that a view shows: as in the set of objects, the farthest vertex touches its border."""

    centre: Float[Tensor, " 3"]
    """World coordinates."""
    radius: float
    """World units."""

    @classmethod
    def of(cls, mesh: Mesh | None) -> "Frame":
        """Return the frame of a mesh; of nothing it is the box's."""
        if mesh is None or not len(mesh.vertices):
            return cls(torch.zeros(3), RADII[1])
        vertices = torch.from_numpy(mesh.vertices).float()
        centre = (vertices.amin(0) + vertices.amax(0)) / 2
        return cls(centre, min(max(float((vertices - centre).norm(dim=1).max()), RADII[0]), RADII[1]))

    def cameras(self, side: int = SIDE) -> Cameras:
        """Return all cameras, elevation by elevation."""
        azimuth = (2 * math.pi / AZIMUTHS * torch.arange(AZIMUTHS)).repeat(len(ELEVATIONS))
        elevation = torch.tensor(ELEVATIONS).repeat_interleave(AZIMUTHS)
        poses = on_sphere(azimuth, elevation, torch.full_like(elevation, DISTANCE))
        poses[:, :3, 3] += self.centre
        # The ball's outline is where rays touch it, not where its middle plane is.
        focal = side / 2 / math.tan(math.asin(self.radius / DISTANCE))
        count = len(poses)
        return Cameras(
            poses=poses,
            intrinsics=torch.tensor([[focal, focal, side / 2, side / 2]]).repeat(count, 1),
            sizes=torch.full((count, 2), side),
        )


def surface_of(config: Any, scene: DenseGrid | ResidualField) -> Surface | None:
    """Return the surface that the command of a method's configuration would write; None where there is none."""
    try:
        if isinstance(config, lift.Config):
            assert isinstance(scene, DenseGrid), "lift makes grids"
            return lifted_surface(config, scene)
        return Surface.of(scene, scene.box.cpu(), mean_level)
    except UserError:
        return None


@torch.no_grad()
def pictures_of(scene: DenseGrid | ResidualField, mesh: Mesh | None) -> Float[Tensor, "2 V 3 S S"]:
    """Return all views before white: of the field as its film shows it, and of its mesh in grey."""
    frame = Frame.of(mesh)
    cameras = seen = frame.cameras()
    if isinstance(scene, ResidualField):
        # Its cameras are moved by its origin; its mesh is where it is.
        seen = Frame(frame.centre - scene.origin, frame.radius).cameras(NETWORK_SIDE)
    views = range(len(cameras))
    colours = torch.stack([look(scene.render, seen, view, samples=1).on(1.0) for view in views]).permute(0, 3, 1, 2)
    colours = functional.interpolate(colours, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    return torch.stack([colours, torch.stack([grey_picture(mesh, cameras, view) for view in views])])


def hull_share(mesh: Mesh) -> float:
    """Return a mesh's volume over that of its visual hull: the places that all 16 cameras see it before or behind.

    Hollows and sheets have small shares; what is solid and round has nearly 1, or little more, as places and pixels are
    counted.
    """
    frame = Frame.of(mesh)
    cameras = frame.cameras(HULL_SIDE)
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    axes = [
        torch.from_numpy(low[k] + (np.arange(HULL_NODES) + 0.5) / HULL_NODES * (high[k] - low[k])).float()
        for k in range(3)
    ]
    points = torch.cartesian_prod(*axes)
    inside = torch.ones(len(points), dtype=torch.bool)
    for view in range(len(cameras)):
        covered = torch.from_numpy(surface_seen(mesh, cameras, view, HULL_SIDE)[0])
        pixels, _ = cameras[view].project(points[inside])
        column, row = pixels[0].floor().long().clamp(0, HULL_SIDE - 1).unbind(1)
        inside[inside.clone()] = covered[row, column]
    volume = float(inside.float().mean()) * float(np.prod(high - low))
    return describe(mesh).volume / max(volume, 1e-9)


def shape_of(surface: Surface | None) -> Mapping[str, Any]:
    """Return a surface's figures as the commands write them, and its share of the visual hull; none of nothing."""
    if surface is None or not len(surface.mesh):
        return {}
    return {**surface.shape(), "hull_share": hull_share(surface.mesh)}


def read_views(path: Path) -> Float[Tensor, "2 V 3 S S"]:
    """Return the views in a job's PNG: in colour, and in grey."""
    picture = read_png(path)
    cells = picture.unfold(1, SIDE, SIDE).unfold(2, SIDE, SIDE)
    return cells.permute(1, 2, 0, 3, 4).reshape(2, len(ELEVATIONS) * AZIMUTHS, 3, SIDE, SIDE)
