"""What the loop optimizes."""

from collections.abc import Mapping
from typing import Self

from torch import Tensor, nn


class Scene(nn.Module):
    """Parameters that a run changes, and all that is needed to build them again from a checkpoint.

    A subclass whose constructor takes its parameters and buffers by name, as tensors, can keep `state` and `from_state`
    as they are. One with more than tensors to remember overrides both.
    """

    def state(self) -> dict[str, Tensor]:
        """Return everything that `from_state` needs, as tensors by name."""
        return {name: value.detach() for name, value in self.state_dict().items()}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Self:
        """Return the scene whose `state` this is, bit for bit."""
        return cls(**state)

    def gradients(self) -> dict[str, Tensor]:
        """Return the gradients that the loop checks, by parameter; a sparse scene leaves out what is always 0."""
        return {name: p.grad for name, p in self.named_parameters() if p.grad is not None}
