import numpy as np
import torch

from runtime.field.meshes.bake import bake, texel_faces
from runtime.field.meshes.simplify import simplify
from tests.field.meshes.solids import position_colour, sphere, surface


def test_texels_of_one_triangle() -> None:
    places = np.array([[0, 0], [1, 0], [0, 1]], np.float32)
    owner, weights = texel_faces(places, np.array([[0, 1, 2]]), 4)
    # The lower left half of a texture of 4 x 4; the top row comes first, and the diagonal belongs to it.
    assert (owner >= 0).tolist() == [
        [True, False, False, False],
        [True, True, False, False],
        [True, True, True, False],
        [True, True, True, True],
    ]
    assert np.allclose(weights[3, 0], [1 - 0.25, 0.125, 0.125])
    assert np.allclose(weights.sum(-1)[owner >= 0], 1)


def test_flat_and_outside_triangles_own_nothing() -> None:
    places = np.array([[0, 0], [1, 1], [0.5, 0.5], [3, 3], [4, 3], [3, 4]], np.float32)
    assert (texel_faces(places, np.array([[0, 1, 2], [3, 4, 5]]), 8)[0] == -1).all()


def test_a_texture_holds_the_colour_of_each_point() -> None:
    baked = bake(simplify(surface(sphere(32)), 800), position_colour, side=256)
    assert baked.texture.shape == (256, 256, 3)
    assert 0 <= baked.places.min() <= baked.places.max() <= 1
    # Looked up at the middle of each face, the texture gives the colour of that point of the surface.
    corner = baked.places[baked.mesh.faces].mean(1)
    column = np.clip((corner[:, 0] * 256).astype(int), 0, 255)
    row = np.clip(((1 - corner[:, 1]) * 256).astype(int), 0, 255)
    seen = baked.texture[row, column].astype(np.float32) / 255
    middle = torch.from_numpy(baked.mesh.vertices[baked.mesh.faces].mean(1))
    error = np.abs(seen - position_colour(middle).numpy())
    assert error.max() < 0.05  # a texel is about 0.03 wide on the surface
    assert np.array_equal(baked.colours, np.rint(255 * (0.5 + 0.5 * baked.mesh.vertices)).astype(np.uint8))


def test_the_same_mesh_gives_the_same_texture() -> None:
    mesh = simplify(surface(sphere(24)), 400)
    first, second = (bake(mesh, position_colour, side=64) for _ in range(2))
    assert np.array_equal(first.texture, second.texture)
    assert np.array_equal(first.places, second.places)
    assert np.array_equal(first.mesh.faces, second.mesh.faces)
