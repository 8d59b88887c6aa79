"""The loss of a step: distillation of one picture, and what keeps the field a solid."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from runtime.dreamfusion.looks import draw_look, seen
from runtime.dreamfusion.teacher import Teacher
from runtime.field.lifting.hull import hull_of
from runtime.field.opacity import entropy_and_misplaced, opacity_penalty
from runtime.field.shading import orientation_penalty

if TYPE_CHECKING:
    from runtime.dreamfusion.config import Config

RAMP = 1 / 3
"""Part of the steps in which the weight of the orientation grows: the paper's 5,000 of 15,000."""

RAMP_FROM = 0.01
"""Its first weight in parts of its last: the paper's 1e-4 of 1e-2."""

SOLID_FROM = 0.3
"""Part of the steps without the term of solidity: while a shape is carved out of a ball, what is white inside an
outline may be on its way out, and would stay for good: a white web between the arms of a cactus."""


def terms_of(
    config: "Config", teacher: Teacher, scene: Any, progress: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """Return the terms of a step, each weighted.

    Args:
        config: their weights.
        teacher: judges the picture.
        scene: what is looked at, see `looks.Shows`.
        progress: part of the run that is over, in [0, 1).
        generator: of all draws.
    """
    look = draw_look(config, progress, generator)
    rays = look.rays()
    side = config.render
    size = teacher.enlarges_to(side, progress)
    picture, shown = seen(scene, look, rays, normals=config.orientation > 0, size=size)
    terms = {"sds": teacher.loss(picture, look, progress, generator)}
    if config.orientation > 0:
        ramp = RAMP_FROM + (1 - RAMP_FROM) * min(1.0, progress / RAMP)
        terms["orientation"] = config.orientation * ramp * orientation_penalty(shown, rays)
    if config.opacity > 0:
        terms["opacity"] = config.opacity * opacity_penalty(shown.alpha)
    solid = config.solid > 0 and progress >= SOLID_FROM
    if config.entropy > 0 or solid:
        hull = None
        if solid:
            # Of the colours before white, whatever light and background the teacher sees.
            bare = shown.on(torch.ones(1, 3)).detach().clamp(0, 1)
            hull = hull_of(bare.T.reshape(3, side, side))
        entropy, place = entropy_and_misplaced(shown.transmittance, hull)
        if config.entropy > 0:
            terms["entropy"] = config.entropy * entropy
        if solid:
            terms["solid"] = config.solid * place
    if config.distortion > 0:
        terms["distortion"] = config.distortion * shown.distortion.mean()
    return terms
