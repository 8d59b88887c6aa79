"""What can be trained further looks like this to the command."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from runtime.errors import UserError
from train.further.archive import Archive


@dataclass(frozen=True, kw_only=True)
class Further:
    """A network with its data on a device, ready to be trained."""

    network: nn.Module
    """With the weights to begin with."""
    loss: Callable[[nn.Module, torch.Generator], Float[Tensor, ""]]
    """The loss of a step, given the network or its compiled form, and a generator on the device."""
    held_out: Callable[[nn.Module, torch.Generator], Float[Tensor, ""]]
    """The loss of a network on a part of what is held out; its mean over some generators is compared."""
    write_config: Callable[[Path], None]
    """Writes config.json into a folder, as the run has it."""
    compiled: Callable[[nn.Module], nn.Module] = torch.compile  # pyright: ignore[reportAssignmentType]
    """Compiles the network."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `FitConfig` that suit it on a graphics card."""


def required_run(run: Path | None) -> Path:
    """Return the run folder of a subject that cannot begin without one.

    Raises:
        UserError: there is none.
    """
    if run is None:
        raise UserError("--run: expected the run folder whose weights it begins with, got none")
    return run


class Subject(Protocol):
    """A module that prepares a file of a run, and opens it."""

    BATCH: int
    """Batch on a graphics card of 80 GB."""

    def prepare(self, run: Path | None, data: Path | None, cache: Path | None) -> Archive:
        """Return what training continues from; errors as of the run's own readers."""
        ...

    def open(self, archive: Archive, device: str, batch: int) -> Further:
        """Return the network and its data on a device."""
        ...
