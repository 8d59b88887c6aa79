"""Kernels of spans against their twins, and what the spans of one path amount to against its exact coverage."""

import numpy as np
import pytest

from runtime.vector.raster.kernels import spans as kernels
from runtime.vector.raster.kernels.cells import DOWN, LEFT, RIGHT, UP
from runtime.vector.raster.reference import spans as reference
from runtime.vector.raster.reference.composite import row_coverage
from runtime.vector.raster.reference.coverage import path_coverage
from tests.tolerance import RASTER_STAGE, RASTER_TWIN
from tests.vector.raster.stages import GENERAL, SEEDS, from_python, stages_of


@pytest.mark.parametrize("evenodd", [False, True])
@pytest.mark.parametrize("mask", [DOWN, UP, DOWN | RIGHT, UP | LEFT, RIGHT])
def test_simple_coverage(mask: int, evenodd: bool) -> None:
    kernel = from_python(kernels.simple_coverage)
    for mean in (-2.0, -1.3, -1.0, -0.4, 0.0, 1e-12, 0.25, 1.0, 1.5, 2.0):
        assert kernel(mean, mask, evenodd) == pytest.approx(reference.simple_coverage(mean, mask, evenodd))


@pytest.mark.parametrize("seed", SEEDS)
def test_sweep_row(seed: int) -> None:
    """The same spans in the same order, to the last field; coverage of EXACT ones comes later."""
    stages = stages_of(seed)
    for band, _, keys, spans in stages.rows():
        twin, pending = reference.sweep_row(stages.bands, keys, band.first, stages.plan.evenodd, stages.size[1])
        for name in ("path", "start", "stop", "slope"):
            assert spans[name].tolist() == twin[name].tolist(), name
        edges = spans["cells"] > 0
        assert ((spans["slope"] == 0) | edges).all()
        for name in ("cells", "first", "corner"):
            assert spans[edges][name].tolist() == twin[twin["cells"] > 0][name].tolist(), name
        exact = spans["slope"] == kernels.EXACT
        assert exact.sum() == pending
        assert np.abs(spans["coverage"] - twin["coverage"])[~exact].max(initial=0) < RASTER_STAGE


@pytest.mark.parametrize("seed", SEEDS)
def test_gather_edges(seed: int) -> None:
    stages = stages_of(seed)
    edges, bands = stages.outline.edges, stages.bands
    for band, y, _, spans in stages.rows():
        for span in spans[spans["slope"] == kernels.EXACT]:
            mine = from_python(kernels.gather_edges)(edges, bands, band, span, y)
            twin = reference.gather_edges(edges, bands, band.first, span, y)
            for name in ("x0", "y0", "x1", "y1", "s", "t", "borders", "entry", "zeroth", "first"):
                assert np.abs(mine[name] - twin[name]).max() < RASTER_STAGE, name


@pytest.mark.parametrize("seed", SEEDS)
def test_cover_exactly(seed: int) -> None:
    stages = stages_of(seed)
    for band, y, _, spans in stages.rows():
        twin = reference.cover_exactly(stages.outline.edges, stages.bands, band.first, y, stages.plan.evenodd, spans)
        assert np.abs(spans["coverage"] - twin).max(initial=0) < RASTER_STAGE


@pytest.mark.parametrize("seed", GENERAL)
def test_coverage_of_one_path(seed: int) -> None:
    """Spans against the reference's other road: parts of the boundary, each with its signed area in every pixel."""
    stages = stages_of(seed)
    height, width = stages.size
    for scene in range(len(stages.drawing.points)):
        rows = [(y, spans) for band, y, _, spans in stages.rows() if band.scene == scene]
        for path in range(stages.drawing.layout.num_paths):
            mine = np.zeros((height, width))
            for y, spans in rows:
                mine[y] = row_coverage(spans[spans["path"] == path], width)
            twin = path_coverage(stages.drawing, scene, path, stages.size).numpy()
            assert np.abs(mine - twin).max() < RASTER_TWIN, (scene, path)
