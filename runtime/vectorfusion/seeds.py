"""Several seeds in one run: one after another, each exactly as it would be alone, and the best first in the end."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from runtime.errors import UserError
from runtime.field.sheets import contact_sheet
from runtime.guidance.clip import rank
from runtime.loop.adam import Optimizer
from runtime.loop.optimize import Stage, generator_of
from runtime.loop.scene import Scene
from runtime.pictures import write_png
from runtime.vector.paths import Drawing
from runtime.vector.raster import rasterize
from runtime.vector.scene import VectorScene

if TYPE_CHECKING:
    from runtime.engines.bundle import DiffusionBundle
    from runtime.vectorfusion.config import Config

CELL = 256
"""Smallest side in pixels of a drawing on the contact sheet."""


def one_after_another(seeded: Sequence[tuple[int, Sequence[Stage]]]) -> list[Stage]:
    """Return the stages of all seeds in a row, whose draws are those of each seed's own run.

    A drawing that is finished waits in the next scene's `finished`, and so in its checkpoints.

    Args:
        seeded: each seed and the stages of its run.
    """
    return [_stage_of(seed, index, stage) for seed, stages in seeded for index, stage in enumerate(stages)]


def _stage_of(seed: int, index: int, stage: Stage) -> Stage:
    """Return a stage of one seed that takes its draws from that seed, whatever its place in the run."""
    # The loop's own generator knows the run's seed and the stage's place among all of them.
    draws = partial(generator_of, seed, index)

    def begin(before: Scene | None, generator: torch.Generator) -> Scene:
        scene = stage.begin(before if index else None, draws(0, "begin"))
        assert isinstance(scene, VectorScene)
        scene.finished = []
        if isinstance(before, VectorScene):
            scene.finished = [*before.finished, *([] if index else [before.drawing().clone()])]
        return scene

    def loss(scene: VectorScene, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        assert stage.loss is not None
        return stage.loss(scene, step, draws(step, "loss"))

    def after(scene: VectorScene, optimizer: Optimizer, step: int, generator: torch.Generator) -> None:
        if stage.after is not None:
            stage.after(scene, optimizer, step, draws(step, "after"))

    return replace(stage, name=f"{stage.name}-seed-{seed}", begin=begin, loss=loss, after=after)


def best_first(
    config: "Config", bundle: "DiffusionBundle", seeds: Sequence[int], scene: VectorScene
) -> list[tuple[int, Drawing]]:
    """Return the seeds with their drawings, what fits the prompt best first; in their order without a scorer."""
    drawings = [*scene.finished, scene.drawing().detach()]
    try:
        score = bundle.scorer()
    except UserError:
        return list(zip(seeds, drawings, strict=True))
    side = bundle.image_size
    with torch.no_grad():
        pictures = torch.cat([rasterize(one, (side, side), backend=config.rasterizer) for one in drawings])
    return [(seeds[index], drawings[index]) for index in rank(pictures, config.prompt, score)]


def write_sheet(path: Path, drawings: Sequence[Drawing], backend: str) -> None:
    """Write a PNG of drawings side by side, row by row, about as many in a row as there are rows."""
    factor = math.ceil(CELL / min(drawings[0].size))
    size = (drawings[0].size[0] * factor, drawings[0].size[1] * factor)
    with torch.no_grad():
        pictures = [rasterize(drawing, size, backend=backend)[0] for drawing in drawings]
    write_png(path, contact_sheet(pictures, math.ceil(math.sqrt(len(pictures))), gap=8))
