"""Fields that have collapsed: they are all empty, all full, or fog before the cameras.

Some starts of a NeRF end so within the first steps and never leave; the thesis restarted such runs by hand (3.3).
Networks begin anew with other weights. Grids have no random weights: they begin anew with another fog, denser where the
field has become empty and thinner where it has become full.
"""

from typing import TYPE_CHECKING

import torch

from runtime.field.cameras import Cameras, box_span, pixel_centres
from runtime.field.fields.grid import DenseGrid
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

IS_EMPTY = "the field is empty"
IS_FULL = "the field is full"
IS_FOG = "fog lies before the cameras"

DENSER = -1.0
THINNER = -7.0
"""Raw densities of the fogs that a grid begins anew with; its first one is `runtime.field.fields.grid.EMPTY`."""


def collapse_of(scene: NeuralField | DenseGrid, views: TrainingViews) -> str | None:
    """Return in words how a field has collapsed, as the first picture's camera sees it, or None."""
    height, width = views.cameras.sizes[0].tolist()
    camera = views.cameras[0].scaled(min(1.0, SIDE / max(height, width)))
    view = look(scene.render, camera, samples=1)
    share, near, far = _reached(scene, camera)
    alpha = float(view.alpha.mean())
    if views.has_alpha:
        truth = float(views.picture(0)[..., 3].mean())
        if alpha < EMPTY < truth:
            return IS_EMPTY
        if alpha > FULL * share > truth:
            return IS_FULL
    depth = float(view.depth.sum() / view.alpha.sum().clamp(min=1e-6))
    if alpha > FULL * share > 0 and depth < near + NEAR * (far - near):
        return IS_FOG
    return None


def _reached(scene: NeuralField | DenseGrid, camera: Cameras) -> tuple[float, float, float]:
    """Return the share of a camera's rays that meet the field, and where they enter and leave it on average."""
    if isinstance(scene, NeuralField):
        distance = float(camera.centres.norm())
        return 1.0, max(distance - REACH, 0.05), distance + REACH
    enter, leave = box_span(camera.rays(0, pixel_centres(*camera.sizes[0].tolist())))
    hits = leave > enter
    if not hits.any():
        return 0.0, 0.0, 0.0
    return float(hits.float().mean()), float(enter[hits].mean()), float(leave[hits].mean())


@torch.no_grad()
def begin_anew(config: "Config", scene: NeuralField, optimizer: Optimizer, seed: int) -> None:
    """Give a field new weights, drawn with a seed, and its optimizer no memory."""
    scene.load_state_dict(new_field(config, seed).state_dict())
    optimizer.state.clear()


@torch.no_grad()
def fog_again(scene: DenseGrid, optimizer: Optimizer, problem: str) -> None:
    """Give a grid another fog, and its optimizer no memory.

    Args:
        scene: the grid.
        optimizer: its own.
        problem: what `collapse_of` says.
    """
    density = DENSER if problem == IS_EMPTY else THINNER
    fresh = DenseGrid.empty(scene.size, scene.box, degree=int(scene.values.shape[3] > 1), density=density)
    scene.load_state_dict(fresh.state_dict())
    scene.derive()
    optimizer.state.clear()
