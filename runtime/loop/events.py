"""What a run reports on its way: previews while it samples, each step of the loop, each snapshot, and notes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from runtime.loop.scene import Scene


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """A sampler has called its network once more, before the loop begins."""

    step: int
    """Calls so far, in [1, steps]."""
    steps: int
    """Calls of the whole sampling."""
    preview: "Callable[[], Tensor]"
    """Decodes the predicted clean pictures of this step, RGB in [0, 1]; costs a call of the decoder."""


@dataclass(frozen=True, kw_only=True)
class Stepped:
    """The loop has taken a step."""

    stage: str
    """The stage's name."""
    step: int
    """Steps of this stage so far, in [1, steps]."""
    steps: int
    """Steps of this stage."""
    loss: float
    """Sum of the terms; 0 in a stage without a loss."""
    terms: Mapping[str, float]
    """Each named term."""
    done: int
    """Steps of all stages so far, in [1, total]."""
    total: int
    """Steps of all stages."""
    eta_s: float
    """Seconds left in all stages, at the pace of the last steps; NaN after the first step."""
    scene: "Scene"
    """The scene itself, for a preview. It changes with the next step: read it before the callback returns."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A picture of the scene was written on the way."""

    path: Path
    """The file."""


@dataclass(frozen=True)
class Note:
    """Something that the user should know, such as what of an input could not be used."""

    text: str
    """One line, without a full stop."""


Event = Sampled | Stepped | Snapshot | Note
Report = Callable[[Event], None]
