"""Triangle meshes and what is measured of them: closed or not, pieces, volume, area, genus."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


@dataclass(frozen=True)
class Mesh:
    """Triangles; seen from outside, their corners go counterclockwise."""

    vertices: Float32[np.ndarray, "P 3"]
    """Corners in world coordinates."""
    faces: Int64[np.ndarray, "F 3"]
    """Three vertices each."""

    def __len__(self) -> int:
        return len(self.faces)


@dataclass(frozen=True)
class Report:
    """What `describe` returns; all lengths in world units."""

    vertices: int
    faces: int
    pieces: int
    """Parts that no edge connects."""
    watertight: bool
    """Whether every edge belongs to exactly two faces, which pass it in opposite directions."""
    genus: int | None
    """Holes as a torus has one, of all pieces together; None where it is not watertight."""
    volume: float
    """Enclosed volume; means nothing where it is not watertight."""
    area: float
    """Of the surface."""

    def line(self) -> str:
        """Return it in words."""
        closed = "watertight" if self.watertight else "not watertight"
        pieces = "1 piece" if self.pieces == 1 else f"{self.pieces} pieces"
        return f"{self.faces} faces, {pieces}, {closed}, volume {self.volume:.3g}"

    def to_json(self) -> dict[str, Any]:
        """Return it by name."""
        return dict(vars(self))


def describe(mesh: Mesh) -> Report:
    """Return counts, volume (by the divergence theorem) and area of a mesh."""
    corners = mesh.vertices.astype(np.float64)[mesh.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    volume = float((corners[:, 0] * normal).sum() / 6)
    watertight, edges = _edges(mesh)
    count = int(piece_of_vertices(mesh).max(initial=-1)) + 1
    used = len(np.unique(mesh.faces))
    # Euler: vertices - edges + faces is 2 for each piece less twice its genus.
    genus = count - (used - edges + len(mesh)) // 2 if watertight and len(mesh) else None
    return Report(
        vertices=used,
        faces=len(mesh),
        pieces=count,
        watertight=watertight,
        genus=genus,
        volume=volume,
        area=float(np.linalg.norm(normal, axis=1).sum() / 2),
    )


def _edges(mesh: Mesh) -> tuple[bool, int]:
    """Return whether the mesh is closed and oriented, and its number of edges."""
    ways = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    size = len(mesh.vertices)
    there, back = ways[:, 0] * size + ways[:, 1], ways[:, 1] * size + ways[:, 0]
    unique = np.unique(there)
    closed = len(unique) == len(there) and np.array_equal(unique, np.unique(back))
    return closed and len(mesh) > 0, len(np.unique(np.minimum(there, back)))


def piece_of_vertices(mesh: Mesh) -> Int64[np.ndarray, " P"]:
    """Return the number of each vertex' piece, from 0; -1 where no face uses it."""
    size = len(mesh.vertices)
    rows = np.concatenate([mesh.faces[:, 0], mesh.faces[:, 1]])
    columns = np.concatenate([mesh.faces[:, 1], mesh.faces[:, 2]])
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(size, size))
    labels = connected_components(graph, directed=False)[1]
    used = np.unique(mesh.faces)
    numbers = np.full(size, -1, np.int64)
    # Numbered in the order of their first vertex, so that the numbers do not depend on the library.
    first = np.unique(labels[used], return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first[1], kind="stable"), kind="stable")
    numbers[used] = order[first[2]]
    return numbers


def compact(mesh: Mesh) -> Mesh:
    """Return the mesh without vertices that no face uses."""
    used = np.unique(mesh.faces)
    rows = np.zeros(len(mesh.vertices), np.int64)
    rows[used] = np.arange(len(used))
    return Mesh(np.ascontiguousarray(mesh.vertices[used]), rows[mesh.faces])


def vertex_normals(mesh: Mesh) -> Float32[np.ndarray, "P 3"]:
    """Return unit normals at the vertices, weighted by the area of the faces around."""
    corners = mesh.vertices.astype(np.float64)[mesh.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sums = np.zeros((len(mesh.vertices), 3))
    for corner in range(3):
        np.add.at(sums, mesh.faces[:, corner], normal)
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    upright = np.array([0.0, 0.0, 1.0])
    return np.where(length > 1e-20, sums / np.maximum(length, 1e-20), upright).astype(np.float32)
