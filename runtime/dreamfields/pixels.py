"""The flat baseline: one picture with alpha in place of a field (thesis 10.4)."""

from collections.abc import Mapping
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from runtime.loop.scene import Scene

START = 0.1
"""Deviation of the first colours' raw values: near grey."""


class Pixels(Scene):
    """A picture whose colours and alpha are sigmoids of its values.

    Args:
        values: raw; red, green, blue, alpha.
    """

    def __init__(self, values: Float[Tensor, "4 H W"]) -> None:
        super().__init__()
        self.values = nn.Parameter(values.detach().clone())

    @classmethod
    def noise(cls, side: int, generator: torch.Generator) -> Self:
        """Return faint coloured noise, half transparent."""
        values = START * torch.randn(4, side, side, generator=generator)
        values[3] = 0
        return cls(values)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Self:
        """Return the picture whose `state` this is."""
        return cls(state["values"])

    def shown(self) -> tuple[Float[Tensor, "3 H W"], Float[Tensor, "H W"]]:
        """Return the colours, premultiplied, and the transmittance."""
        straight = self.values.sigmoid()
        return straight[:3] * straight[3:], 1 - straight[3]

    def total_variation(self) -> Float[Tensor, ""]:
        """Return the mean difference of neighbouring colours and alphas, plus that of rows."""
        straight = self.values.sigmoid()
        return straight.diff(dim=1).abs().mean() + straight.diff(dim=2).abs().mean()
