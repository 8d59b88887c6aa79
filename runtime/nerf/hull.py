"""The visual hull of a capture: places that its photos show to be empty (Laurentini, PAMI 1994)."""

import torch
from jaxtyping import Bool
from torch import Tensor

from runtime.errors import UserError
from runtime.field.cameras import Cameras
from runtime.field.fields.grid import EMPTY, DenseGrid
from runtime.field.fields.lookup import silhouettes
from runtime.field.training_views import TrainingViews
from runtime.nerf.scenes import BOX

NOTHING = EMPTY - 8
"""Raw density of a node outside the hull: no interval between such nodes shows anything."""


def check_alpha(has_alpha: bool, option: str) -> None:
    """Raise `UserError` where an option needs pictures that are transparent where the object is not."""
    if not has_alpha:
        raise UserError(f"{option}: expected pictures with alpha, which say where the object is, got none; cut it out")


def outside_hull(views: TrainingViews, size: int) -> Bool[Tensor, "N N N"]:
    """Return the nodes of a grid in the scene's box that are outside the visual hull, or that no picture shows.

    A node is outside where it falls on a pixel of some picture that is empty and has no neighbour that is not: by the
    pixel in between the object may be missed. What lies beyond a picture's border that picture says nothing of.

    Args:
        views: pictures with alpha.
        size: nodes along an axis.
    """
    axes = [torch.linspace(low, low + BOX[3], size) for low in BOX[:3]]
    nodes = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).view(-1, 3)
    shown = torch.zeros(len(nodes), dtype=torch.bool)
    empty = torch.zeros(len(nodes), dtype=torch.bool)
    for view in range(len(views)):
        # Only what no picture has ruled out: with each picture there is less to look at.
        rows = (~empty).nonzero()[:, 0]
        within, place = _pixels(views.cameras[view], nodes[rows])
        shown[rows] |= within
        free = ~_may_hold(views, view)
        empty[rows] = within & free[place[:, 1], place[:, 0]]
    return (empty | ~shown).view(size, size, size)


def _pixels(camera: Cameras, points: Tensor) -> tuple[Bool[Tensor, " P"], Tensor]:
    """Return whether points fall into the one camera's picture, and column and row of their pixels, within it."""
    at, depth = camera.project(points)
    last = camera.sizes[0].flip(0) - 1
    cell = at[0].floor()
    within = (depth[0] > 0) & (cell >= 0).all(1) & (cell <= last).all(1)
    # What is behind the camera or far beyond the border may be no number that an index takes.
    return within, torch.where(within[:, None], cell, 0).long()


def _may_hold(views: TrainingViews, view: int) -> Bool[Tensor, "H W"]:
    """Return the pixels of a picture in or beside the object's silhouette, and those that do not count."""
    mask = silhouettes(views.picture(view).permute(2, 0, 1)[None])[0]
    if views.valid is None:
        return mask
    first = int(views.firsts[view])
    return mask | ~views.valid[first : first + mask.numel()].view(mask.shape)


@torch.no_grad()
def hold_empty(scene: DenseGrid, outside: Bool[Tensor, "N N N"]) -> None:
    """Empty some nodes of a grid, and mark the cells that hold something."""
    scene.values[..., 0, 0].masked_fill_(outside, NOTHING)
    scene.update_occupancy()
