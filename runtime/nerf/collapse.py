"""Networks that have collapsed: fields that are all empty, all full, or fog before the cameras.

Some starts of a NeRF end so within the first steps and never leave; the thesis restarted such runs by hand (3.3).
"""

from typing import TYPE_CHECKING

import torch

from runtime.field.fields.neural import REACH, NeuralField
from runtime.field.pictures import look
from runtime.field.training_views import TrainingViews
from runtime.loop.adam import Optimizer
from runtime.nerf.fields import new_field

if TYPE_CHECKING:
    from runtime.nerf.config import Config

LOOKS = (500, 1000, 2000)
"""Steps after which a field is looked at; a collapsed one begins anew."""

SIDE = 24
"""Longest side, in pixels, of the picture that is looked at."""

EMPTY = 0.01
FULL = 0.99
NEAR = 0.1
"""Part of the rays' length, from their beginning, in which fog lies."""


def collapse_of(scene: NeuralField, views: TrainingViews) -> str | None:
    """Return in words how a field has collapsed, as the first picture's camera sees it, or None."""
    height, width = views.cameras.sizes[0].tolist()
    camera = views.cameras[0].scaled(min(1.0, SIDE / max(height, width)))
    view = look(scene.render, camera, samples=1)
    alpha = float(view.alpha.mean())
    if views.has_alpha:
        truth = float(views.picture(0)[..., 3].mean())
        if alpha < EMPTY < truth:
            return "the field is empty"
        if alpha > FULL > truth:
            return "the field is full"
    distance = float(camera.centres.norm())
    near = max(distance - REACH, 0.05)
    depth = float(view.depth.sum() / view.alpha.sum().clamp(min=1e-6))
    if alpha > FULL and depth < near + NEAR * 2 * REACH:
        return "fog lies before the cameras"
    return None


@torch.no_grad()
def begin_anew(config: "Config", scene: NeuralField, optimizer: Optimizer, seed: int) -> None:
    """Give a field new weights, drawn with a seed, and its optimizer no memory."""
    scene.load_state_dict(new_field(config, seed).state_dict())
    optimizer.state.clear()
