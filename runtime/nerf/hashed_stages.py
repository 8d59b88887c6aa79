"""The stage of preset fast on hashed grids, whose many resolutions make stages needless."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from runtime.field.fields.hashed import HashedGrid
from runtime.field.training_views import TrainingViews
from runtime.loop.adam import Optimizer
from runtime.loop.optimize import Stage
from runtime.nerf.fields import new_hashed, restore_hashed
from runtime.nerf.grid_stages import DECAY, fitting_terms
from runtime.nerf.judges import Judges

if TYPE_CHECKING:
    from runtime.nerf.config import Config

NETWORK_LR = 1e-2
"""Learning rate of tables and networks: instant-ngp's; all learning rates fall to a tenth over the run."""
LR = 5e-2
"""Learning rate of tables whose levels are added up: they are raw densities themselves, which have far to go."""
BETAS = (0.9, 0.99)
EPS = 1e-15
"""instant-ngp's, as gradients of entries that few rays meet are tiny."""

OCCUPANCY_EVERY = 25
"""Steps between two looks at which cells are empty: until the first one every place of a ray costs."""


def hashed_stages(config: "Config", views: TrainingViews) -> list[Stage]:
    """Return the one stage of a field on hashed grids."""
    judges = Judges.of(config, views)
    lr = NETWORK_LR if config.field == "hashed-network" else LR

    def loss(scene: HashedGrid, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        terms = fitting_terms(config, views, scene, generator)
        return terms | judges.terms(scene, step, config.steps, generator)

    def after(scene: HashedGrid, optimizer: Optimizer, step: int, generator: torch.Generator) -> None:
        if (step + 1) % OCCUPANCY_EVERY == 0:
            scene.update_occupancy()

    return [
        Stage(
            name=config.field,
            steps=config.steps,
            begin=lambda scene, generator: new_hashed(config, generator),
            restore=lambda state: restore_hashed(config, state),
            optimizer=lambda scene: torch.optim.Adam(scene.parameters(), lr=lr, betas=BETAS, eps=EPS, fused=True),
            loss=loss,
            after=after,
            lr_factor=lambda step: DECAY ** (step / config.steps),
            snapshots=3,
        )
    ]
