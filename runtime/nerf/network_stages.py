"""The stage of the presets with the thesis' networks: NeRF, Simplified NeRF and DietNeRF (thesis Algorithm 3)."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from runtime.field.cameras import Rays
from runtime.field.fields.neural import NeuralField
from runtime.field.training_views import TrainingViews
from runtime.field.volume import Rendering
from runtime.loop.adam import Optimizer
from runtime.loop.events import Note, Report
from runtime.loop.optimize import Stage
from runtime.nerf.collapse import LOOKS, begin_anew, collapse_of
from runtime.nerf.config import NETWORKS
from runtime.nerf.fields import new_field, restore
from runtime.nerf.judges.semantic import Semantics
from runtime.nerf.losses import alpha_error, background_of, photometric

if TYPE_CHECKING:
    from runtime.nerf.config import Config

DECAY = 0.1
DECAY_STEPS = 500_000
"""The learning rate falls to `DECAY` of itself over so many steps, whatever the length of the run."""

CHUNK = 512
"""Rays of a semantic picture whose activations are in memory at a time; the others are computed again on the way back
(rematerialization, thesis 3.4.4)."""


def network_stages(config: "Config", views: TrainingViews, report: Report = lambda event: None) -> list[Stage]:
    """Return the one stage of a preset with networks."""
    lr = NETWORKS[config.preset].lr if config.lr is None else config.lr
    semantics = Semantics.asked(config, views)

    def begin(scene: None, generator: torch.Generator) -> NeuralField:
        return new_field(config, generator.initial_seed())

    def loss(scene: NeuralField, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        batch = views.draw(config.rays, generator)
        if config.anneal > 0:
            scene.share = min(1.0, (step + 1) / (config.anneal * config.steps))
        background = background_of(config, len(batch.alpha), generator)
        terms: dict[str, Tensor] = {}
        with torch.autocast(scene.device.type, torch.bfloat16, enabled=config.mixed_precision):
            renderings = scene.renderings(batch.rays, generator)
        for name, shown in zip(("coarse", "fine"), renderings, strict=False):
            terms[name] = photometric(shown, batch, background)
            if views.has_alpha and config.alpha > 0:
                terms[f"{name} alpha"] = config.alpha * alpha_error(shown, batch)
            if config.distortion > 0:
                terms[f"{name} distortion"] = config.distortion * shown.distortion.mean()
        if semantics is not None and semantics.due(step, config.steps):
            rays, target = semantics.draw(generator)
            # One weight for both networks, as in the published code.
            with torch.autocast(scene.device.type, torch.bfloat16, enabled=config.mixed_precision):
                colours = _picture(scene, rays)
            for name, colour in zip(("coarse", "fine"), colours, strict=False):
                terms[f"{name} semantic"] = config.semantic * semantics.loss(colour, target)
        return terms

    def after(scene: NeuralField, optimizer: Optimizer, step: int, generator: torch.Generator) -> None:
        if step + 1 in LOOKS and (problem := collapse_of(scene, views)):
            report(Note(f"step {step + 1}: {problem}, so it begins anew with other weights"))
            begin_anew(config, scene, optimizer, generator.initial_seed())

    return [
        Stage(
            name=config.preset,
            steps=config.steps,
            begin=begin,
            restore=lambda state: restore(config, state),
            optimizer=lambda scene: torch.optim.Adam(scene.parameters(), lr=lr),
            loss=loss,
            after=after,
            lr_factor=lambda step: DECAY ** (step / DECAY_STEPS),
            snapshots=10,
        )
    ]


def _picture(scene: NeuralField, rays: Rays) -> list[Tensor]:
    """Return the colours of many rays before white by each network, in memory that does not grow with them."""

    def part(origins: Tensor, directions: Tensor) -> tuple[Tensor, ...]:
        shown: list[Rendering] = scene.renderings(Rays(origins, directions))
        return tuple(rendering.on(torch.ones(1, 3)) for rendering in shown)

    pieces = []
    for first in range(0, len(rays.origins), CHUNK):
        span = slice(first, first + CHUNK)
        pieces.append(checkpoint(part, rays.origins[span], rays.directions[span], use_reentrant=False))
    return [torch.cat(column) for column in zip(*pieces, strict=True)]
