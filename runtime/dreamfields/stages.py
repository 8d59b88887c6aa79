"""The one stage of `runtime.dreamfields`: a scene is optimized until an image-text encoder sees the prompt in it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.dreamfields.scenes import (
    draw_camera,
    lr_factor,
    new_scene,
    optimizer_of,
    regularity,
    restored,
    see,
)
from runtime.field.backgrounds import draw_backgrounds
from runtime.field.fields.grid import DenseGrid
from runtime.field.fields.residual import ResidualField
from runtime.field.sparsity import WEIGHTS, objective, target_transmittance
from runtime.guidance.augment import resized_crops
from runtime.loop.adam import Optimizer
from runtime.loop.events import Report
from runtime.loop.optimize import Stage
from runtime.loop.scene import Scene

if TYPE_CHECKING:
    from runtime.dreamfields.config import Config
    from runtime.engines.bundle import DiffusionBundle
    from runtime.loop.folder import RunFolder

DECAY = 0.999
"""Of the moving average of the object's centre of mass (thesis 10.3)."""

OCCUPANCY_EVERY = 25
"""Steps between two looks at which cells of a grid are empty."""

OCCUPANCY_FROM = 0.5
"""Part of the run after which empty cells are left out: before it, an object may still grow where nothing is."""


def build(
    config: "Config",
    bundle: "DiffusionBundle",
    generator: torch.Generator,
    *,
    run: "RunFolder | None" = None,
    report: Report = lambda event: None,
) -> list[Stage]:
    """Return the stages of a configuration; see `runtime.command.method.Method.build`."""

    def after(scene: Scene, optimizer: Optimizer, step: int, generator: torch.Generator) -> None:
        if isinstance(scene, DenseGrid):
            due = step >= OCCUPANCY_FROM * config.steps and step % OCCUPANCY_EVERY == OCCUPANCY_EVERY - 1
            # At the end as well: what is written of the grid should not hold cells that became empty.
            if due or step == config.steps - 1:
                scene.update_occupancy()
        if isinstance(scene, ResidualField) and config.track_origin:
            # After the update, so that the next camera looks at what is there then. Its few random places are noisy;
            # the average smooths them over a thousand steps.
            scene.origin.lerp_(scene.centre_of_mass(generator).to(scene.origin.device), 1 - DECAY)

    return [
        Stage(
            name="dream",
            steps=config.steps,
            begin=lambda before, generator: new_scene(config, generator, bundle.device),
            restore=lambda state: restored(config, state, bundle.device),
            optimizer=lambda scene: optimizer_of(config, scene),
            loss=loss_of(config, bundle),
            lr_factor=lr_factor(config),
            after=after,
            snapshots=min(8, config.steps),
        )
    ]


def loss_of(config: "Config", bundle: "DiffusionBundle") -> Callable[[Scene, int, torch.Generator], dict[str, Tensor]]:
    """Return the loss of a step: the text's cosine from some places, emptiness, regularity (thesis Eq. 4.7 to 4.11)."""
    guide = bundle.guide(config.prompt, gradients="auto")
    size = bundle.embedder_size
    weight = WEIGHTS.get(config.sparsity, 0.0) if config.sparsity_weight is None else config.sparsity_weight

    def loss(scene: Scene, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        seen, passed, targets = [], [], []
        for _ in range(config.views):
            camera = draw_camera(config, generator)
            colour, transmittance = see(config, scene, camera, generator)
            seen.append(augmented(config, colour, transmittance, size, generator))
            passed.append(transmittance.flatten())
            first, last = config.tau
            place = {"focal": camera.focal, "distance": camera.distance}
            # A nearer or longer lens shows the object larger, so less of the background should be seen.
            targets.append(target_transmittance(step, first=first, last=last, steps=config.tau_steps, **place))
        clip = -guide(torch.cat(seen)).mean()  # thesis Eq. 4.7
        target = sum(targets) / len(targets)
        terms = objective(config.sparsity, clip, torch.cat(passed), target=target, weight=weight)
        return {**terms, **regularity(config, scene, generator)}

    return loss


def augmented(
    config: "Config",
    colour: Float[Tensor, "3 N N"],
    transmittance: Float[Tensor, "N N"],
    size: int,
    generator: torch.Generator,
) -> Float[Tensor, "B 3 {size} {size}"]:
    """Return random crops of a picture, each before a background of its own.

    The published code multiplies colours by alpha once more here, although volume rendering has: not copied.
    """
    # Cropped together, so that each crop has the transmittance of its own pixels.
    both = torch.cat([colour, transmittance[None]]).expand(config.crops, -1, -1, -1)
    parts = resized_crops(both, size, generator, share=config.crop)
    behind = draw_backgrounds(config.background, config.crops, size, generator)
    # Rounding may carry a composite past 1 by a millionth; encoders take [0, 1].
    return (parts[:, :3] + parts[:, 3:] * behind).clamp(0, 1)


def validate(config: "Config", bundle: "DiffusionBundle") -> None:
    """Raise `UserError` where the bundle has no image-text encoder, or the text is too long for it."""
    bundle.guide(config.prompt, gradients="auto")
