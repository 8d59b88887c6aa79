"""Kernels of single pixels against their twins and closed forms."""

import numpy as np
import pytest

from runtime.vector.raster.kernels import pixel as kernels
from runtime.vector.raster.kernels.cells import ENTER_LEFT, EXIT_TOP
from runtime.vector.raster.kernels.spans import EXACT
from runtime.vector.raster.reference import pixel as reference
from runtime.vector.raster.reference.spans import gather_edges
from tests.tolerance import RASTER_STAGE, RASTER_TWIN
from tests.vector.raster.stages import GENERAL, SEEDS, from_python, stages_of


def pixels(seed: int) -> list[tuple[np.ndarray, int, bool]]:
    """The edges, corner and rule of each pixel that a path crosses more than once."""
    stages = stages_of(seed)
    return [
        (
            gather_edges(stages.outline.edges, stages.bands, band.first, span, y),
            int(span["corner"]),
            bool(stages.plan.evenodd[span["path"]]),
        )
        for band, y, _, spans in stages.rows()
        for span in spans[spans["slope"] == EXACT]
    ]


def test_inside() -> None:
    inside = from_python(kernels.inside)
    for winding in range(-3, 4):
        for evenodd in (False, True):
            assert inside(winding, evenodd) == reference.inside(winding, evenodd)
    assert [reference.inside(winding, True) for winding in (-2, -1, 0, 1)] == [0, 1, 0, 1]


@pytest.mark.parametrize("seed", SEEDS)
def test_pixel_area(seed: int) -> None:
    cases = pixels(seed)
    assert cases
    for edges, corner, evenodd in cases:
        area = from_python(kernels.pixel_area)(edges.copy(), corner, evenodd)
        assert abs(area - reference.pixel_area(edges, corner, evenodd)) < RASTER_STAGE


@pytest.mark.parametrize("seed", GENERAL)
def test_pixel_moments(seed: int) -> None:
    """In general position alone: where edges overlap, the kernel and its twin may credit either of them."""
    for edges, corner, evenodd in pixels(seed):
        spoilt = edges.copy()
        from_python(kernels.pixel_moments)(spoilt, corner, evenodd)
        twin = reference.pixel_moments(edges, corner, evenodd)
        assert np.abs(spoilt["zeroth"] - twin[:, 0]).max() < RASTER_TWIN
        assert np.abs(spoilt["first"] - twin[:, 1]).max() < RASTER_TWIN


@pytest.mark.parametrize("seed", GENERAL)
def test_moments_are_the_areas_derivative(seed: int) -> None:
    """Moving one edge sideways by a little gains its zeroth moment times that, by central differences."""
    step = 1e-6
    for edges, corner, evenodd in pixels(seed)[:20]:
        moments = reference.pixel_moments(edges, corner, evenodd)
        for i in range(len(edges)):
            height = edges["y1"][i] - edges["y0"][i]
            inner = all(0.01 < edges[name][i] < 0.99 for name in ("x0", "x1"))
            if edges["borders"][i] or not inner or abs(height) < 0.1 or len(edges) != 2:
                continue
            areas = []
            for sign in (1, -1):
                moved = edges.copy()
                moved["x0"][i] -= sign * step
                moved["x1"][i] -= sign * step
                areas.append(reference.pixel_area(moved, corner, evenodd))
            scale = (edges["t"][i] - edges["s"][i]) / height
            assert (areas[0] - areas[1]) / (2 * step) * scale == pytest.approx(moments[i, 0], abs=1e-5)


def test_a_corner_cut_off_in_closed_form() -> None:
    """One edge from the left border up to the top: it leaves the corner outside, and 7/8 of the pixel inside or not."""
    edges = np.zeros(1, kernels.PIXEL_EDGE)
    edges["y0"], edges["x1"], edges["t"], edges["borders"] = 0.5, 0.5, 1, ENTER_LEFT | EXIT_TOP
    for corner, area in ((0, 7 / 8), (1, 1 / 8)):
        assert reference.pixel_area(edges, corner, False) == pytest.approx(area)
        assert from_python(kernels.pixel_area)(edges.copy(), corner, False) == pytest.approx(area)
    assert reference.pixel_moments(edges, 1, False).tolist() == [[1, 0.5]]
