"""A grid that is fitted to targets: pictures that the denoiser makes, in several calls, of what cameras see of it.

Cameras stand in a ring. Every few steps one of them gets a new target: the grid is rendered there, noised and cleaned
again (SDEdit, arXiv:2108.01073), at first from much noise, in the end from little (DreamTime, arXiv:2306.12422). The
grid follows all targets by a loss of pixels (dataset updates of Instruct-NeRF2NeRF, arXiv:2303.12789). A single call,
as in score distillation, gives the mean of all pictures instead, and with it speckles.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from runtime.dreamfusion.looks import CAMERAS
from runtime.errors import UserError
from runtime.field.cameras import Cameras
from runtime.field.fields.grid import DenseGrid
from runtime.field.lifting.matte import foreground
from runtime.field.opacity import alpha_entropy
from runtime.field.poses import look_at
from runtime.guidance.prompt import Prompt
from runtime.guidance.sampler import TARGET_CALLS, falling_time, target_latents
from runtime.guidance.views import prompt_of_views
from runtime.loop.optimize import generator_of
from runtime.vector.trace.smoothing import smooth

if TYPE_CHECKING:
    from runtime.dreamfusion.config import Config
    from runtime.dreamfusion.teacher import Teacher

CAMERAS_AROUND = 8
"""Cameras in the ring."""

SEQUENCE = (0, 1, 7, 2, 6, 3, 5, 4)
"""In which they get targets: from the front on to both sides, so that each sees what its neighbours have shaped."""

SWAY = 0.8
"""Of azimuths, in parts of the distance of two cameras: no side is seen by one azimuth alone."""

RAYS = 4096
"""Rays a step, over all targets."""

ALPHA = 0.3
"""Weight of the squared error of alpha beside that of colours."""

SHARES = {"entropy": 0.1, "variation": 0.3}
"""Weights of terms in parts of what they are for score distillation, whose gradient is the greater one."""


class TargetGrid(DenseGrid):
    """A grid and the targets that it is fitted to, which a checkpoint keeps."""

    pictures: Float[Tensor, "K 3 S S"]
    """RGB in [0, 1] before white."""
    inside: Bool[Tensor, "K S S"]
    """Which pixels show the object."""
    angles: Float[Tensor, "K 2"]
    """Azimuth and elevation of the cameras, radians."""
    has_target: Bool[Tensor, " K"]
    """Which cameras have a target."""

    @classmethod
    def of(cls, grid: DenseGrid, side: int) -> Self:
        """Return a grid without targets, whose pictures will have `side` pixels a side."""
        count = CAMERAS_AROUND
        return cls._with(
            grid,
            {
                "pictures": torch.ones(count, 3, side, side),
                "inside": torch.zeros(count, side, side, dtype=torch.bool),
                "angles": torch.zeros(count, 2),
                "has_target": torch.zeros(count, dtype=torch.bool),
            },
        )

    @classmethod
    def _with(cls, grid: DenseGrid, targets: Mapping[str, Tensor]) -> Self:
        scene = cls(grid.values, grid.occupied, grid.box)
        for name, value in targets.items():
            setattr(scene, name, value)
        return scene

    def targets(self) -> dict[str, Tensor]:
        """Return the targets as tensors by name."""
        return {name: getattr(self, name) for name in ("pictures", "inside", "angles", "has_target")}

    def state(self) -> dict[str, Tensor]:
        """Return the grid's state and the targets."""
        return {**super().state(), **self.targets()}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Self:
        """Return the scene whose `state` this is, bit for bit.

        Raises:
            UserError: it is none of a grid with targets.
        """
        names = ("pictures", "inside", "angles", "has_target")
        count, side = CAMERAS_AROUND, state["pictures"].shape[-1] if "pictures" in state else 0
        shapes = dict(zip(names, ((count, 3, side, side), (count, side, side), (count, 2), (count,)), strict=True))
        for name, shape in shapes.items():
            if name not in state or tuple(state[name].shape) != shape:
                got = tuple(state[name].shape) if name in state else "none"
                raise UserError(f"grid: expected {name} of {shape}, got {got}")
        grid = DenseGrid.from_state({name: value for name, value in state.items() if name not in names})
        return cls._with(grid, {name: state[name].clone() for name in names})

    def resized(self, size: int) -> Self:
        """Return the field on another number of nodes, with the same targets."""
        return self._with(DenseGrid.resized(DenseGrid(self.values, self.occupied, self.box), size), self.targets())


def cameras_at(angles: Float[Tensor, "V 2"], side: int) -> Cameras:
    """Return upright cameras that look at the box from azimuths and elevations, in radians, as icons are seen."""
    distance, focal = CAMERAS["distant"].distance[0], CAMERAS["distant"].focal[0]
    azimuth, elevation = angles.unbind(1)
    level = elevation.cos()
    centres = distance * torch.stack([level * azimuth.cos(), level * azimuth.sin(), elevation.sin()], dim=1)
    intrinsics = torch.tensor([[focal * side, focal * side, side / 2, side / 2]]).repeat(len(angles), 1)
    return Cameras(look_at(centres, torch.zeros(3)), intrinsics, torch.tensor([[side, side]]).repeat(len(angles), 1))


def camera_due(step: int, every: int) -> int | None:
    """Return which camera gets a new target in a step of the run, if one does."""
    return SEQUENCE[step // every % CAMERAS_AROUND] if step % every == 0 else None


def time_of(step: int, steps: int, every: int, first: int, last: int) -> int:
    """Return the time of a target that a step renews: it falls evenly, and is the last one for the last round.

    Args:
        step: in [0, steps), of the run.
        steps: of the run.
        every: steps between two targets, at least 1.
        first: time of the first target.
        last: time of the last round of targets.
    """
    before = max(1, steps - every * CAMERAS_AROUND)
    return falling_time(min(step, before), before + 1, 1, first, last)


@torch.no_grad()
def renew(
    config: "Config", teacher: "Teacher", scene: TargetGrid, camera: int, step: int, generator: torch.Generator
) -> None:
    """Give a camera a new place in its part of the ring, and a target of what it sees there.

    Args:
        config: `steps`, `target_every`, `target_omega`, `upper_t`, `seed` and `views` count.
        teacher: the networks.
        scene: changed in place.
        camera: its index.
        step: of the run.
        generator: of the place.
    """
    assert teacher.decode is not None, "asked for targets without a decoder"
    sway, height = torch.rand(2, generator=generator).tolist()
    # The first target of all is the front.
    turned = camera + (SWAY * (sway - 0.5) if scene.has_target.any() else 0.0)
    low, high = CAMERAS["distant"].elevation
    scene.angles[camera] = torch.tensor([2 * math.pi * turned / CAMERAS_AROUND, low + (high - low) * height])
    angles, side = scene.angles[camera : camera + 1], scene.pictures.shape[-1]
    shown = scene.render(cameras_at(angles, side).all_rays(0))
    picture = shown.on(torch.ones(1, 3)).T.reshape(1, 3, side, side).clamp(0, 1)
    first, last = teacher.schedule.times(*config.upper_t)
    z = teacher.encode(picture).cpu()
    clean = target_latents(
        z,
        time_of(step, config.steps, config.target_every, first, last),
        # One noise for all cameras: targets of much noise are what it makes of a prompt, and these have to agree.
        torch.randn(z.shape, generator=generator_of(config.seed, 0, 0, "targets")),
        denoise=teacher.denoise,
        schedule=teacher.schedule,
        prompt=_prompt(config, teacher, angles),
        omega=config.target_omega,
        calls=TARGET_CALLS,
    )
    target = smooth(teacher.decode(clean).clamp(0.0, 1.0).cpu())[0]
    scene.pictures[camera], scene.has_target[camera] = target, True
    scene.inside[camera] = torch.from_numpy(np.ascontiguousarray(foreground(target)))


def _prompt(config: "Config", teacher: "Teacher", angles: Float[Tensor, "1 2"]) -> Prompt:
    return prompt_of_views(config.views)(teacher.prompt, angles[:, 0], angles[:, 1])


def fitting_terms(
    config: "Config", scene: TargetGrid, step: float, generator: torch.Generator
) -> dict[str, Float[Tensor, ""]]:
    """Return the squared errors of colour and alpha at random pixels of all targets, and the entropy of alpha.

    Args:
        config: weight of the entropy.
        scene: with at least one target.
        step: nodes between two samples of a ray.
        generator: of pixels and of where rays are sampled.
    """
    side, present = scene.pictures.shape[-1], scene.has_target.nonzero()[:, 0]
    views: Int64[Tensor, " R"] = present[torch.randint(len(present), (RAYS,), generator=generator)]
    pixels = torch.randint(side * side, (RAYS,), generator=generator)
    x, y = pixels % side, pixels // side
    rays = cameras_at(scene.angles, side).rays_of(views, torch.stack([x, y], dim=1) + 0.5)
    shown = scene.render(rays, torch.rand(RAYS, generator=generator), step=step)
    inside = scene.inside[views, y, x].float()
    terms = {
        "target": (shown.on(torch.ones(1, 3)) - scene.pictures[views, :, y, x]).square().mean(),
        "alpha": ALPHA * (shown.alpha - inside).square().mean(),
    }
    if config.entropy > 0:
        terms["entropy"] = SHARES["entropy"] * config.entropy * alpha_entropy(shown.alpha)
    return terms
