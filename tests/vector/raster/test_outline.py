"""Kernels of the outline against their twins: vertices, edges, and gradients of both."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from runtime.vector.raster.kernels import outline as kernels
from runtime.vector.raster.reference import outline as reference
from runtime.vector.raster.reference.build import build_fills
from tests.tolerance import RASTER_STAGE
from tests.vector.raster.stages import SEEDS, from_python, stages_of


def random_like(shape: tuple[int, ...], seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("seed", SEEDS)
def test_edges_of_each_segment(seed: int) -> None:
    """Of all contours but rectangles, whose sides have one edge each."""
    stages = stages_of(seed)
    structure, points = stages.plan.structure, stages.drawing.points.numpy()
    tolerance = 0.02 / stages.scale.max()
    firsts = np.zeros(len(points) * len(structure.controls) + 1, np.int64)
    from_python(kernels.count_edges)(structure.controls, points, tolerance, firsts)
    counts = [
        reference.count_edges(torch.from_numpy(np.stack([scene[rows[:, k], k] for k in range(2)], -1)), tolerance)
        for scene in points
        for rows in structure.controls
    ]
    assert np.diff(firsts).tolist() == counts
    assert firsts.tolist() == stages.outline.firsts.tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_flatten(seed: int) -> None:
    stages = stages_of(seed)
    structure, points = stages.plan.structure, stages.drawing.points.numpy()
    controls = [
        torch.from_numpy(np.stack([scene[rows[:, k], k] for k in range(2)], -1))
        for scene in points
        for rows in structure.controls
    ]
    for first, end, corners in zip(stages.outline.firsts, stages.outline.firsts[1:], controls, strict=False):
        twin = reference.flatten(corners, 1, 0.02 / stages.scale.max(), closed=False)[:-1]
        assert np.abs(twin.numpy() * stages.scale - stages.vertices[first:end]).max() < RASTER_STAGE


@pytest.mark.parametrize("seed", SEEDS[::3])
def test_flatten_backward(seed: int) -> None:
    """The twin is linear in the control points, so its transpose is a closed form."""
    stages = stages_of(seed)
    structure, firsts = stages.plan.structure, stages.outline.firsts
    grad_vertices, grad = random_like(stages.vertices.shape), np.zeros(stages.drawing.points.shape)
    scale = tuple(stages.scale.tolist())
    from_python(kernels.flatten_backward)(structure.controls, firsts, grad_vertices, scale, grad)
    expected, count = np.zeros_like(grad), len(structure.controls)
    for at, (first, end) in enumerate(pairwise(firsts)):
        twin = reference.flatten_backward(torch.from_numpy(grad_vertices[first:end])).numpy() * stages.scale
        for k, axis in np.ndindex(4, 2):
            expected[at // count, structure.controls[at % count, k, axis], axis] += twin[k, axis]
    assert np.abs(grad - expected).max() < RASTER_STAGE
    moved = stages.drawing.points.numpy() * stages.scale
    # The transpose's definition: vertices times their gradient are points times theirs.
    moved = stages.drawing.points.numpy()
    assert (grad * moved).sum() == pytest.approx((grad_vertices * stages.vertices).sum(), rel=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_close_loops(seed: int) -> None:
    stages = stages_of(seed)
    count = stages.drawing.layout.num_paths
    for path, (begin, end) in enumerate(stages.edge_ranges):
        if stages.plan.strokes[path % count]:
            continue
        edges = stages.outline.edges[begin:end]
        starts, ends = build_fills(stages.drawing, path // count, path % count, stages.size)
        assert np.abs(np.stack((edges["x0"], edges["y0"]), -1) - starts.numpy()).max() < RASTER_STAGE
        assert np.abs(np.stack((edges["x1"], edges["y1"]), -1) - ends.numpy()).max() < RASTER_STAGE
        assert (edges["path"] == path).all()
        contours = len(stages.drawing.layout.contours[path % count])
        for mark in (kernels.FIRST, kernels.LAST):
            assert (edges["mark"] & mark > 0).sum() == contours
        for name, values in {"s0": 0, "s1": 1, "k0": -1, "k1": -1}.items():
            assert (edges[name] == values).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_edges_backward(seed: int) -> None:
    stages = stages_of(seed)
    entries = stages.bands.entries
    moments = random_like((len(entries), 2))
    moments[::5] = 0
    vertices, radii = np.zeros(stages.vertices.shape), np.zeros(len(stages.edge_ranges))
    from_python(kernels.edges_backward)(stages.outline, entries, moments, vertices, radii)
    twin = reference.edges_backward(
        stages.outline.edges[entries], stages.outline.pens, moments, len(vertices), len(radii)
    )
    for mine, theirs in zip((vertices, radii), twin, strict=True):
        assert np.abs(mine - theirs).max() < RASTER_STAGE * (1 + np.abs(theirs).max())


def test_moving_an_edge_changes_an_area_as_its_moments_say() -> None:
    """A whole edge with an upstream gradient of 1: area to its right grows by half of what each end moves away."""
    edges = np.zeros(1, kernels.EDGE)
    edges["x1"], edges["y1"], edges["s1"], edges["v1"], edges["k0"], edges["k1"] = 3, 5, 1, 1, -1, -1
    grad, _ = reference.edges_backward(edges, np.empty((0, 2)), np.array([(1.0, 0.5)]), 2, 1)
    assert grad.tolist() == [[-2.5, 1.5], [-2.5, 1.5]]
