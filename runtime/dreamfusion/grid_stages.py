"""The stages of preset fast: a grid, from coarse to fine."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from runtime.dreamfusion.looks import UNIT
from runtime.dreamfusion.targets import SHARES, TargetGrid, camera_due, fitting_terms, renew
from runtime.dreamfusion.teacher import Teacher
from runtime.dreamfusion.terms import terms_of
from runtime.field.cameras import Rays
from runtime.field.fields.blobs import blob_density
from runtime.field.fields.grid import DenseGrid, GridAdam
from runtime.field.fields.raw import raw_of
from runtime.field.volume import Rendering
from runtime.loop.adam import Optimizer
from runtime.loop.optimize import Stage

if TYPE_CHECKING:
    from runtime.dreamfusion.config import Config

BOX = (-1.0, -1.0, -1.0, 2.0)
"""Lowest corner and side of the box."""

EMPTY = -6.0
"""Raw density where there is no blob: some light may still be lost there, so there is a gradient."""

FAR = 100.0
"""Distance at which there is none."""

SIZES = (1 / 2, 3 / 4, 1)
"""Intervals of the stages' grids in parts of the last one's."""

ENDS = (0.3, 0.65, 1)
"""Parts of all steps at which stages end."""

DECAY = 0.3
"""Learning rates at the end, in parts of those at the beginning."""

SMOOTH = 0.01
"""Differences of raw values below its root cost their square: epsilon of the total variation."""

COLOUR_VARIATION = 0.3
"""Weight of the variation of colours in parts of that of densities."""

STRIDE = 1.0
"""Nodes between two samples of a ray while a field is distilled: half as many as results are drawn with."""

VARIATION_EVERY = 2
"""Steps from one look at the total variation to the next, which weighs as much more: it is the same for all views."""

OCCUPANCY_EVERY = 25
"""Steps between two looks at which cells are empty."""

GREY = 0.6
SPECKLE = 0.05
"""Colour of a new field, and its standard deviation: without any all views of a ball are alike."""


@dataclass(frozen=True)
class Strided:
    """A grid as it is seen while it is distilled; a picture is of some 4,000 rays, each with a jitter of its own."""

    grid: DenseGrid

    def render(self, rays: Rays, jitter: Tensor | None = None, *, normals: bool = False) -> Rendering:
        """Return what rays show."""
        return self.grid.render(rays, jitter, normals=normals, step=STRIDE)


@dataclass(frozen=True)
class Part:
    """A stage among the others."""

    size: int
    """Nodes along an axis."""
    steps: int
    before: int
    """Steps of the stages before."""
    total: int
    """Steps of all stages."""


def parts_of(config: "Config") -> list[Part]:
    """Return the stages' grids and steps; stages that would be shorter than a step are left out."""
    ends = [round(end * config.steps) for end in ENDS]
    parts, before = [], 0
    for share, end in zip(SIZES, ends, strict=True):
        if end > before:
            parts.append(Part(round((config.nodes - 1) * share / 2) * 2 + 1, end - before, before, config.steps))
            before = end
    return parts


def grid_stages(config: "Config", teacher: Teacher) -> list[Stage]:
    """Return the stages of a grid."""
    return [_grid_stage(config, teacher, part) for part in parts_of(config)]


def new_grid(kind: str, size: int, generator: torch.Generator) -> DenseGrid:
    """Return a grey blob of a kind, see `blob_density`, in next to nothing."""
    # The paper's lengths are `UNIT` here; Magic3D's blob, as threestudio has it, is one for the box [-1, 1]^3.
    unit = UNIT if kind == "gaussian" else 1.0
    axis = torch.linspace(-1, 1, size) / unit
    radius = (axis[:, None, None].square() + axis[None, :, None].square() + axis.square()).sqrt()
    grid = DenseGrid.empty(size, torch.tensor(BOX))
    values = grid.values.detach()
    # Less what is dense far from the blob, so that rays leap over it from the first step on.
    density = blob_density(kind, radius) - blob_density(kind, torch.tensor(FAR))
    values[..., 0, 0] = raw_of(density / unit, BOX[3]).clamp(min=EMPTY)
    values[..., 0, 1:] = GREY + SPECKLE * torch.randn(size, size, size, 3, generator=generator)
    grid.update_occupancy()
    return grid


def _grid_stage(config: "Config", teacher: Teacher, part: Part) -> Stage:
    """Return one stage of a grid."""

    def begin(scene: DenseGrid | None, generator: torch.Generator) -> DenseGrid:
        if scene is not None:
            return scene.resized(part.size)
        grid = new_grid(config.blob, part.size, generator)
        return TargetGrid.of(grid, teacher.image_size) if config.target_every else grid

    def loss(scene: DenseGrid, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        if isinstance(scene, TargetGrid):
            camera = camera_due(part.before + step, config.target_every)
            if camera is not None:
                renew(config, teacher, scene, camera, part.before + step, generator)
            terms = fitting_terms(config, scene, STRIDE, generator)
        else:
            terms = terms_of(config, teacher, Strided(scene), (part.before + step) / part.total, generator)
        if config.variation > 0 and step % VARIATION_EVERY == 0:
            # By the area of a surface in nodes, so that a weight means the same on any grid.
            share = SHARES["variation"] if config.target_every else 1.0
            weight = share * VARIATION_EVERY * config.variation / part.size**2
            terms["variation"] = scene.total_variation(weight, COLOUR_VARIATION * weight, SMOOTH)
        return terms

    def after(scene: DenseGrid, optimizer: Optimizer, step: int, generator: torch.Generator) -> None:
        if step % OCCUPANCY_EVERY == OCCUPANCY_EVERY - 1:
            scene.update_occupancy()

    return Stage(
        name=f"grid {part.size}",
        steps=part.steps,
        begin=begin,
        restore=TargetGrid.from_state if config.target_every else DenseGrid.from_state,
        optimizer=lambda scene: GridAdam(scene, lr=config.lr, colour_lr=config.colour_lr),
        loss=loss,
        lr_factor=lambda step: 1 - (1 - DECAY) * (part.before + step) / part.total,
        after=after,
        snapshots=min(3, part.steps),
    )
