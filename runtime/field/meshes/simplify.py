"""Fewer pieces and fewer faces."""

import numpy as np

from runtime.field.meshes.shape import Mesh, compact, describe, piece_of_vertices


def keep_pieces(mesh: Mesh, share: float = 0.02) -> Mesh:
    """Return the mesh without pieces whose surface is less than a share of the largest one's: floaters.

    Args:
        mesh: of any number of pieces.
        share: in [0, 1]; 1 keeps the largest piece alone, 0 keeps all.
    """
    piece = piece_of_vertices(mesh)[mesh.faces[:, 0]]
    corners = mesh.vertices.astype(np.float64)[mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    areas = np.bincount(piece, weights=area)
    keep = areas >= share * areas.max()
    return compact(Mesh(mesh.vertices, mesh.faces[keep[piece]]))


AGGRESSIVENESS = (7, 5, 3, 1)
"""How fast the threshold of a collapse grows: fast first. Each takes other edges, and some of them tear the surface."""


def simplify(mesh: Mesh, faces: int) -> Mesh:
    """Return the mesh with about so many faces, by collapsing edges where that changes the surface least.

    A mesh of fewer faces stays as it is. One that is watertight stays so: where collapsing would tear it, it is
    returned with more faces, or as it came (quadric error metric; Garland and Heckbert, 1997).
    """
    if len(mesh) <= faces:
        return mesh
    closed = describe(mesh).watertight
    simpler = mesh
    for aggressiveness in AGGRESSIVENESS:
        simpler = _collapse(mesh, faces, aggressiveness)
        if not closed or describe(simpler).watertight:
            return simpler
    return mesh


def _collapse(mesh: Mesh, faces: int, aggressiveness: int) -> Mesh:
    from fast_simplification import simplify as collapse

    triangles = mesh.faces.astype(np.int32)
    vertices, triangles, *_ = collapse(mesh.vertices, triangles, target_count=max(faces, 4), agg=aggressiveness)
    triangles = np.asarray(triangles, dtype=np.int64)
    # Collapsed faces may be left over with two equal corners.
    whole = (triangles[:, [0, 1, 2]] != triangles[:, [1, 2, 0]]).all(1)
    return compact(Mesh(np.asarray(vertices, dtype=np.float32), triangles[whole]))
