"""A texture for a mesh: its surface is unwrapped into charts, and every texel asks for the colour of its point."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor

from runtime.field.meshes.shape import Mesh

Colour = Callable[[Float[Tensor, "P 3"]], Float[Tensor, "P 3"]]
"""RGB in [0, 1] of points in world coordinates."""

POINTS_A_CALL = 1 << 17
"""Points that a colour is asked of at once."""


@dataclass(frozen=True)
class TexturedMesh:
    """A mesh with a texture; vertices on seams appear once for each chart."""

    mesh: Mesh
    places: Float32[np.ndarray, "P 2"]
    """Place of each vertex in the texture, in [0, 1]; (0, 0) is its lower left corner."""
    texture: UInt8[np.ndarray, "H W 3"]
    """sRGB, the top row first."""
    colours: UInt8[np.ndarray, "P 3"]
    """sRGB of each vertex, for formats without textures."""


def bake(mesh: Mesh, colour: Colour, *, side: int = 1024) -> TexturedMesh:
    """Return the mesh with a texture of what a function says of its surface.

    Args:
        mesh: some ten thousand faces; unwrapping takes a second for each.
        colour: of points on the surface.
        side: height and width of the texture, pixels.
    """
    import xatlas

    atlas = xatlas.Atlas()
    atlas.add_mesh(mesh.vertices, mesh.faces.astype(np.uint32))
    pack = xatlas.PackOptions()
    pack.resolution, pack.padding, pack.bilinear = side, 2, True
    atlas.generate(pack_options=pack)
    rows, faces, places = atlas[0]
    rows, faces = np.asarray(rows, dtype=np.int64), np.asarray(faces, dtype=np.int64)
    unwrapped = Mesh(np.ascontiguousarray(mesh.vertices[rows]), faces)
    places = np.asarray(places, dtype=np.float32)
    texture = _texture(unwrapped, places, colour, side)
    return TexturedMesh(unwrapped, places, texture, _levels(_ask(colour, unwrapped.vertices)))


def _texture(mesh: Mesh, places: Float32[np.ndarray, "P 2"], colour: Colour, side: int) -> UInt8[np.ndarray, "H W 3"]:
    """Return the texture: each texel that a face covers has its point's colour, others that of the nearest such one."""
    from scipy.ndimage import distance_transform_edt

    owner, weights = texel_faces(places, mesh.faces, side)
    covered = owner >= 0
    if not covered.any():
        return np.full((side, side, 3), 128, np.uint8)
    corners = mesh.vertices[mesh.faces[owner[covered]]]
    points = (corners * weights[covered][:, :, None]).sum(1)
    colours = np.zeros((side, side, 3), np.uint8)
    colours[covered] = _levels(_ask(colour, points))
    # Filters read beyond a chart's border: there, too, must be its colour.
    nearest = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    assert nearest is not None
    return np.ascontiguousarray(colours[nearest[0], nearest[1]])


def texel_faces(
    places: Float32[np.ndarray, "P 2"], faces: Int64[np.ndarray, "F 3"], side: int
) -> tuple[Int64[np.ndarray, "S S"], Float32[np.ndarray, "S S 3"]]:
    """Return the face on which the middle of each texel lies, -1 for none, and its barycentric weights there.

    Rows go from the top of the texture, where the second coordinate is 1.
    """
    corner = places.astype(np.float64)[faces] * side
    corner[..., 1] = side - corner[..., 1]
    # All texels in the bounding boxes of all faces, in one list: face by face, row by row.
    low = np.clip(np.floor(corner.min(1) - 0.5), 0, side).astype(np.int64)
    high = np.clip(np.ceil(corner.max(1) + 0.5), 0, side).astype(np.int64)
    width, height = (high - low).T
    count = width * height
    face = np.repeat(np.arange(len(faces)), count)
    inside = np.arange(len(face)) - np.repeat(np.cumsum(count) - count, count)
    x = low[face, 0] + inside % np.maximum(width[face], 1)
    y = low[face, 1] + inside // np.maximum(width[face], 1)
    weights, covers = _barycentric(corner[face], np.stack([x + 0.5, y + 0.5], 1))
    owner = np.full((side, side), -1, np.int64)
    shares = np.zeros((side, side, 3), np.float32)
    # Where faces share an edge the later one wins, always the same.
    owner[y[covers], x[covers]] = face[covers]
    shares[y[covers], x[covers]] = weights[covers]
    return owner, shares


def _barycentric(corner: np.ndarray, point: np.ndarray) -> tuple[Float[np.ndarray, "K 3"], Bool[np.ndarray, " K"]]:
    """Return barycentric weights of points in triangles, and whether they lie inside."""
    a, b, c = corner[:, 0], corner[:, 1], corner[:, 2]

    def cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]

    area = cross(b - a, c - a)
    flat = np.abs(area) < 1e-12
    safe = np.where(flat, 1.0, area)
    weights = np.stack([cross(b - point, c - point), cross(c - point, a - point), cross(a - point, b - point)], 1)
    weights = weights / safe[:, None]
    return weights, ~flat & (weights >= -1e-9).all(1)


def _ask(colour: Colour, points: Float32[np.ndarray, "K 3"]) -> Float32[np.ndarray, "K 3"]:
    """Return a function's colours, a limited number of points at once."""
    parts = torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32)).split(POINTS_A_CALL)
    with torch.no_grad():
        return torch.cat([colour(part).float() for part in parts]).clamp(0, 1).numpy()


def _levels(colours: Float32[np.ndarray, "K 3"]) -> UInt8[np.ndarray, "K 3"]:
    return np.rint(colours * 255).astype(np.uint8)
