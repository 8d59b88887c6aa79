"""A field that a network guesses from posed pictures (pixelNeRF, arXiv:2012.02190), and a grid that is read from it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from runtime.field.fields.grid import EMPTY, DenseGrid
from runtime.field.fields.lookup import features_at, inside, places, silhouettes
from runtime.field.march import EXTENT

if TYPE_CHECKING:
    from runtime.engines.bundle import PixelNeRFBundle

BOX = (-1.0, -1.0, -1.0, 2.0)
"""Lowest corner and side of the cube around the unit ball."""

POINTS_A_CALL = 1 << 15
"""Points that the network is asked of at once."""

PLANES = 16
"""Planes of nodes that the network is asked of at once."""

OPAQUE = 12.0
"""Greatest raw density: more is not seen, and would make the surface ragged."""


Lens = tuple[float, float] | tuple[Float[Tensor, "V 1"], Float[Tensor, "V 1"]]
"""Focal length in parts of the picture's side and distance from the object's centre, of all cameras or of each."""


def guess(
    bundle: "PixelNeRFBundle",
    pictures: Float[Tensor, "V 4 S S"],
    poses: Float[Tensor, "V 4 4"],
    lens: Lens | None = None,
) -> "ConditionedField":
    """Return the field that a bundle's network guesses.

    Args:
        bundle: the networks.
        pictures: premultiplied RGBA of one object, at the network's size.
        poses: where each was taken from, camera-to-world; they look at the object's centre.
        lens: of the cameras, in radii of the object's ball; by default the manifest's, which trained the network.
    """
    manifest = bundle.manifest
    features = bundle.engine("picture_encoder")(pictures)[0]
    lens = (manifest.focal, manifest.distance) if lens is None else lens
    return ConditionedField(bundle.engine("field"), features, silhouettes(pictures), poses, lens=lens)


class ConditionedField:
    """The network's field for some pictures: densities and colours of points in the world."""

    def __init__(
        self,
        engine: Callable[..., tuple[Tensor, ...]],
        features: Float[Tensor, "V S S D"],
        masks: Bool[Tensor, "V S S"],
        poses: Float[Tensor, "V 4 4"],
        *,
        lens: Lens,
    ) -> None:
        """Hold the engine of the field and what pictures give: features, silhouettes, where their cameras stand."""
        self.engine, self.features, self.masks, self.poses, self.lens = engine, features, masks, poses, lens

    def __call__(self, points: Float[Tensor, "P 3"]) -> Float[Tensor, "P 4"]:
        """Return densities per world unit and colours; nothing is outside the unit ball or a silhouette."""
        values = torch.zeros(len(points), 4)
        # Rows times a rotation: by its transpose, from the world's axes to the camera's.
        local = points @ self.poses[:, :3, :3]
        at = places(local, *self.lens)
        pictures = torch.arange(len(at))[:, None].expand(at.shape[:2])
        # The network is asked of few nodes only: most of the cube is outside the silhouettes' cones, and it never
        # learnt of what is there.
        seen = inside(self.masks, pictures.reshape(-1), at.flatten(0, 1)).view(pictures.shape).all(0)
        rows = (seen & (points.square().sum(1) <= 1)).nonzero()[:, 0]
        for part in rows.split(POINTS_A_CALL) if len(rows) else ():
            number, place = pictures[:, part].reshape(-1), at[:, part].flatten(0, 1)
            features = features_at(self.features, number, place).view(len(at), len(part), -1)
            both = features.transpose(0, 1).contiguous(), local[:, part].transpose(0, 1).contiguous()
            values[part] = self.engine(*both)[0]
        return values


def read_grid(field: ConditionedField, nodes: int) -> DenseGrid:
    """Return a field as a grid around the unit ball, with so many nodes along an axis."""
    scene = DenseGrid.empty(nodes, torch.tensor(BOX))
    for first in range(0, nodes, PLANES):
        fill_planes(scene, field, first, min(first + PLANES, nodes))
    scene.update_occupancy()
    return scene


def fill_planes(scene: DenseGrid, field: ConditionedField, first: int, end: int) -> None:
    """Write a field's densities and colours into the planes [first, end) of a grid, in place.

    Where there is no density the colour is that of the nearest node along its axes that has one, so that
    interpolation at a surface does not darken it.
    """
    axis = torch.linspace(-1, 1, scene.size)
    planes = torch.meshgrid(axis[first:end], axis, axis, indexing="ij")
    values = field(torch.stack(planes, dim=-1).reshape(-1, 3)).view(end - first, scene.size, scene.size, 4)
    # The grid's unit of length is the box's side over EXTENT.
    density = values[..., 0] * scene.side / EXTENT
    # The inverse of softplus, log(e^x - 1), without the power that overflows for a large density.
    raw = torch.where(density > 1e-6, density + torch.log(-torch.expm1(-density.clamp(min=1e-6))), EMPTY - 8)
    with torch.no_grad():
        scene.values[first:end, ..., 0, 0] = raw.clamp(max=OPAQUE)
        scene.values[first:end, ..., 0, 1:] = spread_colours(values[..., 1:], values[..., 0] > 0)


def spread_colours(
    colours: Float[Tensor, "A N N 3"], solid: Bool[Tensor, "A N N"], times: int = 2
) -> Float[Tensor, "A N N 3"]:
    """Return colours, those of nodes without one replaced by the mean of their neighbours', some nodes far."""
    weight = solid.float()[:, None]
    values = (colours * solid[..., None]).permute(0, 3, 1, 2)
    for _ in range(times):
        near = torch.nn.functional.avg_pool2d(torch.cat([values, weight], 1), 3, stride=1, padding=1)
        # Only what has no colour yet, so that colours spread outwards and never mix within the object.
        fresh = (weight == 0) & (near[:, 3:] > 0)
        values = torch.where(fresh, near[:, :3] / near[:, 3:].clamp(min=1e-9), values)
        weight = torch.where(fresh, 1.0, weight)
    return values.permute(0, 2, 3, 1)
