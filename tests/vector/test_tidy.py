"""Tidying against closed forms: ellipses by area and Hausdorff distance, widths, colours, and what nobody sees."""

import math
from dataclasses import replace

import pytest
import torch

from runtime.vector.paths import Drawing, Kind, Layout, circle_points, path_areas, random_circles
from runtime.vector.raster import rasterize
from runtime.vector.tidy import (
    Ellipse,
    Tidy,
    ellipse_of,
    hausdorff,
    mean_widths,
    outlines,
    snapped,
    tidy,
    with_ellipses,
    without_unseen,
)
from tests.vector.shapes import polygon

SIDE = 120


def drawing_of(*shapes: torch.Tensor, colours: list[tuple] | None = None) -> Drawing:
    """Return closed paths, by their control points, of given colours on white."""
    colours = colours or [(0.1, 0.2, 0.8)] * len(shapes)
    layout = Layout((Kind.NONZERO,) * len(shapes), tuple((len(shape) // 3,) for shape in shapes))
    paint = torch.tensor([[*colour, 1.0] for colour in colours])[None]
    points = torch.cat(shapes)[None].float()
    return Drawing(layout, points, paint, torch.ones(1, len(shapes)), torch.ones(1, 3), (SIDE, SIDE))


def band(width: float, length: float, top: float = 20.0) -> torch.Tensor:
    return polygon([(10, top), (10 + length, top), (10 + length, top + width), (10, top + width)])


def circle(x: float, y: float, radius: float) -> torch.Tensor:
    return circle_points(torch.tensor([x, y], dtype=torch.float64), radius, 4)


@pytest.mark.parametrize(("a", "b", "angle"), [(30.0, 12.0, 0.4), (20.0, 20.0, 0.0), (25.0, 8.0, -1.2)])
def test_the_ellipse_of_an_ellipse_is_itself(a: float, b: float, angle: float) -> None:
    turn = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    exact = Ellipse(torch.tensor([60.0, 50.0], dtype=torch.float64), torch.diag(torch.tensor([a, b]).double()) @ turn)
    fitted = ellipse_of(exact.outline(4000))
    assert fitted is not None
    assert torch.allclose(fitted.centre, exact.centre, atol=1e-6)
    assert sorted(fitted.axes.norm(dim=1).tolist()) == pytest.approx(sorted((a, b)), rel=1e-5)
    assert hausdorff(fitted.outline(2000), exact.outline(2000)) < 0.1


def test_an_ellipse_has_the_area_of_what_it_replaces() -> None:
    square = torch.tensor([(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0)], dtype=torch.float64)
    for outline in (square, square.flip(0)):  # either way round
        fitted = ellipse_of(outline)
        assert fitted is not None
        # Both principal moments of a square are equal: a circle, of the square's area.
        assert fitted.axes.norm(dim=1).tolist() == pytest.approx([10 / math.sqrt(math.pi)] * 2)
        assert fitted.centre.tolist() == pytest.approx([5.0, 5.0])
    assert ellipse_of(square[:1].repeat(4, 1)) is None  # a point
    assert ellipse_of(torch.tensor([(0.0, 0.0), (1.0, 0.0), (2.0, 0.0)], dtype=torch.float64)) is None  # a line


def test_hausdorff_is_the_distance_of_the_farthest_point() -> None:
    first = torch.tensor([(0.0, 0.0), (1.0, 0.0)], dtype=torch.float64)
    second = torch.tensor([(0.0, 0.0), (1.0, 2.0), (5.0, 0.0)], dtype=torch.float64)
    assert hausdorff(first, second) == hausdorff(second, first) == 4.0
    inner, outer = Ellipse(torch.zeros(2).double(), 10 * torch.eye(2).double()), None
    outer = replace(inner, axes=inner.axes * 1.3)
    assert hausdorff(inner.outline(500), outer.outline(500)) == pytest.approx(3.0, abs=1e-9)


def test_nearly_round_shapes_become_round_and_others_stay() -> None:
    noise = torch.randn(12, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    nearly = circle(40, 40, 20) + 0.25 * noise
    square, star = polygon([(70, 70), (100, 70), (100, 100), (70, 100)]), circle(30, 90, 15)
    star[::3] *= torch.tensor([1.0, 0.9], dtype=torch.float64)
    before = drawing_of(nearly, square, star)
    after = with_ellipses(before, tolerance=1.0)
    assert not torch.equal(after.points[:, :12], before.points[:, :12])
    assert torch.equal(after.points[:, 12:], before.points[:, 12:])
    assert path_areas(after)[0, 0] == pytest.approx(float(path_areas(before)[0, 0]), rel=0.005)
    moved = hausdorff(outlines(before, 0)[0], outlines(after, 0)[0])
    assert moved < 1.3
    radii = (outlines(after, 0)[0] - outlines(after, 0)[0].mean(0)).norm(dim=1)
    assert float(radii.max() - radii.min()) < 0.03  # a circle of four cubics is one up to 0.03 %
    assert torch.equal(with_ellipses(before, tolerance=0.0).points[:, 12:], before.points[:, 12:])


def test_an_empty_drawing_stays_empty() -> None:
    empty = drawing_of(circle(40, 40, 10)).select([])
    assert tidy(empty).layout.num_paths == 0


def test_mean_widths_of_discs_bands_and_strokes() -> None:
    widths = mean_widths(drawing_of(circle(40, 40, 12), band(2, 80)))
    assert widths.tolist() == pytest.approx([12.0, 2 * 80 / 82], rel=1e-3)
    rectangle = Drawing(
        Layout((Kind.RECTANGLE, Kind.STROKE), ((0,), (1,))),
        torch.tensor([[[0.0, 0.0], [10.0, 30.0], *[[float(i), 0.0] for i in range(4)]]]),
        torch.ones(1, 2, 4),
        torch.tensor([[1.0, 3.5]]),
        torch.ones(1, 3),
        (SIDE, SIDE),
    )
    assert mean_widths(rectangle).tolist() == pytest.approx([2 * 300 / 80, 3.5])


def test_near_colours_become_their_mean_by_area_and_others_stay() -> None:
    shapes = (circle(30, 30, 20), circle(80, 30, 10), circle(60, 90, 10))
    before = drawing_of(*shapes, colours=[(0.5, 0.5, 0.5), (0.53, 0.5, 0.5), (0.9, 0.1, 0.1)])
    after = snapped(before, 0.05)
    mean = (400 * 0.5 + 100 * 0.53) / 500
    assert after.colours[0, :2, 0].tolist() == pytest.approx([mean, mean], abs=1e-4)
    assert torch.equal(after.colours[0, 2], before.colours[0, 2])
    assert torch.equal(snapped(before, 0.0).colours, before.colours)
    assert snapped(before, 2.0).colours[0, :, :3].unique(dim=0).shape[0] == 1


def test_what_nobody_sees_goes_and_of_twins_one_stays() -> None:
    large, small, twin = circle(60, 60, 40), circle(60, 60, 10), circle(60, 60, 40)
    drawing = drawing_of(small, large, twin)  # the small one lies under two equal large ones
    # Two edges one over the other cover their pixels more than one does: that is all that changes.
    after = without_unseen(drawing, Tidy(unseen=1e-3))
    assert after.layout.num_paths == 1
    with torch.no_grad():
        assert ((rasterize(after) - rasterize(drawing)).abs().amax(1) > 1e-5).float().mean() < 0.04
    visible = drawing_of(large, small, colours=[(0, 0, 1), (1, 0, 0)])
    assert without_unseen(visible, Tidy()).layout.num_paths == 2


def test_slivers_may_cost_more_than_discs_of_the_same_area() -> None:
    # A band of 0.7 x 40 pixels and a disc of its area: only the one with a mean width below the bound goes.
    radius = math.sqrt(0.7 * 40 / math.pi)
    pale = [(0.9, 0.9, 0.9)] * 2
    drawing = drawing_of(band(0.7, 40), circle(80, 90, radius), colours=pale)
    bound = 0.7 * 40 / SIDE**2 * 0.1**2
    after = without_unseen(drawing, Tidy(unseen=bound / 3))
    assert after.layout.num_paths == 1
    assert torch.equal(after.points, drawing.points[:, 12:])


def test_the_picture_hardly_changes_and_a_second_time_nothing_does() -> None:
    drawing = random_circles(40, size=(SIDE, SIDE), radius=16.0, generator=torch.Generator().manual_seed(3))
    once = tidy(drawing)
    with torch.no_grad():
        assert (rasterize(once) - rasterize(drawing)).square().mean() < 3e-3
    again = tidy(once)
    assert again.layout == once.layout
    assert torch.allclose(again.points, once.points, atol=0.02)
