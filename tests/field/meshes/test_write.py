import json
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import trimesh

from runtime.errors import UserError
from runtime.field.meshes.bake import TexturedMesh, bake
from runtime.field.meshes.shape import describe
from runtime.field.meshes.simplify import simplify
from runtime.field.meshes.write import files_of, write_mesh
from tests.field.meshes.solids import position_colour, sphere, surface

VALIDATE = """
const fs = require("fs"), { validateBytes } = require("gltf-validator");
validateBytes(new Uint8Array(fs.readFileSync(process.argv[1]))).then(r => console.log(JSON.stringify(r.issues)));
"""


@cache
def textured() -> TexturedMesh:
    return bake(simplify(surface(sphere(24, radius=0.5, centre=(0.0, 0.0, 0.4))), 300), position_colour, side=64)


def test_a_glb_holds_the_mesh_with_y_up_and_its_texture(tmp_path: Path) -> None:
    path = tmp_path / "model.glb"
    assert write_mesh(path, textured()) == [path]
    loaded = trimesh.load(path, force="mesh", process=False)
    x, y, z = textured().mesh.vertices.T
    assert np.allclose(np.asarray(loaded.vertices).mean(0), [x.mean(), z.mean(), -y.mean()], atol=1e-5)
    assert len(loaded.faces) == len(textured().mesh)
    assert np.array_equal(np.asarray(loaded.visual.material.baseColorTexture.convert("RGB")), textured().texture)
    assert loaded.visual.material.metallicFactor == 0
    assert np.allclose(loaded.visual.uv, textured().places, atol=1e-5)


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply"])
def test_the_same_bytes_each_time(suffix: str) -> None:
    path = Path(f"model{suffix}")
    assert files_of(path, textured()) == files_of(path, textured())


@pytest.mark.parametrize("suffix", [".obj", ".ply"])
def test_other_formats_hold_the_worlds_coordinates(tmp_path: Path, suffix: str) -> None:
    files = write_mesh(tmp_path / f"model{suffix}", textured())
    assert all(file.is_file() for file in files)
    loaded = trimesh.load(files[0], force="mesh", process=False)
    assert len(loaded.faces) == len(textured().mesh)
    assert np.allclose(np.asarray(loaded.vertices).max(0), textured().mesh.vertices.max(0), atol=1e-5)
    volume = describe(textured().mesh).volume
    assert loaded.volume == pytest.approx(volume, rel=1e-4)
    if suffix == ".ply":
        assert np.array_equal(np.asarray(loaded.visual.vertex_colors)[:, :3], textured().colours)


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\.glb, \.obj, \.ply"):
        write_mesh(tmp_path / "model.stl", textured())
    with pytest.raises(UserError, match="another folder"):
        write_mesh(tmp_path / "no" / "model.glb", textured())


def has_validator() -> bool:
    """Return whether Node is here and finds the package gltf-validator."""
    if shutil.which("node") is None:
        return False
    return subprocess.run(["node", "-e", "require('gltf-validator')"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not has_validator(), reason="needs Node and its package gltf-validator")
def test_the_validator_has_nothing_to_say(tmp_path: Path) -> None:
    path = write_mesh(tmp_path / "model.glb", textured())[0]
    done = subprocess.run(["node", "-e", VALIDATE, str(path)], capture_output=True, text=True, check=True)
    issues = json.loads(done.stdout)
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]
