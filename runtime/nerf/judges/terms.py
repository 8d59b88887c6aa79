"""The terms of those that look at a field, by name."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from runtime.field.fields.grid import DenseGrid
from runtime.field.fields.hashed import HashedGrid
from runtime.field.training_views import TrainingViews
from runtime.nerf.judges.guess import Guess
from runtime.nerf.judges.prior import Prior, load_prior
from runtime.nerf.judges.semantic import Semantics

if TYPE_CHECKING:
    from runtime.nerf.config import Config


@dataclass(frozen=True)
class Judges:
    """Those that a request has asked for."""

    config: "Config"
    semantics: Semantics | None
    prior: Prior | None
    guess: Guess | None = None

    @classmethod
    def of(cls, config: "Config", views: TrainingViews) -> "Judges":
        """Load the networks of `--encoder` and `--prior`."""
        from runtime.engines.bundle import DiffusionBundle, PixelNeRFBundle

        bundle = load_prior(config) if config.prior else None
        return cls(
            config,
            Semantics.asked(config, views),
            Prior.of(config, bundle, views) if isinstance(bundle, DiffusionBundle) else None,
            Guess.of(bundle, views) if isinstance(bundle, PixelNeRFBundle) else None,
        )

    def terms(
        self, scene: DenseGrid | HashedGrid, step: int, total: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the weighted terms of a step, of `total` in the run.

        Whole pictures without jitter, as they are to be looked at, before white.
        """
        terms: dict[str, Tensor] = {}
        if self.semantics is not None and self.semantics.due(step, total):
            rays, target = self.semantics.draw(generator)
            seen = scene.render(rays).on(torch.ones(1, 3))
            terms["semantic"] = self.config.semantic * self.semantics.loss(seen, target)
        if self.prior is not None and self.prior.due(step, total):
            rays, prompt = self.prior.draw(generator)
            seen = scene.render(rays).on(torch.ones(1, 3))
            terms["distillation"] = self.config.distillation * self.prior.loss(seen, prompt, step / total, generator)
        if self.guess is not None:
            terms |= self.guess.terms(scene, self.config.guess, step / total, generator)
        return terms
