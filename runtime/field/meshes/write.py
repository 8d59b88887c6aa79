"""Mesh files: GLB and OBJ with a texture, PLY with colours at the vertices.

The world's +z is up. GLB has +y up, as its format demands: (x, y, z) is written as (x, z, -y). OBJ and PLY, which have
no such rule, hold the world's coordinates.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from runtime.errors import UserError
from runtime.field.meshes.bake import TexturedMesh
from runtime.field.meshes.shape import Mesh, vertex_normals
from runtime.files import replace_file

SUFFIXES = (".glb", ".obj", ".ply")
"""Endings of files that can be written."""


def write_mesh(path: Path, textured: TexturedMesh) -> list[Path]:
    """Write a mesh in the format of a file's ending; return the files, `path` first.

    Raises:
        UserError: the ending is another one, or a file cannot be written.
    """
    contents = files_of(path, textured)
    try:
        for file, content in contents.items():
            replace_file(file, content)
    except OSError as error:
        raise UserError(f"cannot write '{path}': {error.strerror}; choose another folder or name") from None
    return list(contents)


def files_of(path: Path, textured: TexturedMesh) -> dict[Path, bytes]:
    """Return the content of each file that a mesh is written to, `path` first; the same bytes each time."""
    if path.suffix == ".glb":
        return {path: _glb(textured)}
    if path.suffix == ".obj":
        material, texture = path.with_suffix(".mtl"), path.with_suffix(".png")
        text = f"newmtl surface\nKd 1 1 1\nmap_Kd {texture.name}\n"
        return {path: _obj(textured, material.name), material: text.encode(), texture: _png(textured)}
    if path.suffix == ".ply":
        return {path: _ply(textured)}
    raise UserError(f"'{path}': expected a mesh's name to end on {', '.join(SUFFIXES)}, got {path.suffix or 'nothing'}")


def _png(textured: TexturedMesh) -> bytes:
    file = io.BytesIO()
    Image.fromarray(textured.texture).save(file, format="PNG")
    return file.getvalue()


def _glb(textured: TexturedMesh) -> bytes:
    """Return a binary glTF with a rough, unmetallic surface of the texture's colour."""
    import trimesh
    from trimesh.visual.material import PBRMaterial
    from trimesh.visual.texture import TextureVisuals

    turn = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], np.float32)
    mesh = textured.mesh
    with Image.open(io.BytesIO(_png(textured)), formats=("PNG",)) as image:
        image.load()
        material = PBRMaterial(name="surface", baseColorTexture=image, metallicFactor=0.0, roughnessFactor=1.0)
        visual = TextureVisuals(uv=textured.places.astype(np.float64), material=material)
        solid = trimesh.Trimesh(
            vertices=mesh.vertices @ turn.T,
            faces=mesh.faces,
            vertex_normals=vertex_normals(mesh) @ turn.T,
            visual=visual,
            process=False,
        )
        # A scene of our own: its node would else be named by chance.
        scene = trimesh.Scene()
        scene.add_geometry(solid, node_name="model", geom_name="model")
        content = scene.export(file_type="glb", include_normals=True)
    assert isinstance(content, bytes)
    return content


def _obj(textured: TexturedMesh, material: str) -> bytes:
    """Return a Wavefront file; its numbers of vertices begin at 1."""
    lines = [f"mtllib {material}", "usemtl surface"]
    lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in textured.mesh.vertices.tolist()]
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in textured.places.tolist()]
    lines += [f"f {a}/{a} {b}/{b} {c}/{c}" for a, b, c in (textured.mesh.faces + 1).tolist()]
    return ("\n".join(lines) + "\n").encode()


def _ply(textured: TexturedMesh) -> bytes:
    """Return a little-endian PLY file with a colour at each vertex."""
    mesh: Mesh = textured.mesh
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(mesh.vertices)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\n"
        f"element face {len(mesh)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    vertices = np.empty(len(mesh.vertices), [("place", "<f4", 3), ("colour", "u1", 3)])
    vertices["place"], vertices["colour"] = mesh.vertices, textured.colours
    faces = np.empty(len(mesh), [("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, mesh.faces
    return header.encode() + vertices.tobytes() + faces.tobytes()
