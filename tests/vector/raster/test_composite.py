"""Kernels of compositing one row against their twins, and their gradient against autograd's."""

import numpy as np
import pytest
import torch

from runtime.vector.raster.kernels import composite as kernels
from runtime.vector.raster.kernels.arrays import BLOCK, Row
from runtime.vector.raster.reference import composite as reference
from tests.tolerance import FLOAT32_ROUNDING, RASTER_STAGE
from tests.vector.raster.stages import SEEDS, from_python, stages_of

WIDTH, START, BLOCKS = 90, 7, 2
REACH = BLOCKS * BLOCK
COLOUR = (0.9, 0.2, 0.4, 0.7)


def tolerance(dtype: type) -> float:
    return FLOAT32_ROUNDING if dtype == np.float32 else RASTER_STAGE


def random_row(dtype: type, seed: int = 0) -> tuple[Row, np.ndarray]:
    """A row with numbers in its margins, too, and a view of its pixels."""
    values = np.random.default_rng(seed).random(3 * (WIDTH + 2 * BLOCK)).astype(dtype)
    return Row(values, WIDTH + 2 * BLOCK), values.reshape(3, -1)[:, :WIDTH]


def random_coverage(dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Of a path from START on, as kernels have it, and of the row."""
    coverage = np.zeros(WIDTH + 2 * BLOCK, dtype)
    coverage[: REACH - 5] = np.random.default_rng(1).random(REACH - 5)
    dense = np.zeros(WIDTH, dtype)
    dense[START : START + REACH] = coverage[:REACH]
    return coverage, dense


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blend_and_blend_taped(dtype: type) -> None:
    coverage, dense = random_coverage(dtype)
    colour = tuple(dtype(value) for value in COLOUR)
    _, before = random_row(dtype)
    twin, below = reference.blend_taped(before.copy(), dense, np.array(COLOUR, dtype))
    assert np.array_equal(twin, reference.blend(before.copy(), dense, np.array(COLOUR, dtype)))
    row, pixels = random_row(dtype)
    from_python(kernels.blend)(row, START, BLOCKS, coverage, colour)
    assert np.abs(pixels - twin).max() < tolerance(dtype)
    taped, same = random_row(dtype)
    tape = np.full(3 * REACH + 20, -1, dtype)
    from_python(kernels.blend_taped)(taped, START, BLOCKS, coverage, colour, tape, 10)
    assert np.array_equal(same, pixels)
    assert np.array_equal(tape[10:-10].reshape(3, REACH), below[:, START : START + REACH])
    assert (tape[:10] == -1).all()
    assert (tape[-10:] == -1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blend_backward(dtype: type) -> None:
    coverage, dense = random_coverage(dtype)
    colour = np.array(COLOUR, dtype)
    _, below = random_row(dtype, 2)
    row, grad = random_row(dtype, 3)
    twin, sums, grad_alpha = reference.blend_backward(grad.copy(), dense, colour, below)
    tape = np.ascontiguousarray(below[:, START : START + REACH]).reshape(-1)
    mine_alpha = np.zeros(WIDTH + 2 * BLOCK, dtype)
    mine = from_python(kernels.blend_backward)(row, START, BLOCKS, coverage, tuple(colour), tape, 0, mine_alpha)
    assert np.abs(grad - twin).max() < tolerance(dtype)
    assert np.abs(mine_alpha[:REACH] - grad_alpha[START : START + REACH]).max() < tolerance(dtype)
    assert np.abs(np.array(mine) - sums).max() < 10 * tolerance(dtype)


def test_gradient_of_blend_by_autograd() -> None:
    _, below = random_row(np.float64, 2)
    _, upstream = random_row(np.float64, 3)
    pixels, cover, colour = (
        torch.tensor(value, requires_grad=True) for value in (below, random_coverage(np.float64)[1], COLOUR)
    )
    colour = torch.tensor(COLOUR, dtype=torch.float64, requires_grad=True)
    alpha = colour[3] * cover
    blended = pixels + alpha * (colour[:3, None] - pixels)
    assert np.allclose(reference.blend(below, cover.detach().numpy(), np.array(COLOUR)), blended.detach())
    alpha.retain_grad()
    blended.backward(torch.tensor(upstream))
    twin, sums, grad_alpha = reference.blend_backward(upstream, cover.detach().numpy(), np.array(COLOUR), below)
    assert pixels.grad is not None and colour.grad is not None and alpha.grad is not None
    assert np.allclose(twin, pixels.grad)
    assert np.allclose(sums * np.array((COLOUR[3],) * 3 + (1,)), colour.grad)
    assert np.allclose(grad_alpha, alpha.grad)


@pytest.mark.parametrize("seed", SEEDS)
def test_row_coverage_count_blocks_and_composite_row(seed: int) -> None:
    stages = stages_of(seed)
    width = stages.size[1]
    stride = width + 2 * BLOCK
    coverage = np.full(stride, np.nan)
    for band, _, _, spans in stages.rows()[::3]:
        colours = stages.paths.colours[band.scene]
        blocks = reference.count_blocks(spans)
        assert from_python(kernels.count_blocks)(spans, 0, len(spans)) == blocks
        for path in np.unique(spans["path"]):
            first, last = np.flatnonzero(spans["path"] == path)[[0, -1]]
            own = spans[first : last + 1]
            after, count = from_python(kernels.row_coverage)(spans, first, len(spans), coverage)
            start = own["start"][0]
            dense = np.append(reference.row_coverage(own, width), np.zeros(BLOCK))[start:][: count * BLOCK]
            assert after == last + 1
            assert count == reference.count_blocks(own)
            assert np.array_equal(coverage[: len(dense)], dense)
        row = Row(np.random.default_rng(0).random(3 * stride), stride)
        pixels = row.values.reshape(3, -1)[:, :width]
        twin, below = reference.composite_row(pixels.copy(), spans, colours)
        tape = np.empty(3 * BLOCK * blocks)
        end = from_python(kernels.composite_row)(row, spans, (0, len(spans)), colours, coverage, tape, 0)
        assert end == len(tape)
        assert np.abs(pixels - twin).max() < RASTER_STAGE
        assert [path for path, _, _ in below] == np.unique(spans["path"]).tolist()
