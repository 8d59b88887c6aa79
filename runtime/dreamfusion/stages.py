"""The stages of `runtime.dreamfusion`: a field from nothing, by score distillation."""

from typing import TYPE_CHECKING

import torch

from runtime.dreamfusion.grid_stages import grid_stages
from runtime.dreamfusion.network_stages import network_stages
from runtime.dreamfusion.teacher import Teacher, encoded
from runtime.engines.bundle.ddpm import DdpmBundle
from runtime.errors import UserError
from runtime.guidance.schedule import Schedule
from runtime.loop.events import Note, Report
from runtime.loop.optimize import Stage

if TYPE_CHECKING:
    from runtime.dreamfusion.config import Config
    from runtime.dreamfusion.teacher import Networks
    from runtime.loop.folder import RunFolder


def build(
    config: "Config",
    bundle: "Networks",
    generator: torch.Generator,
    *,
    run: "RunFolder | None" = None,
    report: Report = lambda event: None,
) -> list[Stage]:
    """Return the stages of a configuration; see `runtime.command.method.Method.build`."""
    if isinstance(bundle, DdpmBundle):
        report(Note(f"bundle '{bundle.name}' reads no texts: the prompt names the files, and --omega changes nothing"))
    return stages_of(config, Teacher.of(config, bundle, generator), bundle.device)


def stages_of(config: "Config", teacher: Teacher, device: str) -> list[Stage]:
    """Return the stages of a preset; networks are trained on a device, a grid is on the CPU."""
    return grid_stages(config, teacher) if config.preset == "fast" else network_stages(config, teacher, device)


def validate(config: "Config", bundle: "Networks") -> None:
    """Raise `UserError` where the bundle can't do what is asked: a text that is too long, no gradients."""
    Schedule.of(bundle.schedule)
    encoded(config, bundle)
    if config.target_every and (isinstance(bundle, DdpmBundle) or bundle.in_pixels):
        raise UserError(
            f"--target-every {config.target_every}: expected a bundle with an autoencoder, got {bundle.name!r}; take "
            "another bundle, or --target-every 0"
        )
    if not isinstance(bundle, DdpmBundle):
        bundle.latent_encoder(gradients="auto")
