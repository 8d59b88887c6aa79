"""What a field is fitted by: terms of the loss, each by its name."""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.field.training_views import Batch
from runtime.field.volume import Rendering

if TYPE_CHECKING:
    from runtime.nerf.config import Config


def background_of(config: "Config", count: int, generator: torch.Generator) -> Float[Tensor, "#R 3"]:
    """Return the background of a step: one colour, or one a ray."""
    if config.background == "random":
        return torch.rand(count, 3, generator=generator)
    return torch.full((1, 3), 1.0 if config.background == "white" else 0.0)


def photometric(shown: Rendering, batch: Batch, background: Float[Tensor, "#R 3"]) -> Float[Tensor, ""]:
    """Return the mean squared error of colours before a background (thesis Eq. 3.3)."""
    return (shown.on(background) - batch.on(background)).square().mean()


def alpha_error(shown: Rendering, batch: Batch) -> Float[Tensor, ""]:
    """Return the squared error of alpha as a fourth channel: a third of its mean, as colours have three."""
    return (shown.alpha - batch.alpha).square().mean() / 3
