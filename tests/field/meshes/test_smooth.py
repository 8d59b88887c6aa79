"""Taubin's filter: against loops over neighbours, on a rough ball whose surface is known, and on closed surfaces."""

import math

import numpy as np
import pytest
import torch

from runtime.field.meshes.shape import Mesh, describe
from runtime.field.meshes.smooth import LAMBDA, NU, smooth
from runtime.field.meshes.surface import extract_surface
from tests.field.meshes.solids import sphere, surface, tetrahedron, torus


def by_loops(mesh: Mesh, iterations: int) -> np.ndarray:
    vertices = mesh.vertices.astype(np.float64)
    neighbours = [set() for _ in vertices]
    for face in mesh.faces.tolist():
        for corner in face:
            neighbours[corner] |= set(face) - {corner}
    for step in range(2 * iterations):
        factor = LAMBDA if step % 2 == 0 else -NU
        means = np.array([vertices[sorted(near)].mean(0) for near in neighbours])
        vertices = vertices + factor * (means - vertices)
    return vertices


@pytest.mark.parametrize("iterations", [0, 1, 3])
def test_it_is_the_filter_of_the_paper(iterations: int) -> None:
    for mesh in (tetrahedron(), surface(torus(size=16))):
        smoother = smooth(mesh, iterations)
        assert np.abs(smoother.vertices - by_loops(mesh, iterations)).max() < 1e-6
        assert smoother.faces is mesh.faces


def test_bumps_of_a_ball_go_and_its_volume_stays() -> None:
    draws = torch.Generator().manual_seed(0)
    rough = extract_surface(
        sphere(60, 0.7) + 0.01 * torch.randn(60, 60, 60, generator=draws),
        level=0.0,
        low=torch.tensor([-1.0, -1, -1]),
        side=2.0,
    )
    smoother = smooth(rough, 10)

    def figures(mesh: Mesh) -> tuple[float, float]:
        corners = mesh.vertices.astype(np.float64)[mesh.faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = np.linalg.norm(normals, axis=1)
        outwards = corners.mean(1) / np.linalg.norm(corners.mean(1), axis=1, keepdims=True)
        # Slivers of a face have no direction to speak of: each counts by its area.
        cosines = (normals * outwards).sum(1).clip(-area, area)
        tilt = np.degrees(np.arccos((cosines / np.maximum(area, 1e-30)).clip(-1, 1)))
        off = np.abs(np.linalg.norm(mesh.vertices, axis=1) - 0.7)
        return float((tilt * area).sum() / area.sum()), float(off.mean())

    (tilt, off), (smooth_tilt, smooth_off) = figures(rough), figures(smoother)
    assert smooth_tilt < 0.5 * tilt and smooth_off < 0.7 * off
    assert describe(smoother).watertight
    assert describe(smoother).volume == pytest.approx(4 / 3 * math.pi * 0.7**3, rel=0.003)
