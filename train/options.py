"""What every training command asks for, and the loop's configuration that follows from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.command.ranges import Count, LearningRate, Seed
from train.fit import FitConfig


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of every training command; each has defaults of its own for the first three."""

    steps: Count
    """Optimizer steps."""
    batch: Count
    """Examples a step."""
    lr: LearningRate
    """Peak learning rate."""
    out: Path
    """Run folder; an existing checkpoint in it is resumed."""
    seed: Seed = 0
    """Seed of initialization and draws."""
    device: str = "cpu"
    """PyTorch device."""

    def fit_config(self, **settings: Any) -> FitConfig:
        """Return how the loop trains.

        Args:
            settings: fields of `FitConfig` that are no options, such as `warmup`.
        """
        return FitConfig(out=self.out, steps=self.steps, lr=self.lr, seed=self.seed, device=self.device, **settings)
