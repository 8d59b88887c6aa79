"""What people keep of a field: a textured mesh and a film of it turning."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from runtime.field.cameras import Cameras, Rays
from runtime.field.meshes import Mesh, bake, describe, extract_surface, keep_pieces, simplify, smooth, write_mesh
from runtime.field.pictures import look
from runtime.field.poses import orbit
from runtime.field.sheets import contact_sheet, normal_picture
from runtime.field.surface_level import seen_level
from runtime.field.volume import Rendering
from runtime.files import replace_file
from runtime.film import write_film
from runtime.pictures import write_png

LEVEL = 0.0
"""Raw density of the surface: half of the light passes a 64th of the box there."""

SMOOTHING = 10
"""Pairs of moves of the filter that takes bumps between nodes away."""

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
        # Medians, so that one camera that stands far off does not carry the film away.
        elevation = float(torch.asin((centres[:, 2] / centres.norm(dim=1)).clamp(-1, 1)).median())
        angle = 2 * float(torch.atan(cameras.sizes.max(1).values / 2 / cameras.intrinsics[:, 0]).median())
        return cls(radius=radius, elevation=min(max(elevation, 0.1), 0.7), angle=angle, **options)


def level_of(raw: Float[Tensor, "N N N"]) -> float:
    """Return the raw density of the surface: `LEVEL`, or half way where no place, or every place, is that dense."""
    low, high = float(raw.min()), float(raw.max())
    return LEVEL if low < LEVEL < high else (low + high) / 2


def mean_level(raw: Float[Tensor, "N N N"]) -> float:
    """Return the raw density whose density is the mean of all, threestudio's threshold "auto".

    For fields that stay translucent: at `LEVEL` their shells are full of holes.
    """
    # The mean of densities and not of raw values: the raw values of empty places have no lower end.
    mean = torch.nn.functional.softplus(raw.double()).mean().clamp(min=1e-6)
    return float(mean.expm1().log())


@dataclass(frozen=True)
class Surface:
    """The surface of a field, extracted once for all that is measured and written of it."""

    mesh: Mesh
    """As it was extracted, with floaters and all faces."""
    level: float
    """Raw density on it, see `level_of`."""

    @classmethod
    def of(
        cls,
        field: Field,
        box: Float[Tensor, " 4"],
        level_of: Callable[[Float[Tensor, "N N N"]], float] = level_of,
    ) -> "Surface":
        """Return the surface of a field in a box, given by its lowest corner and side.

        Args:
            field: whose it is.
            box: lowest corner and side.
            level_of: chooses the raw density on it.

        Raises:
            UserError: all places are equally dense.
        """
        raw = field.raw_density()
        level = level_of(raw)
        return cls(extract_surface(raw, level=level, low=box[:3], side=float(box[3])), level)

    @classmethod
    def seen(cls, field: Field, box: Float[Tensor, " 4"], cameras: Cameras) -> "Surface":
        """Return the surface as `of` does, at the density that cameras see; see `runtime.field.surface_level`."""

        def level(raw: Float[Tensor, "N N N"]) -> float:
            chosen = seen_level(field.render, raw, box, cameras)
            return level_of(raw) if chosen is None else chosen

        return cls.of(field, box, level)

    def shape(self) -> dict[str, object]:
        """Return what tells a solid from a billboard or a cloud of pieces.

        `largest_piece`: share of the largest piece in the volume of all; `volume_over_box`: share of the bounding box
        that is filled; `depth_over_width`: of the bounding box, seen from in front; `watertight`: whether it is closed.
        """
        # Before floaters are taken away: they are what the share of the largest piece is about.
        whole, largest = describe(self.mesh), describe(keep_pieces(self.mesh, 1.0))
        size = (self.mesh.vertices.max(0) - self.mesh.vertices.min(0)).tolist()
        return {
            "largest_piece": largest.volume / whole.volume,
            "volume_over_box": whole.volume / (size[0] * size[1] * size[2]),
            "depth_over_width": size[0] / size[1],
            "watertight": whole.watertight,
        }

    def simplified(self) -> Mesh:
        """Return it without floaters and bumps, with at most `FACES` faces."""
        return simplify(smooth(keep_pieces(self.mesh), SMOOTHING), FACES)


def write_model(field: Field, surface: Surface, path: Path) -> dict[str, object]:
    """Write a field's simplified surface with a baked texture to a .glb, .obj or .ply file; return its figures."""
    mesh = surface.simplified()
    write_mesh(path, bake(mesh, field.colour_at, side=TEXTURE_SIDE))
    return {"level": surface.level, **describe(mesh).to_json()}


AROUND = Orbit(frames=8, elevation=0.3, side=128)
"""The views of an object that are measured and shown on the way, evenly around."""

SHEET = Orbit(frames=AROUND.frames, elevation=AROUND.elevation, side=96)
"""The same views, smaller, for pictures on the way."""


def write_object(field: Field, surface: Surface, out: Path, figures: Mapping[str, object]) -> list[Path]:
    """Write a mesh, a film and figures of an object: .glb, .mp4 and .json; return their paths.

    Args:
        field: the object.
        surface: of it.
        out: of the mesh; the others lie beside it.
        figures: what is known of it; its shape and the mesh's figures are added.
    """
    report = {**figures, **surface.shape()}
    write_turntable(field, out.with_suffix(".mp4"), Orbit())
    report["mesh"] = write_model(field, surface, out)
    replace_file(out.with_suffix(".json"), json.dumps(report, indent=1) + "\n")
    return [out, out.with_suffix(".mp4"), out.with_suffix(".json")]


def write_sheet(field: Field, stem: Path, *, around: Orbit = SHEET, normals: bool = False) -> Path:
    """Write an object seen from all around, and its normals below on request, as a PNG; return its path."""
    file = stem.with_name(f"{stem.name}.png")
    cameras = around.cameras()
    colours, shapes = [], []
    for index in range(len(cameras)):
        view = look(lambda rays: field.render(rays, normals=normals), cameras, index, samples=1)
        # Before white, as the icons are that the bundled networks know.
        colours.append(view.on(1.0).permute(2, 0, 1))
        if view.normal is not None:
            shapes.append(normal_picture(view.normal, view.alpha))
    write_png(file, contact_sheet(colours + shapes, around.frames if normals else 4))
    return file


def pictures_around(field: Field, around: Orbit) -> Float[Tensor, "F 3 S S"]:
    """Return pictures of a field from around it before white, the first from in front."""
    cameras = around.cameras()
    pictures = [look(field.render, cameras, view, samples=1).on(1.0) for view in range(len(cameras))]
    return torch.stack(pictures).permute(0, 3, 1, 2)


def write_turntable(field: Field, path: Path, around: Orbit, *, background: float = 1.0) -> int:
    """Write a film of a field that turns once; return the number of frames."""

    def frames() -> Iterator[Float[Tensor, "3 H W"]]:
        cameras = around.cameras()
        for index in range(len(cameras)):
            # One ray a pixel: a grid has no edges that are sharper than a pixel here.
            yield look(field.render, cameras, index, samples=1).on(background).permute(2, 0, 1)

    return write_film(path, frames())
