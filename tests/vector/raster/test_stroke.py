"""Kernels of strokes' outlines against their twins."""

import numpy as np
import pytest
import torch

from runtime.vector.raster.kernels import stroke as kernels
from runtime.vector.raster.reference import stroke as reference
from runtime.vector.raster.reference.build import flatten_paths
from tests.tolerance import RASTER_STAGE
from tests.vector.raster.stages import SEEDS, Stages, from_python, stages_of

STROKED = [seed for seed in SEEDS if seed % 3]


def strokes(stages: Stages) -> list[tuple[int, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Of each stroke its number among all paths, vertices in canvas pixels, radius and pen."""
    count, found = stages.drawing.layout.num_paths, []
    assert stages.pens is not None
    for path in range(len(stages.edge_ranges)):
        if stages.plan.strokes[path % count]:
            vertices = flatten_paths(stages.drawing, path // count, path % count, stages.size)[0]
            corners = int(stages.pens.firsts[path + 1] - stages.pens.firsts[path])
            radius = stages.drawing.widths[path // count, path % count] / 2
            found.append((path, vertices, radius, torch.from_numpy(reference.unit_pen(corners))))
    return found


@pytest.mark.parametrize("seed", STROKED)
def test_measure_strokes(seed: int) -> None:
    stages = stages_of(seed)
    rooms = np.zeros(len(stages.edge_ranges), np.int64)
    polylines = kernels.Polylines(stages.outline.firsts, stages.vertices, tuple(stages.scale.tolist()))
    walk = kernels.Walk(*np.zeros((2, len(stages.vertices) + 1), np.int64))
    from_python(kernels.measure_strokes)(stages.plan.structure, polylines, stages.pens, walk, rooms)
    for path, vertices, radius, pen in strokes(stages):
        assert rooms[path] == reference.measure_strokes(vertices, len(pen))
        assert rooms[path] >= len(reference.stroke_edges(vertices, radius, pen))


@pytest.mark.parametrize("seed", STROKED)
def test_stroke_edges(seed: int) -> None:
    """The same vertices, pen corners and cuts, in the same order."""
    stages = stages_of(seed)
    assert stages.pens is not None
    for path, vertices, radius, pen in strokes(stages):
        begin, end = stages.edge_ranges[path]
        edges = stages.outline.edges[begin:end]
        twin = np.array(reference.stroke_edges(vertices, radius, pen))
        assert len(edges) == len(twin)
        first = stages.vertex_ranges[path, 0]
        for column, name, base in ((0, "v0", first), (1, "v1", first)):
            assert (edges[name] - base).tolist() == twin[:, column].tolist()
        for column, name in ((2, "k0"), (3, "k1")):
            assert (edges[name] - stages.pens.firsts[path]).tolist() == twin[:, column].tolist()
        for column, name in ((4, "s0"), (5, "s1")):
            assert np.abs(edges[name] - twin[:, column]).max() < RASTER_STAGE
        assert np.flatnonzero(edges["mark"] & kernels.FIRST).tolist() == [0]
        assert np.flatnonzero(edges["mark"] & kernels.LAST).tolist() == [len(edges) - 1]


@pytest.mark.parametrize("seed", STROKED)
def test_build_strokes(seed: int) -> None:
    """Where the edges lie: each begins where the one before ends, cuts included."""
    stages = stages_of(seed)
    for path, vertices, radius, pen in strokes(stages):
        begin, end = stages.edge_ranges[path]
        edges = stages.outline.edges[begin:end]
        starts, ends = (places.numpy() * stages.scale for places in reference.build_strokes(vertices, radius, pen))
        assert np.abs(np.stack((edges["x0"], edges["y0"]), -1) - starts).max() < RASTER_STAGE
        assert np.abs(np.stack((edges["x1"], edges["y1"]), -1) - ends).max() < RASTER_STAGE
        assert np.abs(starts - np.roll(ends, 1, 0)).max() < RASTER_STAGE, "a closed loop"


def test_a_dot_is_its_pen() -> None:
    vertices, pen = torch.zeros(3, 2, dtype=torch.float64), torch.from_numpy(reference.unit_pen(8))
    edges = reference.stroke_edges(vertices, torch.tensor(2.0), pen)
    assert [edge[2:4] for edge in edges] == [(k, (k + 1) % 8) for k in range(8)]


def test_a_pen_has_the_circles_perimeter() -> None:
    for corners in (8, 20, 64):
        pen = reference.unit_pen(corners)
        lengths = np.hypot(*(np.roll(pen, -1, 0) - pen).T)
        assert lengths.sum() == pytest.approx(2 * np.pi)
