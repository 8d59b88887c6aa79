"""Winograd's matrices against correlations that are written out."""

import numpy as np
import pytest

from export.vjp.rows.winograd import TAPS, backward_transforms, forward_transforms


def correlate(kernel: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.array([sum(kernel[j] * values[i + j] for j in range(TAPS)) for i in range(len(values) - 2)])


@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_a_tile_is_the_correlation_with_the_kernel_or_the_flipped_one(tile: int, flipped: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    kernel, values = random.normal(size=TAPS), random.normal(size=tile + TAPS - 1)
    matrices = backward_transforms(tile) if flipped else forward_transforms(tile)
    found = matrices.tile @ ((matrices.kernel @ kernel) * (matrices.window @ values))
    np.testing.assert_allclose(found, correlate(kernel[::-1] if flipped else kernel, values), atol=1e-13)


@pytest.mark.parametrize("tile", [2, 4])
def test_both_directions_share_one_transformed_kernel(tile: int) -> None:
    assert np.array_equal(forward_transforms(tile).kernel, backward_transforms(tile).kernel)


@pytest.mark.parametrize("tile", [2, 4])
def test_a_kernel_of_one_weight_picks_its_value(tile: int) -> None:
    matrices = forward_transforms(tile)
    for tap in range(TAPS):
        moved = matrices.tile @ ((matrices.kernel @ np.eye(TAPS)[tap])[:, None] * matrices.window)
        np.testing.assert_allclose(moved, np.eye(tile + 2)[tap : tap + tile], atol=1e-14)


@pytest.mark.parametrize("tile", [2, 4])
def test_in_two_dimensions_the_square_of_the_matrix_does_both_axes(tile: int) -> None:
    random = np.random.default_rng(0)
    kernel, values = random.normal(size=(TAPS, TAPS)), random.normal(size=(tile + 2, tile + 2))
    m = forward_transforms(tile)
    product = (np.kron(m.kernel, m.kernel) @ kernel.ravel()) * (np.kron(m.window, m.window) @ values.ravel())
    expected = [[(kernel * values[i : i + TAPS, j : j + TAPS]).sum() for j in range(tile)] for i in range(tile)]
    np.testing.assert_allclose((np.kron(m.tile, m.tile) @ product).reshape(tile, tile), expected, atol=1e-12)
