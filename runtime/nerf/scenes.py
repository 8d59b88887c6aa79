"""A capture as `runtime.nerf` uses it: which pictures are trained on, which are held out, and the box."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.field.captures import Capture, split_views
from runtime.nerf.capture import load

if TYPE_CHECKING:
    from runtime.nerf.config import Config

BOX = (-1.0, -1.0, -1.0, 2.0)
"""Lowest corner and side of the box that a capture is normalized to."""


@dataclass(frozen=True)
class Split:
    """A capture and its two parts."""

    capture: Capture
    train: list[int]
    held_out: list[int]

    @classmethod
    def of(cls, config: "Config") -> "Split":
        """Read the capture of a request, but no pixel of it; a `UserError` says what is wrong with it."""
        capture = load(config).scaled(config.size)
        train, held_out = split_views(capture, views=config.views, hold_out=config.hold_out, seed=config.seed)
        return cls(capture, train, held_out)


def box() -> Float[Tensor, " 4"]:
    """Return the box as a tensor."""
    return torch.tensor(BOX)
