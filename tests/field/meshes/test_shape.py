import math

import numpy as np
import pytest

from runtime.field.meshes.shape import Mesh, compact, describe, vertex_normals
from tests.field.meshes.solids import sphere, surface, tetrahedron


def test_a_tetrahedron() -> None:
    report = describe(tetrahedron())
    assert report.watertight
    assert (report.vertices, report.faces, report.pieces, report.genus) == (4, 4, 1, 0)
    assert report.volume == pytest.approx(1 / 6)
    assert report.area == pytest.approx(1.5 + math.sqrt(3) / 2)
    assert "watertight" in report.line()


def test_turned_faces_enclose_a_negative_volume_but_close() -> None:
    inward = Mesh(tetrahedron().vertices, tetrahedron().faces[:, ::-1])
    assert describe(inward).volume == pytest.approx(-1 / 6)
    assert describe(inward).watertight


def test_a_missing_face_and_one_turned_face_are_seen() -> None:
    whole = tetrahedron()
    assert not describe(Mesh(whole.vertices, whole.faces[:3])).watertight
    turned = whole.faces.copy()
    turned[0] = turned[0, ::-1]
    assert not describe(Mesh(whole.vertices, turned)).watertight
    assert describe(Mesh(whole.vertices, turned)).genus is None


def test_two_pieces_are_counted() -> None:
    one = tetrahedron()
    both = Mesh(np.concatenate([one.vertices, one.vertices + 3]), np.concatenate([one.faces, one.faces + 4]))
    report = describe(both)
    assert (report.pieces, report.genus, report.watertight) == (2, 0, True)
    assert report.volume == pytest.approx(2 / 6, rel=1e-5)


def test_unused_vertices_do_not_count() -> None:
    one = tetrahedron()
    more = Mesh(np.concatenate([[[9.0, 9, 9]], one.vertices]).astype(np.float32), one.faces + 1)
    assert describe(more) == describe(one)
    assert np.array_equal(compact(more).vertices, one.vertices)
    assert np.array_equal(compact(more).faces, one.faces)


def test_normals_of_a_sphere_point_outwards() -> None:
    mesh = surface(sphere())
    outwards = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    assert (vertex_normals(mesh) * outwards).sum(1).min() > 0.97
