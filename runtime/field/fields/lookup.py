"""Points in pictures: where they fall, what features are there, and whether the silhouette rules them out.

All pictures have one pinhole camera of focal length f (in units of the picture's side) that stands at `distance` and
looks at the object's centre, as in the set of objects. With (x, y, z) a point in the camera's axes around that centre,
its place in the picture, in units of its side, is (.5 + f x / (distance - z), .5 - f y / (distance - z)).
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

FOCAL = 247.871 / 128
"""Focal length over the picture's side: the unit ball just fits."""

DISTANCE = 4.0
"""Distance of the cameras from the object's centre."""


Number = float | Float[Tensor, "V 1"]
"""One for all pictures, or one for each."""


def places(local: Float[Tensor, "*B 3"], focal: Number = FOCAL, distance: Number = DISTANCE) -> Float[Tensor, "*B 2"]:
    """Return where points in a camera's axes fall, in units of the picture's side.

    Args:
        local: the points; those of V pictures have the shape (V, P, 3).
        focal: focal length in units of the picture's side.
        distance: of the camera from the origin of its axes.
    """
    depth = distance - local[..., 2]
    return torch.stack([0.5 + focal * local[..., 0] / depth, 0.5 - focal * local[..., 1] / depth], dim=-1)


def silhouettes(pictures: Float[Tensor, "N 4 H W"]) -> Bool[Tensor, "N H W"]:
    """Return where an object may be: its silhouette, grown by a pixel for the sake of bilinear features."""
    return F.max_pool2d(pictures[:, 3:], 3, stride=1, padding=1)[:, 0] > 0.02


def inside(mask: Bool[Tensor, "N H W"], picture: Int64[Tensor, " P"], at: Float[Tensor, "P 2"]) -> Bool[Tensor, " P"]:
    """Return whether places lie in the silhouettes of their pictures."""
    side = mask.shape[-1]
    cell = (at * side).floor().long()
    ok = ((cell >= 0) & (cell < side)).all(1)
    cell = cell.clamp(0, side - 1)
    return ok & mask[picture, cell[:, 1], cell[:, 0]]


def features_at(
    features: Float[Tensor, "N H W D"], picture: Int64[Tensor, " P"], at: Float[Tensor, "P 2"]
) -> Float[Tensor, "P D"]:
    """Return bilinear features at places of pictures, with those of the border beyond it."""
    side, width = features.shape[1], features.shape[3]
    cell = (at * side - 0.5).clamp(0, side - 1)
    # At the far border the cell before it, with a weight of 1 for its end: there is no row beyond.
    low = cell.floor().clamp(max=side - 2)
    part = cell - low
    first = (picture * side + low[:, 1].long()) * side + low[:, 0].long()
    rows = torch.stack([first, first + 1, first + side, first + side + 1], dim=1)
    x, y = part[:, 0], part[:, 1]
    weights = torch.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y], dim=1)
    # A bag of four rows with weights: the fastest bilinear lookup of many channels on a CPU, in both directions.
    table = features.reshape(-1, width)
    return F.embedding_bag(rows, table, mode="sum", per_sample_weights=weights.to(table.dtype))
