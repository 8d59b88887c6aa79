"""What people keep of a field: a textured mesh and a film of it turning."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from runtime.field.cameras import Cameras, Rays
from runtime.field.meshes import Mesh, Report, bake, describe, extract_surface, keep_pieces, simplify, write_mesh
from runtime.field.pictures import look
from runtime.field.poses import orbit
from runtime.field.video import write_film
from runtime.field.volume import Rendering

LEVEL = 0.0
"""Raw density of the surface: half of the light passes a 64th of the box there."""

FACES = 20_000
TEXTURE_SIDE = 1024


class Field(Protocol):
    """What can be kept of a field."""

    def render(self, rays: Rays, jitter: Tensor | None = None, *, normals: bool = False) -> Rendering:
        """Return what rays show."""
        ...

    def raw_density(self) -> Float[Tensor, "N N N"]:
        """Return raw densities on a grid over the box; `LEVEL` is the surface."""
        ...

    def colour_at(self, points: Float[Tensor, "P 3"]) -> Float[Tensor, "P 3"]:
        """Return the colours of points near the surface."""
        ...


@dataclass(frozen=True)
class Orbit:
    """A film's path around a field."""

    radius: float = 4.0
    """From the origin, world units."""
    elevation: float = 0.4
    """Radians above the horizon."""
    angle: float = 0.5
    """Angle of view of the whole picture, radians."""
    frames: int = 48
    side: int = 192
    """Pixels."""

    def cameras(self) -> Cameras:
        """Return the cameras of all frames."""
        focal = self.side / 2 / np.tan(self.angle / 2)
        middle = self.side / 2
        return Cameras(
            poses=orbit(self.frames, radius=self.radius, elevation=self.elevation),
            intrinsics=torch.tensor([[focal, focal, middle, middle]]).float().repeat(self.frames, 1),
            sizes=torch.tensor([[self.side, self.side]]).repeat(self.frames, 1),
        )

    @classmethod
    def of(cls, cameras: Cameras, **options: int) -> "Orbit":
        """Return the orbit at the mean distance, elevation and angle of view of some cameras, looking down a little."""
        centres = cameras.centres
        radius = float(centres.norm(dim=1).median())
        elevation = float(torch.asin((centres[:, 2] / centres.norm(dim=1)).clamp(-1, 1)).median())
        angle = 2 * float(torch.atan(cameras.sizes.max(1).values / 2 / cameras.intrinsics[:, 0]).median())
        return cls(radius=radius, elevation=min(max(elevation, 0.1), 0.7), angle=angle, **options)


def level_of(raw: Float[Tensor, "N N N"]) -> float:
    """Return the raw density of the surface: `LEVEL`, or half way where no place, or every place, is that dense."""
    low, high = float(raw.min()), float(raw.max())
    return LEVEL if low < LEVEL < high else (low + high) / 2


def surface_of(field: Field, box: Float[Tensor, " 4"]) -> Mesh:
    """Return the surface of a field, without floaters and with at most `FACES` faces.

    Args:
        field: see `Field`.
        box: lowest corner and side.

    Raises:
        UserError: all places are equally dense.
    """
    raw = field.raw_density()
    surface = extract_surface(raw, level=level_of(raw), low=box[:3], side=float(box[3]))
    return simplify(keep_pieces(surface), FACES)


def write_model(field: Field, box: Float[Tensor, " 4"], path: Path) -> Report:
    """Write the surface with a baked texture to a .glb, .obj or .ply file; return what can be told of it."""
    mesh = surface_of(field, box)
    write_mesh(path, bake(mesh, field.colour_at, side=TEXTURE_SIDE))
    return describe(mesh)


def write_turntable(field: Field, path: Path, around: Orbit, *, background: float = 1.0) -> int:
    """Write a film of a field that turns once; return the number of frames."""

    def frames() -> Iterator[Float[Tensor, "3 H W"]]:
        cameras = around.cameras()
        for index in range(len(cameras)):
            # One ray a pixel: a grid has no edges that are sharper than a pixel here.
            yield look(field.render, cameras, index, samples=1).on(background).permute(2, 0, 1)

    return write_film(path, frames())
