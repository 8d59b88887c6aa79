"""Errors of meshes of the example capture: of places whose distance and normal are known."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from benchmarks.field.mesh_error import errors_of, read_points, signed_distance, true_normals
from runtime.errors import UserError


def test_distances_and_normals_of_known_places() -> None:
    # Above the ball on the antenna, left of a shoulder, below the plate, beyond a corner of the plate, inside the head.
    places = np.array([[0, 0, 1.02], [-0.65, 0, 0.08], [0.1, 0.1, -0.8], [0.51, 0.52, -0.66], [0, 0, 0.42]])
    assert signed_distance(places) == pytest.approx([0.1, 0.1, 0.1, 0.05, -0.26])
    expected = [[0, 0, 1], [-1, 0, 0], [0, 0, -1], [0.6, 0.8, 0]]
    # Central differences over 1e-3 at a distance of 0.05 from an edge are off by some (1e-3 / 0.05)^2 / 6.
    np.testing.assert_allclose(true_normals(places[:4]), expected, atol=1e-4)
    normals = np.array([[0, 0, 1.0], [0, 0, 1], [0, 0, 1]])
    errors = errors_of(places[:3], normals)  # tilted by 0, 90 and 180 degrees
    assert errors["mean tilt"] == pytest.approx(90) and errors["median distance"] == pytest.approx(0.1)


def test_a_file_is_read_in_the_captures_axes(tmp_path: Path) -> None:
    head = trimesh.creation.icosphere(subdivisions=4, radius=0.26)
    head.apply_translation([0, 0.42, 0])  # up is +y in a GLB
    head.export(tmp_path / "head.glb")
    points, normals = read_points(tmp_path / "head.glb")
    away = points - [0, 0, 0.42]
    assert np.linalg.norm(away, axis=1) == pytest.approx(np.full(len(away), 0.26), rel=0.01)
    assert ((away / 0.26 * normals).sum(1) > 0.98).all()
    with pytest.raises(UserError, match="expected a GLB file with a mesh"):
        read_points(tmp_path / "none.glb")
