"""Marching cubes: the surface on which a grid of numbers has one level."""

import numpy as np
from jaxtyping import Float, Float32
from torch import Tensor

from runtime.errors import UserError
from runtime.field.meshes.shape import Mesh


def extract_surface(values: Float[Tensor, "N N N"], *, level: float, low: Float[Tensor, " 3"], side: float) -> Mesh:
    """Return the surface between what is above a level and what is below it, closed at the box's border.

    The whole grid is one call, so that there are no seams between parts of it.

    Args:
        values: at the nodes of a grid, from the box's lowest corner to its highest, axes x, y, z.
        level: the number that the surface has; inside is above it.
        low: the box's lowest corner.
        side: the box's side in world units.

    Raises:
        UserError: no value, or every value, is above the level.
    """
    from skimage.measure import marching_cubes

    array = values.detach().float().cpu().numpy()
    lowest, highest = float(array.min()), float(array.max())
    if not lowest < level < highest:
        raise UserError(
            f"the mesh's level {level:g}: expected one between the lowest and the highest value of the grid, "
            f"{lowest:g} and {highest:g}; the field is empty or full there"
        )
    # One more layer outside, so far below the level that the surface closes just before it.
    bottom = min(lowest, level - (highest - level))
    padded = np.pad(array, 1, constant_values=np.float32(bottom))
    vertices, faces, _, _ = marching_cubes(padded, level=level, allow_degenerate=False)
    spacing = side / (values.shape[0] - 1)
    corner = low.double().cpu().numpy()
    places = (corner + (vertices.astype(np.float64) - 1) * spacing).astype(np.float32)
    # scikit-image turns faces towards higher values by default; outside is lower here.
    return _outward(places, faces.astype(np.int64))


def _outward(vertices: Float32[np.ndarray, "P 3"], faces: np.ndarray) -> Mesh:
    """Return a mesh that encloses a positive volume."""
    corners = vertices.astype(np.float64)[faces]
    volume = (corners[:, 0] * np.cross(corners[:, 1], corners[:, 2])).sum()
    return Mesh(vertices, faces if volume >= 0 else np.ascontiguousarray(faces[:, ::-1]))
