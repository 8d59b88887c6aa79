"""The stages of preset fast: a grid, from coarse to fine."""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from runtime.field.fields.grid import DenseGrid, GridAdam
from runtime.field.fields.hashed import HashedGrid
from runtime.field.training_views import TrainingViews
from runtime.loop.adam import Optimizer
from runtime.loop.events import Note, Report
from runtime.loop.optimize import Stage
from runtime.nerf.collapse import collapse_of, fog_again
from runtime.nerf.hull import hold_empty, outside_hull
from runtime.nerf.judges import Judges
from runtime.nerf.losses import alpha_error, background_of, photometric
from runtime.nerf.scenes import BOX, box

if TYPE_CHECKING:
    from runtime.nerf.config import Config

LR = 0.3
"""Learning rate of raw densities; it falls to a tenth over all stages."""
COLOUR_LR = 0.03
DECAY = 0.1

SHARES = (0.16, 0.4, 0.44)
"""Parts of all steps on grids of a quarter, half and all of the intervals."""

SMOOTH = 0.01
"""Differences of raw values below its root cost their square: epsilon of the total variation."""
COLOUR_VARIATION = 2.0
"""Weight of colours in the total variation, in that of raw densities: most of their differences are so small that they
cost their square."""

OCCUPANCY_EVERY = 50
"""Steps between two looks at which cells are empty."""
OCCUPANCY_FIRST = 60
"""Steps before the first one: a new field is fog everywhere."""

BLURRED = 0.6
"""Part of all steps in which the blur of gradients falls to nothing, where one is asked for."""


NODE_BYTES = 128
"""Memory of a node: four numbers each of value, gradient and two moments, and as much again while a checkpoint is
written or a finer grid is made."""


class Place(NamedTuple):
    """A stage among the others."""

    size: int
    """Nodes along an axis."""
    steps: int
    before: int
    """Steps of the stages before."""
    total: int
    """Steps of all stages."""


def grid_sizes(nodes: int) -> list[int]:
    """Return the nodes of each stage's grid: a quarter, half and all of the intervals, at least 8."""
    sizes = [max((nodes - 1) // factor // 4 * 4, 8) + 1 for factor in (4, 2)]
    return sorted({*sizes, nodes})


def grid_bytes(config: "Config") -> int:
    """Return the memory that the finest grid of a request takes while it is fitted."""
    return NODE_BYTES * (4 if config.view_dependent else 1) * config.nodes**3


def grid_stages(config: "Config", views: TrainingViews, report: Report = lambda event: None) -> list[Stage]:
    """Return the stages of a grid, each with twice the nodes along an axis."""
    sizes = grid_sizes(config.nodes)
    shares = SHARES[-len(sizes) :]
    counts = [max(1, round(config.steps * share / sum(shares))) for share in shares[:-1]]
    # The rest, so that all stages together have the steps that were asked for, however shares are rounded.
    counts.append(max(1, config.steps - sum(counts)))
    judges = Judges.of(config, views)
    return [
        _grid_stage(config, views, judges, Place(size, count, sum(counts[:index]), sum(counts)), report)
        for index, (size, count) in enumerate(zip(sizes, counts, strict=True))
    ]


def fitting_terms(
    config: "Config",
    views: TrainingViews,
    scene: DenseGrid | HashedGrid,
    generator: torch.Generator,
    *,
    pairs: bool = False,
) -> dict[str, Tensor]:
    """Return the terms of a step that observed pictures give; for `pairs` see `TrainingViews.draw`."""
    batch = views.draw(config.rays, generator, pairs=pairs)
    shown = batch.pixels(scene.render(batch.rays, batch.jitter))
    terms = {"colour": photometric(shown, batch, background_of(config, len(batch.alpha), generator))}
    if views.has_alpha and config.alpha > 0:
        terms["alpha"] = config.alpha * alpha_error(shown, batch)
    if config.distortion > 0:
        terms["distortion"] = config.distortion * shown.distortion.mean()
    return terms


def _grid_stage(config: "Config", views: TrainingViews, judges: Judges, place: Place, report: Report) -> Stage:
    """Return one stage of a grid."""
    size, steps, before, total = place
    # A pixel that is wider than the nodes are apart is a mean over several of them. On coarser grids single rays, of
    # twice as many pixels, do.
    pairs = views.pixel_width > BOX[3] / (size - 1)

    outside = outside_hull(views, size) if config.hull else None

    def begin(scene: DenseGrid | None, generator: torch.Generator) -> DenseGrid:
        degree = int(config.view_dependent)
        grid = DenseGrid.empty(size, box(), degree=degree) if scene is None else scene.resized(size)
        if outside is not None:
            hold_empty(grid, outside)
        return grid

    def loss(scene: DenseGrid, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        terms = fitting_terms(config, views, scene, generator, pairs=pairs)
        terms |= judges.terms(scene, before + step, total, generator)
        if config.variation > 0:
            # By the area of a surface in nodes, so that a weight means the same on any grid.
            weight = config.variation / size**2
            terms["variation"] = scene.total_variation(weight, COLOUR_VARIATION * weight, SMOOTH)
        return terms

    def after(scene: DenseGrid, optimizer: Optimizer, step: int, generator: torch.Generator) -> None:
        looks = before + step >= OCCUPANCY_FIRST and step % OCCUPANCY_EVERY == OCCUPANCY_EVERY // 2
        if outside is not None and (looks or step + 1 == steps):
            hold_empty(scene, outside)
        elif looks:
            scene.update_occupancy()
        if before == 0 and step + 1 == steps // 2 and (problem := collapse_of(scene, views)):
            report(Note(f"step {step + 1}: {problem}, so it begins anew from another fog"))
            fog_again(scene, optimizer, problem)
        elif step + 1 == steps and (problem := collapse_of(scene, views)):
            report(Note(f"step {before + step + 1}: {problem}; `inspect` shows whether cameras and box are right"))

    def blur(step: int) -> float:
        return config.blur * max(0.0, 1 - (before + step) / (BLURRED * total))

    return Stage(
        name=f"grid {size}",
        steps=steps,
        begin=begin,
        restore=DenseGrid.from_state,
        optimizer=lambda scene: GridAdam(scene, lr=LR, colour_lr=COLOUR_LR, blur=blur if config.blur > 0 else None),
        loss=loss,
        lr_factor=lambda step: DECAY ** ((before + step) / total),
        after=after,
    )
