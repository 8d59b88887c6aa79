"""Meshes: from a grid of densities to a file with a texture.

mesh = extract_surface(raw, level=0.0, low=low, side=2.0)
mesh = simplify(smooth(keep_pieces(mesh), iterations=10), faces=20000)
textured = bake(mesh, colour=lambda points: field_colour(points), side=1024)
write_mesh(Path("model.glb"), textured)
"""

from runtime.field.meshes.bake import TexturedMesh, bake
from runtime.field.meshes.shape import Mesh, Report, describe
from runtime.field.meshes.simplify import keep_pieces, simplify
from runtime.field.meshes.smooth import smooth
from runtime.field.meshes.surface import extract_surface
from runtime.field.meshes.write import write_mesh

__all__ = [
    "Mesh",
    "Report",
    "TexturedMesh",
    "bake",
    "describe",
    "extract_surface",
    "keep_pieces",
    "simplify",
    "smooth",
    "write_mesh",
]
