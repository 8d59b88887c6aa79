"""Draw the example capture: 24 posed pictures of a toy robot of spheres and boxes, whose geometry is known.

    python -m benchmarks.field.capture --out benchmarks/capture

Each ray is intersected with the solids exactly; a pixel is the mean of 4 x 4 rays. `truth` returns the depth of any
ray, for tests and figures on geometry.
"""

import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from runtime.command.options import parse_options
from runtime.command.ranges import Count
from runtime.errors import run_main
from runtime.field.cameras import Cameras, Rays
from runtime.field.captures.write import write_transforms
from runtime.field.poses import on_sphere
from runtime.files import replace_file

DISTANCE = 4.0
"""Distance of the cameras; the unit ball, which holds the robot, just fits into the pictures."""

SUPERSAMPLING = 4
"""Rays along each side of a pixel."""

LIGHT = torch.tensor([0.4, -0.5, 0.77], dtype=torch.float64)
"""Direction to the light, fixed to the world, so that a surface has one colour from all sides."""

GOLDEN = math.pi * (3 - math.sqrt(5))
"""Angle between neighbours of a spherical Fibonacci lattice."""


@dataclass(frozen=True)
class Sphere:
    """A ball: centre, radius and colour."""

    centre: tuple[float, float, float]
    radius: float
    colour: tuple[float, float, float]


@dataclass(frozen=True)
class Box:
    """A box along the axes: lowest and highest corner, colour, and the side of its checks, 0 for none."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    colour: tuple[float, float, float]
    checks: float = 0.0


RED, YELLOW, BLUE, DARK = (0.85, 0.2, 0.15), (0.95, 0.75, 0.1), (0.15, 0.4, 0.85), (0.12, 0.12, 0.16)
SCENE: tuple[Sphere | Box, ...] = (
    Box((-0.48, -0.48, -0.7), (0.48, 0.48, -0.62), (0.45, 0.7, 0.4), checks=0.24),
    Box((-0.3, -0.2, -0.3), (0.3, 0.2, 0.2), RED),
    Box((-0.24, -0.14, -0.62), (-0.06, 0.14, -0.3), BLUE),
    Box((0.06, -0.14, -0.62), (0.24, 0.14, -0.3), BLUE),
    Box((-0.16, -0.24, -0.12), (0.16, -0.2, 0.08), YELLOW, checks=0.08),
    Sphere((0.0, 0.0, 0.42), 0.26, YELLOW),
    Sphere((-0.1, -0.22, 0.46), 0.06, DARK),
    Sphere((0.1, -0.22, 0.46), 0.06, DARK),
    Sphere((-0.42, 0.0, 0.08), 0.13, BLUE),
    Sphere((0.42, 0.0, 0.08), 0.13, BLUE),
    Box((-0.47, -0.05, -0.3), (-0.37, 0.05, 0.0), (0.8, 0.8, 0.82)),
    Box((0.37, -0.05, -0.3), (0.47, 0.05, 0.0), (0.8, 0.8, 0.82)),
    Box((-0.015, -0.015, 0.66), (0.015, 0.015, 0.84), (0.8, 0.8, 0.82)),
    Sphere((0.0, 0.0, 0.86), 0.06, RED),
)
"""The robot on its plate; it faces -y, and +z is up."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to draw and where."""

    out: Path
    """Folder to write: transforms.json and the pictures."""
    views: Count = 24
    """Pictures."""
    size: Count = 128
    """Height and width, pixels."""


def make_cameras(views: int, size: int) -> Cameras:
    """Return cameras spread evenly over the sphere from 10 degrees below the horizon to 70 above it."""
    low, high = math.sin(math.radians(-10)), math.sin(math.radians(70))
    at = (torch.arange(views) + 0.5) / views
    elevation = (low + (high - low) * at).asin()
    # Neighbours in height are far apart around the axis, so that any few in a row see all sides.
    poses = on_sphere(GOLDEN * torch.arange(views), elevation, torch.full((views,), DISTANCE))
    focal = size / 2 / math.tan(math.asin(1 / DISTANCE))
    intrinsics = torch.tensor([focal, focal, size / 2, size / 2]).repeat(views, 1)
    return Cameras(poses, intrinsics, torch.tensor([[size, size]]).repeat(views, 1))


def truth(rays: Rays) -> tuple[Float[Tensor, " R"], Float[Tensor, "R 4"]]:
    """Return where rays first meet the scene, and what they see there: infinity and zeros where they miss it.

    The colour is premultiplied RGBA; distances are along the rays.
    """
    origin, direction = rays.origins.double(), rays.directions.double()
    nearest = torch.full((len(origin),), math.inf, dtype=torch.float64)
    seen = torch.zeros(len(origin), 4, dtype=torch.float64)
    for solid in SCENE:
        meet = _meet_sphere if isinstance(solid, Sphere) else _meet_box
        distance, normal = meet(solid, origin, direction)  # pyright: ignore[reportArgumentType]
        first = distance < nearest
        point = origin + torch.where(first, distance, 0.0)[:, None] * direction
        shade = 0.55 + 0.45 * (normal @ (LIGHT / LIGHT.norm())).clamp(min=0)
        colour = _surface(solid, point) * shade[:, None]
        rgba = torch.cat([colour, torch.ones(len(origin), 1, dtype=torch.float64)], dim=1)
        nearest = torch.where(first, distance, nearest)
        seen = torch.where(first[:, None], rgba, seen)
    return nearest, seen


def _surface(solid: Sphere | Box, point: Float[Tensor, "R 3"]) -> Float[Tensor, "R 3"]:
    """Return the colour of a solid's surface, in which every other check is lighter."""
    colour = torch.tensor(solid.colour, dtype=torch.float64).expand(len(point), 3)
    if isinstance(solid, Box) and solid.checks:
        # Off the edges of the solid, where rounding would decide.
        odd = ((point[:, [0, 1, 2]] + 1e-6) / solid.checks).floor().sum(1) % 2
        colour = torch.where(odd[:, None] > 0, colour, 0.5 + 0.5 * colour)
    return colour


def _meet_sphere(
    solid: Sphere, origin: Float[Tensor, "R 3"], direction: Float[Tensor, "R 3"]
) -> tuple[Float[Tensor, " R"], Float[Tensor, "R 3"]]:
    """Return distances to a ball and its normals there."""
    offset = origin - torch.tensor(solid.centre, dtype=torch.float64)
    along = (offset * direction).sum(1)
    inside = along.square() - (offset.square().sum(1) - solid.radius**2)
    distance = torch.where(inside > 0, -along - inside.clamp(min=0).sqrt(), math.inf)
    normal = (offset + torch.where(inside > 0, distance, 0.0)[:, None] * direction) / solid.radius
    return distance, normal


def _meet_box(
    solid: Box, origin: Float[Tensor, "R 3"], direction: Float[Tensor, "R 3"]
) -> tuple[Float[Tensor, " R"], Float[Tensor, "R 3"]]:
    """Return distances to a box by its three slabs, and its normals there."""
    safe = torch.where(direction.abs() < 1e-12, 1e-12, direction)
    low = (torch.tensor(solid.low, dtype=torch.float64) - origin) / safe
    high = (torch.tensor(solid.high, dtype=torch.float64) - origin) / safe
    enter, axis = torch.minimum(low, high).max(1)
    leave = torch.maximum(low, high).min(1).values
    distance = torch.where((enter < leave) & (enter > 0), enter, math.inf)
    normal = torch.zeros_like(origin).scatter(1, axis[:, None], -direction.gather(1, axis[:, None]).sign())
    return distance, normal


def draw_view(cameras: Cameras, view: int) -> Float[Tensor, "H W 4"]:
    """Return a picture with straight alpha: each pixel is the mean of its rays."""
    height, width = cameras.sizes[view].tolist()
    fine = cameras[view].scaled(SUPERSAMPLING)
    seen = truth(fine.all_rays(0))[1]
    shape = (height, SUPERSAMPLING, width, SUPERSAMPLING, 4)
    mean = seen.reshape(shape).mean((1, 3))
    alpha = mean[..., 3:]
    return torch.cat([torch.where(alpha > 0, mean[..., :3] / alpha.clamp(min=1e-9), 0.0), alpha], dim=-1).float()


def write_capture(config: Config) -> None:
    """Write all pictures and transforms.json."""
    (config.out / "images").mkdir(parents=True, exist_ok=True)
    cameras = make_cameras(config.views, config.size)
    files = [f"images/{row:02d}.png" for row in range(config.views)]
    for row, name in enumerate(files):
        levels = draw_view(cameras, row).mul(255).round().byte().numpy()
        content = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(levels)).save(content, format="PNG", optimize=True)
        replace_file(config.out / name, content.getvalue())
    write_transforms(config.out / "transforms.json", cameras, files, orientation="none")


def main() -> None:
    """Draw from a command line."""
    config = parse_options(Config, "benchmarks.field.capture", description=__doc__)
    write_capture(config)
    print(f"{config.views} pictures -> {config.out}")


if __name__ == "__main__":
    run_main(main)
