"""The calls before and after the bands against their twins."""

import dataclasses

import numpy as np
import pytest
import torch

from runtime.vector.raster import compiled, rasterize
from runtime.vector.raster.kernels import build as kernels
from runtime.vector.raster.kernels.backward import Grads
from runtime.vector.raster.kernels.limits import TOLERANCE
from runtime.vector.raster.kernels.outline import View
from runtime.vector.raster.reference import backward as backward_reference
from runtime.vector.raster.reference import build as reference
from tests.tolerance import RASTER_STAGE, RASTER_TWIN
from tests.vector.raster.stages import GENERAL, SEEDS, from_python, run_stages, stages_of


@pytest.mark.parametrize("seed", SEEDS)
def test_flatten_paths(seed: int) -> None:
    stages = stages_of(seed)
    count = stages.drawing.layout.num_paths
    assert len(stages.vertex_ranges) == count * len(stages.drawing.points)
    for path, (begin, end) in enumerate(stages.vertex_ranges):
        twin = torch.cat(reference.flatten_paths(stages.drawing, path // count, path % count, stages.size)).numpy()
        assert len(twin) == end - begin
        assert np.abs(stages.vertices[begin:end] - twin * stages.scale).max() < RASTER_STAGE


@pytest.mark.parametrize("seed", [seed for seed in SEEDS if seed % 3 == 0])
def test_build_fills(seed: int) -> None:
    """All edges of a drawing without strokes, and the bands that they touch."""
    stages = stages_of(seed)
    drawing, size = stages.drawing, stages.size
    view = View(tuple(stages.scale.tolist()), TOLERANCE / float(stages.scale.max()), size)
    finite, firsts, edges, entered = kernels.build_fills(
        stages.plan.structure, drawing.points.numpy(), drawing.widths.numpy(), view
    )
    assert finite
    assert firsts.tolist() == stages.outline.firsts.tolist()
    at = 0
    for scene in range(len(drawing.points)):
        for path in range(drawing.layout.num_paths):
            starts, ends = reference.build_fills(drawing, scene, path, size)
            own = edges[at : at + len(starts)]
            at += len(starts)
            for name, values in {"x0": starts[:, 0], "y0": starts[:, 1], "x1": ends[:, 0], "y1": ends[:, 1]}.items():
                assert np.abs(own[name] - values.numpy()).max() < RASTER_STAGE
    assert at == len(edges)
    lists = reference.enter_bands(edges, drawing.layout.num_paths, len(drawing.points), size)
    assert entered[0].tolist() == [edge for entries in lists for edge in entries]


@pytest.mark.parametrize("seed", SEEDS)
def test_enter_bands(seed: int) -> None:
    """An edge that touches a band overlaps its rows and doesn't lie to the right of the picture: brute force."""
    stages = stages_of(seed)
    edges, size, batch = stages.outline.edges.copy(), stages.size, len(stages.drawing.points)
    entries, entry_firsts, _ = from_python(kernels.enter_bands)(edges, stages.edge_ranges, batch, size)
    paths = stages.drawing.layout.num_paths
    lists = reference.enter_bands(edges, paths, batch, size)
    assert entries.tolist() == [edge for entries in lists for edge in entries]
    assert entry_firsts.tolist() == np.cumsum([0, *map(len, lists)]).tolist()
    for job, found in enumerate(lists):
        band = stages.band(job)
        low, high = (pick(edges["y0"], edges["y1"]) for pick in (np.minimum, np.maximum))
        touches = (low < band.bottom) & (high >= band.top) & (np.minimum(edges["x0"], edges["x1"]) < size[1])
        assert found == np.flatnonzero(touches & (edges["path"] // paths == band.scene)).tolist()


def test_sum_bands() -> None:
    parts, sums = np.random.default_rng(0).random((6, 5)), np.zeros((2, 5))
    from_python(kernels.sum_bands)(parts, 3, sums)
    assert np.abs(sums - reference.sum_bands(parts, 2)).max() < RASTER_STAGE


@pytest.mark.parametrize("seed", GENERAL)
def test_gather_gradients(seed: int) -> None:
    """The kernel and its twin on the same gradients of bands; and on the twin's own, the rasterizer's backward pass."""
    stages = run_stages(seed)
    drawing, structure, scale = stages.drawing, stages.plan.structure, tuple(stages.scale.tolist())
    generator = np.random.default_rng(5)
    jobs, shape = len(stages.saved.cell_ends), tuple(drawing.points.shape)
    grads = Grads(
        generator.normal(size=(jobs, drawing.layout.num_paths, 4)),
        generator.normal(size=(jobs, 3)),
        generator.normal(size=(len(stages.bands.entries), 2)),
    )
    batch = shape[0]
    out = kernels.DrawingGrads(
        np.empty(shape), np.empty(drawing.widths.numel()), np.empty((batch, drawing.layout.num_paths * 4)),
        np.empty((batch, 3)),
    )  # fmt: skip
    entries = stages.bands.entries
    kernels.gather_gradients(structure, stages.outline, entries, grads, scale, out)
    twin = reference.gather_gradients(structure, stages.outline, entries, grads, scale, shape)
    for name in out._fields:
        mine, theirs = getattr(out, name), getattr(twin, name)
        assert np.abs(mine - theirs).max() < RASTER_STAGE * (1 + np.abs(theirs).max()), name
    upstream = generator.normal(size=stages.image.shape)
    leaves = drawing.map(lambda tensor: tensor.clone().requires_grad_())
    rasterize(leaves, stages.size).backward(torch.from_numpy(upstream))
    own = backward_reference.backward(stages.paths, stages.bands, stages.saved, upstream)
    whole = reference.gather_gradients(structure, stages.outline, entries, own, scale, shape)
    for name, twin in (("points", whole.points), ("widths", whole.radii / 2), ("colours", whole.colours)):
        grad = leaves.tensors[name].grad
        assert grad is not None
        assert np.abs(grad.numpy().reshape(-1) - twin.reshape(-1)).max() < RASTER_TWIN * (1 + np.abs(twin).max()), name


def test_a_number_that_is_not_finite_leaves_no_vertices() -> None:
    stages = stages_of(0)
    points = stages.drawing.points.numpy().copy()
    points[0, 3, 1] = np.nan
    view = View((1.0, 1.0), TOLERANCE, stages.size)
    widths = stages.drawing.widths.numpy()
    finite, _, vertices, _ = kernels.flatten_paths(stages.plan.structure, points, widths, view)
    assert not finite
    assert len(vertices) == 0
    plan = compiled.make_plan(stages.drawing.layout)
    assert plan is compiled.make_plan(dataclasses.replace(stages.drawing).layout), "made once"
