"""The stage of preset fast on hashed grids, whose many resolutions make stages needless."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from runtime.field.fields.hashed import HashedGrid
from runtime.field.training_views import TrainingViews
from runtime.loop.adam import Optimizer
from runtime.loop.optimize import Stage
from runtime.nerf.fields import new_hashed, restore_hashed
from runtime.nerf.grid_stages import DECAY, OCCUPANCY_EVERY, OCCUPANCY_FIRST, fitting_terms
from runtime.nerf.judges import Judges

if TYPE_CHECKING:
    from runtime.nerf.config import Config

LR = 1e-2
"""Learning rate of tables and networks: instant-ngp's; it falls to a tenth over the run."""
BETAS = (0.9, 0.99)
EPS = 1e-15
"""instant-ngp's, as gradients of entries that few rays meet are tiny."""


def hashed_stages(config: "Config", views: TrainingViews) -> list[Stage]:
    """Return the one stage of a field on hashed grids."""
    judges = Judges.of(config, views)

    def loss(scene: HashedGrid, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        terms = fitting_terms(config, views, scene, generator)
        return terms | judges.terms(scene, step, config.steps, generator)

    def after(scene: HashedGrid, optimizer: Optimizer, step: int, generator: torch.Generator) -> None:
        if step >= OCCUPANCY_FIRST and step % OCCUPANCY_EVERY == OCCUPANCY_EVERY // 2:
            scene.update_occupancy()

    return [
        Stage(
            name=config.field,
            steps=config.steps,
            begin=lambda scene, generator: new_hashed(config, generator),
            restore=lambda state: restore_hashed(config, state),
            optimizer=lambda scene: torch.optim.Adam(scene.parameters(), lr=LR, betas=BETAS, eps=EPS),
            loss=loss,
            after=after,
            lr_factor=lambda step: DECAY ** (step / config.steps),
            snapshots=3,
        )
    ]
