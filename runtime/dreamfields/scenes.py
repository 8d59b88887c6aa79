"""The three scenes that Dream Fields' loss can shape: how they begin, are seen, and are updated."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.dreamfields.pixels import Pixels
from runtime.field.cameras import Cameras, pixel_centres
from runtime.field.fields.grid import DenseGrid, GridAdam
from runtime.field.fields.networks import eikonal
from runtime.field.fields.residual import SIDE, FieldOptions, ResidualField
from runtime.field.poses import draw_sphere
from runtime.field.sparsity import perturbed
from runtime.loop.scene import Scene

if TYPE_CHECKING:
    from runtime.dreamfields.config import Config

FOCAL = 1111.1111 / 800
"""Focal length of NeRF's synthetic scenes in parts of the picture's side; a factor comes on top (thesis 4.4.4)."""

BOX = torch.tensor([-SIDE / 2, -SIDE / 2, -SIDE / 2, SIDE])

EIKONAL_POINTS = 1024
"""Random places of the cube where a signed distance's slope is looked at."""

SMOOTH = 0.01
"""Differences of voxels below its root cost their square."""


@dataclass(frozen=True)
class Camera:
    """Where a step looks from."""

    cameras: Cameras
    """One."""
    focal: float
    """Factor on the focal length."""
    distance: float
    """From what it looks at."""


def draw_camera(config: "Config", generator: torch.Generator) -> Camera:
    """Return a random camera in the ranges of the options."""
    radians = [tuple(torch.deg2rad(torch.tensor(getattr(config, n))).tolist()) for n in ("elevation", "azimuth")]
    # Uniform in the angle, not on the sphere: the thesis draws azimuth and elevation.
    poses = draw_sphere(1, generator, radius=config.distance, elevation=radians[0], azimuth=radians[1], law="angle")
    low, high = config.focal
    focal = low + (high - low) * torch.rand(1, generator=generator).item()
    length, middle = focal * FOCAL * config.render, config.render / 2
    intrinsics = torch.tensor([[length, length, middle, middle]])
    cameras = Cameras(poses, intrinsics, torch.tensor([[config.render, config.render]]))
    return Camera(cameras, focal, float(cameras.centres.norm()))


def options_of(config: "Config") -> FieldOptions:
    """Return the options of the network's field."""
    return FieldOptions(
        network=config.network,
        width=config.width,
        wide=config.wide,
        blocks=config.blocks,
        basis=config.basis,
        octaves=config.octaves,
        directions=config.directions,
        integrated=config.ipe,
        density=config.density,
        samples=config.samples,
        looks=config.looks,
        bounded=config.bounds,
        # The widest pixels that a camera of the run has; each camera gives its own.
        pixel=1 / (config.focal[0] * FOCAL * config.render),
    )


def new_scene(config: "Config", generator: torch.Generator, device: str = "cpu") -> Scene:
    """Return the scene that a run begins with, a network on a device; grids and pictures are on the CPU."""
    if config.field == "voxels":
        return DenseGrid.empty(config.nodes, BOX)
    if config.field == "pixels":
        return Pixels.noise(config.render, generator)
    return ResidualField(options_of(config), generator).to(device)


def restored(config: "Config", state: Mapping[str, Tensor], device: str = "cpu") -> Scene:
    """Return the scene of a checkpoint; devices as of `new_scene`."""
    if config.field == "mlp":
        return ResidualField.from_state(state).to(device)
    return {"voxels": DenseGrid, "pixels": Pixels}[config.field].from_state(state)


def optimizer_of(config: "Config", scene: Scene) -> torch.optim.Optimizer:
    """Return Adam for a scene; the thesis' epsilon of 1e-5 for the network (10.3)."""
    if isinstance(scene, DenseGrid):
        # Adam's usual epsilon, of the kernel: the 1e-5 of the thesis is about its network.
        return GridAdam(scene, lr=config.lr, colour_lr=config.colour_lr)
    return torch.optim.Adam(scene.parameters(), lr=config.lr, eps=1e-5 if config.field == "mlp" else 1e-8)


def lr_factor(config: "Config") -> Callable[[int], float]:
    """Return the factor on the learning rate at a step: a rise for the network, a fall at the end for the grids.

    The network's rises exponentially, as the thesis says (10.3); grids fall to a tenth for the last quarter, as in the
    published code of its voxels.
    """
    if config.field != "mlp":
        return lambda step: 1.0 if step < 0.75 * config.steps else 0.1
    # As a factor: the loop multiplies each group's own learning rate by it.
    start = config.lr_start / config.lr
    return lambda step: start ** (1 - step / config.warmup) if step < config.warmup else 1.0


def see(
    config: "Config", scene: Scene, camera: Camera, generator: torch.Generator
) -> tuple[Float[Tensor, "3 N N"], Float[Tensor, "N N"]]:
    """Return what a camera sees of a scene without a background, premultiplied, and its transmittance."""
    if isinstance(scene, Pixels):
        return scene.shown()
    side = config.render
    rays = camera.cameras.rays(0, pixel_centres(side, side))
    if isinstance(scene, ResidualField):
        # A border of its own for each sample: rays of neighbouring pixels see different places.
        jitter = torch.rand(len(rays.origins), config.samples + 1, generator=generator)
        noise = perturbed(config.sparsity, (len(rays.origins), config.samples), config.noise, generator)
        shown = scene.render(rays, jitter, noise=noise, pixel=1 / (camera.focal * FOCAL * side))
    else:
        assert isinstance(scene, DenseGrid), "there are three kinds of scenes"
        shown = scene.render(rays, torch.rand(len(rays.origins), generator=generator))
    return shown.colour.T.reshape(3, side, side), shown.transmittance.view(side, side)


def regularity(config: "Config", scene: Scene, generator: torch.Generator) -> dict[str, Tensor]:
    """Return the terms that depend on no camera: variation of grids, slopes of a signed distance."""
    if isinstance(scene, DenseGrid) and config.variation > 0:
        # By the area of a surface in nodes, so that a weight means the same on any grid.
        weight = config.variation / scene.size**2
        return {"variation": scene.total_variation(weight, weight, SMOOTH)}
    if isinstance(scene, Pixels) and config.variation > 0:
        return {"variation": config.variation * scene.total_variation()}
    if isinstance(scene, ResidualField) and config.density == "volsdf" and config.eikonal > 0:
        # All over the cube: rays see a distance's slope near surfaces only, and it has to be 1 everywhere.
        points = SIDE * (torch.rand(EIKONAL_POINTS, 3, generator=generator) - 0.5)
        variance = scene.point_variance()
        spread = None if variance is None else variance.expand(len(points), -1)
        slope = scene.evaluate(points.to(scene.box.device), spread, slope=True)[2]
        assert slope is not None, "it was asked for"
        return {"eikonal": config.eikonal * eikonal(slope).to(points.device)}
    return {}
