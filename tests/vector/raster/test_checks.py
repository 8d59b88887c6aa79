"""Numbers that no rasterizer takes, in the same words from each."""

import dataclasses
import math

import pytest
import torch

from runtime.errors import UserError
from runtime.vector.paths import Drawing, Kind
from runtime.vector.raster import rasterize
from tests.vector.shapes import disc, drawing_of, polyline


def drawing() -> Drawing:
    """A fill of a negative width, which it ignores, and a stroke."""
    paths = [(Kind.NONZERO, [disc(5, 5, 2)]), (Kind.STROKE, [polyline([(1, 1), (6, 5)])])]
    widths = torch.tensor([[-1.0, 2.0]], dtype=torch.float64)
    return dataclasses.replace(drawing_of(paths, (8, 8)), widths=widths)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["points", "widths"])
def test_not_finite(name: str, value: float, backend: str) -> None:
    for number in (drawing(), drawing().select([0])):
        tensor = number.tensors[name].clone()
        tensor.view(-1)[-1] = value
        with pytest.raises(UserError, match="points or widths are not finite numbers"):
            rasterize(dataclasses.replace(number, **{name: tensor}), backend=backend)


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_negative_width_of_a_stroke(backend: str) -> None:
    widths = torch.tensor([[1.0, -0.5]], dtype=torch.float64)
    with pytest.raises(UserError, match=r"expected 0 or more for a stroke, got -0\.5 for path 1 of scene 0"):
        rasterize(dataclasses.replace(drawing(), widths=widths), backend=backend)
    rasterize(drawing(), backend=backend)
    rasterize(dataclasses.replace(drawing(), widths=torch.zeros_like(widths)), backend=backend)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_drawn_as_float32(dtype: torch.dtype, backend: str) -> None:
    half = dataclasses.replace(drawing().to(dtype), widths=drawing().widths.abs().to(dtype))
    points = half.points.clone().requires_grad_()
    picture = rasterize(dataclasses.replace(half, points=points), backend=backend)
    assert picture.dtype == dtype
    assert torch.equal(picture, rasterize(half.to(torch.float32), backend=backend).to(dtype))
    picture.sum().backward()
    assert points.grad is not None and points.grad.dtype == dtype and points.grad.abs().sum() > 0
