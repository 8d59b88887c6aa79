"""Smoother surfaces of the same volume."""

import numpy as np

from runtime.field.meshes.shape import Mesh

LAMBDA, NU = 0.5, 0.53
"""Weights of Taubin's two moves, inwards and back out: bumps shrink, and what is larger stays as it is."""


def smooth(mesh: Mesh, iterations: int) -> Mesh:
    """Return the mesh without bumps of the size of its faces, by Taubin's filter, which hardly shrinks it.

    A field that is fitted to few pictures has bumps from node to node that no picture shows; as a shell they are what a
    lamp shows first (Taubin, A Signal Processing Approach to Fair Surface Design, 1995).

    Args:
        mesh: of vertices that faces share.
        iterations: pairs of moves, in and out, at least 0.
    """
    import trimesh
    from trimesh.smoothing import filter_taubin

    # Twice as many: each of its iterations is one of the two moves.
    shell = trimesh.Trimesh(mesh.vertices.astype(np.float64), mesh.faces, process=False, validate=False)
    filter_taubin(shell, lamb=LAMBDA, nu=NU, iterations=2 * iterations)
    return Mesh(np.asarray(shell.vertices, dtype=np.float32), mesh.faces)
