"""Feature maps as rows: their order, lookups and sums, and the operators that are recorded in place of them."""

import numpy as np
import pytest
import torch

from export.vjp.rows.layout import Rows, look_up, pixels, sum_rows, tiled, to_map, to_rows

SIZES = [(8, 12), (4, 4), (5, 7), (6, 8)]


@pytest.mark.parametrize("size", SIZES)
def test_rows_hold_the_pixels_that_their_order_says(size: tuple[int, int]) -> None:
    image = torch.randn(2, 3, *size)
    rows = to_rows(image)
    y, x = np.broadcast_arrays(*pixels(size))
    assert sorted(zip(y.ravel(), x.ravel(), strict=True)) == [(i, j) for i in range(size[0]) for j in range(size[1])]
    assert torch.equal(rows.values, image[:, :, y.ravel(), x.ravel()].transpose(1, 2))
    assert torch.equal(to_map(rows), image)
    assert rows.shape == image.shape


def test_pixels_of_one_parity_stand_together() -> None:
    y, x = (axis.ravel() for axis in np.broadcast_arrays(*pixels((8, 8))))
    assert tiled((8, 8))
    for place in range(4):
        part = slice(16 * place, 16 * place + 16)
        assert set(y[part] % 2) == {place // 2}
        assert set(x[part] % 2) == {place % 2}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("factor", [2, 4])
def test_a_pixel_unshuffle_to_rows_and_back(size: tuple[int, int], factor: int) -> None:
    image = torch.randn(2, 3, size[0] * factor, size[1] * factor)
    rows = to_rows(image, factor)
    assert torch.equal(to_map(rows), torch.nn.functional.pixel_unshuffle(image, factor))
    assert torch.equal(to_map(rows, factor), image)


@pytest.mark.parametrize("size", SIZES)
def test_what_lies_outside_is_zero(size: tuple[int, int]) -> None:
    image = torch.randn(1, 2, *size)
    padded = torch.nn.functional.pad(image, (2, 2, 2, 2))
    y, x = np.arange(-2, size[0] + 2)[:, None], np.arange(-2, size[1] + 2)[None]
    found = look_up(to_rows(image).values, size, y, x)
    assert torch.equal(found.transpose(1, 2).reshape(padded.shape), padded)


@pytest.mark.parametrize("count", [1, 16, 1024, 4096, 1021 * 3])
def test_sums_over_rows(count: int) -> None:
    values = torch.randn(2, count, 5)
    torch.testing.assert_close(sum_rows(values), values.double().sum(1, keepdim=True).float(), atol=1e-3, rtol=1e-5)


def test_an_offset_is_part_of_the_map() -> None:
    rows = Rows(torch.zeros(1, 16, 2), (4, 4), torch.tensor([[[1.0, 2.0]]]))
    assert torch.equal(to_map(rows), torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1).expand(1, 2, 4, 4))
    assert rows.with_values(rows.values).offset is None
