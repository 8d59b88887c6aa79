"""The stage of preset thesis: the paper's network, for a GPU or for patience."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from runtime.dreamfusion.network import PaperField, covariance_of, paper_options
from runtime.dreamfusion.teacher import Teacher
from runtime.dreamfusion.terms import terms_of
from runtime.loop.optimize import Stage

if TYPE_CHECKING:
    from runtime.dreamfusion.config import Config

WARM_UP = 1 / 5
"""Part of the steps in which the learning rate rises: the paper's 3,000 of 15,000."""

COLD = 1e-5
"""First learning rate in parts of the highest: the paper's 1e-9 of 1e-4."""

END = 0.01
"""Last learning rate in parts of the highest: the paper's 1e-6 of 1e-4."""


def lr_factor(progress: float) -> float:
    """Return the learning rate, in parts of the highest, at a part of the run: linear up, then half a cosine down."""
    if progress < WARM_UP:
        return COLD + (1 - COLD) * progress / WARM_UP
    along = (progress - WARM_UP) / (1 - WARM_UP)
    return END + (1 - END) * 0.5 * (1 + math.cos(math.pi * along))


def network_stages(config: "Config", teacher: Teacher, device: str = "cpu") -> list[Stage]:
    """Return the one stage of the paper's network.

    The paper optimizes by Distributed Shampoo, which PyTorch doesn't have; here it's Adam, at another learning rate.
    """

    def begin(before: None, generator: torch.Generator) -> PaperField:
        return PaperField(paper_options(config.samples, config.blob), generator).to(device)

    def loss(scene: PaperField, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        progress = step / config.steps
        scene.covariance.fill_(covariance_of(progress))
        return terms_of(config, teacher, scene, progress, generator)

    return [
        Stage(
            name="thesis",
            steps=config.steps,
            begin=begin,
            restore=lambda state: PaperField.from_state(state).to(device),
            optimizer=lambda scene: torch.optim.Adam(scene.parameters(), lr=config.lr, betas=(0.9, 0.99), eps=1e-15),
            loss=loss,
            lr_factor=lambda step: lr_factor(step / config.steps),
            snapshots=min(10, config.steps),
        )
    ]
