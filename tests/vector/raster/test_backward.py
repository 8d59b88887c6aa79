"""The backward pass against its twin: gradients of colours and background, and moments of edges."""

import numpy as np
import pytest

from runtime.kernels.threads import share_jobs
from runtime.vector.raster.kernels import backward as kernels
from runtime.vector.raster.kernels.arrays import BLOCK, Row
from runtime.vector.raster.kernels.backward import Grads
from runtime.vector.raster.kernels.spans import EXACT
from runtime.vector.raster.reference import backward as reference
from tests.tolerance import RASTER_STAGE, RASTER_TWIN
from tests.vector.raster.stages import GENERAL, SEEDS, Stages, from_python, run_stages


def upstream_of(stages: Stages) -> np.ndarray:
    return np.random.default_rng(4).normal(size=stages.image.shape)


def no_grads(stages: Stages) -> Grads:
    jobs, paths = len(stages.saved.cell_ends), stages.drawing.layout.num_paths
    return Grads(np.zeros((jobs, paths, 4)), np.zeros((jobs, 3)), np.zeros((len(stages.bands.entries), 2)))


def run_backward(stages: Stages) -> Grads:
    grads = no_grads(stages)
    args = stages.paths, stages.bands, stages.saved, upstream_of(stages), grads
    share_jobs(kernels.backward, len(stages.saved.cell_ends), *args)
    return grads


@pytest.mark.parametrize("seed", GENERAL)
def test_backward(seed: int) -> None:
    stages = run_stages(seed)
    twin = reference.backward(stages.paths, stages.bands, stages.saved, upstream_of(stages))
    for name, mine in run_backward(stages)._asdict().items():
        theirs = getattr(twin, name)
        assert np.abs(mine - theirs).max() < RASTER_TWIN * (1 + np.abs(theirs).max()), name


@pytest.mark.parametrize("seed", [seed for seed in SEEDS if seed not in GENERAL])
def test_backward_of_colours_in_degenerate_drawings(seed: int) -> None:
    """Which of two edges that overlap has the moments is arbitrary; colours and background have no such choice."""
    stages = run_stages(seed)
    twin = reference.backward(stages.paths, stages.bands, stages.saved, upstream_of(stages))
    grads = run_backward(stages)
    for mine, theirs in ((grads.colours, twin.colours), (grads.background, twin.background)):
        assert np.abs(mine - theirs).max() < RASTER_STAGE * (1 + np.abs(theirs).max())
    assert np.isfinite(grads.moments).all()


@pytest.mark.parametrize("seed", GENERAL[::2])
def test_a_row_without_its_tape_is_composited_again(seed: int) -> None:
    stages = run_stages(seed)
    grads = run_backward(stages)
    stages.saved.tape_ends[::2] = -1
    for mine, again in zip(grads, run_backward(stages), strict=True):
        assert np.array_equal(mine, again)


@pytest.mark.parametrize("seed", GENERAL[::2])
def test_backward_band_and_row_backward(seed: int) -> None:
    """The first band alone adds to its own job; its last row leaves the background's gradient."""
    stages = run_stages(seed)
    stride, upstream = stages.size[1] + 2 * BLOCK, upstream_of(stages)
    mine, twin, band = no_grads(stages), no_grads(stages), stages.band(0)

    def space() -> kernels.RowSpace:
        rows = [Row(np.zeros(3 * stride), stride) for _ in range(2)]
        return kernels.RowSpace(*rows, np.zeros(stride), np.zeros(stride))

    from_python(kernels.backward_band)(stages.paths, stages.bands, stages.saved, band, upstream, space(), mine)
    reference.backward_band(stages.paths, stages.bands, stages.saved, band, upstream, twin)
    for name in Grads._fields:
        assert np.abs(getattr(mine, name) - getattr(twin, name)).max() < RASTER_TWIN * (
            1 + np.abs(upstream).sum(2).max()
        )
    assert not mine.colours[1:].any()
    y, row_space = band.bottom - 1, space()
    grad = row_space.grad.values.reshape(3, -1)[:, : stages.size[1]]
    grad[:] = upstream[0, :, y]
    tape = stages.saved.tapes[0], int(stages.saved.tape_ends[y])
    from_python(kernels.row_backward)(
        stages.paths, stages.bands, stages.saved, band, y, row_space, no_grads(stages), tape
    )
    below = reference.row_backward(
        stages.paths, stages.bands, stages.saved, band, y, upstream[0, :, y], no_grads(stages)
    )
    assert np.abs(grad - below).max() < RASTER_STAGE


@pytest.mark.parametrize("seed", GENERAL)
def test_spans_backward_exact_spans_backward_and_cells_backward(seed: int) -> None:
    stages = run_stages(seed)
    edges, bands, moments = stages.outline.edges, stages.bands, np.zeros((len(stages.bands.entries), 2))
    twin_moments = moments.copy()
    for band, y, _, spans in stages.rows():
        for path in np.unique(spans["path"]):
            first, last = np.flatnonzero(spans["path"] == path)[[0, -1]]
            own, opacity = spans[first : last + 1], float(stages.paths.colours[band.scene, path, 3])
            one = kernels.PathSpans(first, last + 1, y, stages.plan.evenodd[path], opacity)
            grad_alpha = np.random.default_rng(y).normal(size=stages.size[1])
            shifted = grad_alpha[own["start"][0] :].copy()
            several = from_python(kernels.spans_backward)(bands, spans, one, shifted)
            assert several == ((own["cells"] > 1) | (own["slope"] == EXACT)).any()
            if several:
                args = edges, bands, band, spans, one, shifted, moments
                from_python(kernels.exact_spans_backward)(*args)
            twin = reference.spans_backward(bands, band.first, own, opacity, grad_alpha)
            for cell, grad in twin.items():
                assert bands.cells[cell]["area"] == pytest.approx(grad, abs=RASTER_STAGE)
            reference.exact_spans_backward(stages.paths, bands, band, y, own, grad_alpha, twin_moments)
            reference.cells_backward(bands, twin, twin_moments)
    for job, end in enumerate(stages.saved.cell_ends):
        from_python(kernels.cells_backward)(bands, bands.firsts[job], end, moments)
    assert np.abs(moments - twin_moments).max() < RASTER_TWIN * (1 + np.abs(twin_moments).max())
