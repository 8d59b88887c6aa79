"""The reference's other road to coverage against closed forms: areas of edges, winding numbers, boundaries."""

import math

import pytest
import torch

from runtime.vector.paths import Kind
from runtime.vector.raster.reference import coverage as reference
from tests.vector.shapes import disc, drawing_of, pentagram


def loop(points: list[tuple[float, float]]) -> tuple[torch.Tensor, torch.Tensor]:
    starts = torch.tensor(points, dtype=torch.float64)
    return starts, starts.roll(-1, 0)


SQUARES = torch.cat([torch.tensor(s) for s in ([(0.0, 0), (4, 0), (4, 4), (0, 4)], [(2.0, 2), (6, 2), (6, 6), (2, 6)])])


def two_squares() -> tuple[torch.Tensor, torch.Tensor]:
    """Both clockwise on the screen, a quarter of each in the other."""
    squares = SQUARES.double().view(2, 4, 2)
    return squares.reshape(-1, 2), squares.roll(-1, 1).reshape(-1, 2)


def test_signed_areas_are_area_and_cover() -> None:
    """An upright edge at x = 1.25: nothing to its left, three quarters of its pixel, all of those to its right."""
    starts, ends = torch.tensor([(1.25, 0.5)]).double(), torch.tensor([(1.25, 2.0)]).double()
    rows, columns = torch.arange(3.0).double(), torch.arange(4.0).double()
    areas = reference.signed_areas(starts, ends, rows, columns)[0]
    assert areas.tolist() == [[0, 0.375, 0.5, 0.5], [0, 0.75, 1, 1], [0, 0, 0, 0]]
    assert torch.equal(reference.signed_areas(ends, starts, rows, columns)[0], -areas)


def test_winding_numbers_of_two_squares() -> None:
    places = torch.tensor([(1.0, 1.0), (3.0, 3.1), (5.0, 5.2), (7.0, 1.0)]).double()
    assert reference.winding_numbers(places, *two_squares()).abs().tolist() == [1, 2, 1, 0]


def test_split_edges_of_two_squares() -> None:
    """They cross twice: two edges of each are cut in two."""
    starts, ends = reference.split_edges(*two_squares())
    assert len(starts) == len(ends) == 12
    assert (ends - starts).norm(dim=-1).sum() == 32


@pytest.mark.parametrize(("kind", "length"), [(Kind.NONZERO, 24), (Kind.EVENODD, 32)])
def test_boundary_of_two_squares(kind: Kind, length: float) -> None:
    starts, ends, weights = reference.boundary(*two_squares(), kind)
    assert (ends - starts).norm(dim=-1).sum() == length
    assert set(weights.abs().tolist()) == {1}


@pytest.mark.parametrize("kind", [Kind.NONZERO, Kind.EVENODD])
def test_path_coverage_of_known_areas(kind: Kind) -> None:
    circle = drawing_of([(kind, [disc(10.2, 9.9, 7.0)])], (20, 20))
    assert reference.path_coverage(circle, 0, 0, (20, 20)).sum().item() == pytest.approx(math.pi * 49, rel=1e-4)
    star = drawing_of([(kind, [pentagram(10, 10, 8.0)])], (20, 20))
    cover = reference.path_coverage(star, 0, 0, (20, 20))
    assert cover[10, 10].item() == pytest.approx(0 if kind is Kind.EVENODD else 1, abs=1e-9)
    assert (cover.min() > -1e-9) & (cover.max() < 1 + 1e-9)


def test_path_coverage_of_a_rectangle() -> None:
    box = drawing_of([(Kind.RECTANGLE, [torch.tensor([(1.25, 0.5), (3.0, 2.0)])])], (3, 4))
    assert reference.path_coverage(box, 0, 0, (3, 4)).tolist() == [[0, 0.375, 0.5, 0], [0, 0.75, 1, 0], [0, 0, 0, 0]]
