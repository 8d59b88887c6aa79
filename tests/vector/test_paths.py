import math

import pytest
import torch

from runtime.errors import UserError
from runtime.vector.paths import (
    Drawing,
    Kind,
    Layout,
    circle_points,
    outline,
    path_areas,
    pixel_grid,
    random_circles,
    random_strokes,
)
from runtime.vector.raster import rasterize
from tests.tolerance import FLOAT32_ROUNDING
from tests.vector.shapes import disc, drawing_of, polygon


def test_layout_counts_points():
    layout = Layout((Kind.NONZERO, Kind.STROKE, Kind.RECTANGLE, Kind.EVENODD), ((4,), (5,), (0,), (3, 2)))
    assert layout.offsets == (0, 12, 28, 30, 45)
    assert layout.path_slice(1) == slice(12, 28)
    assert (layout.num_paths, layout.num_points) == (4, 45)
    assert layout.select((3, 0)).offsets == (0, 15, 27)
    assert hash(layout) == hash(layout.select(range(4)))


@pytest.mark.parametrize(
    ("kinds", "contours", "words"),
    [
        ((Kind.NONZERO, Kind.NONZERO), ((4,),), "expected contours for 2 paths, got 1"),
        ((Kind.RECTANGLE,), ((4,),), "a rectangle has contours"),
        ((Kind.STROKE,), ((4, 4),), "a stroke has one open contour"),
        ((Kind.NONZERO,), ((),), "at least 1 segment"),
        ((Kind.EVENODD,), ((4, 0),), "at least 1 segment"),
    ],
)
def test_layout_refuses(kinds, contours, words):
    with pytest.raises(UserError, match=words):
        Layout(kinds, contours)


def test_drawing_refuses_wrong_shapes():
    generator = torch.Generator().manual_seed(0)
    fine = random_circles(2, size=(8, 8), generator=generator)
    with pytest.raises(UserError, match=r"drawing points: expected \(1, 24, 2\).*got \(1, 23, 2\)"):
        Drawing(fine.layout, fine.points[:, 1:], fine.colours, fine.widths, fine.background, fine.size)
    with pytest.raises(UserError, match=r"drawing colours: expected .* floating dtype .* torch.int64"):
        Drawing(fine.layout, fine.points, fine.colours.long(), fine.widths, fine.background, fine.size)
    with pytest.raises(UserError, match="at least 1 pixel"):
        Drawing(fine.layout, fine.points, fine.colours, fine.widths, fine.background, (0, 8))


def test_circle_points_lie_on_the_circle():
    points = circle_points(torch.tensor((3.0, 4.0), dtype=torch.float64), 2.0, 4)
    on = points[0::3] - torch.tensor((3.0, 4.0), dtype=torch.float64)
    assert torch.allclose(on.norm(dim=-1), torch.full((4,), 2.0, dtype=torch.float64))
    middle = (points[0] + 3 * points[1] + 3 * points[2] + points[3]) / 8 - torch.tensor((3.0, 4.0))
    assert abs(middle.norm() - 2) < 1e-12, "the middle of each segment lies on the circle"
    with pytest.raises(UserError, match="at least 2"):
        circle_points(torch.zeros(2), 1.0, 1)


def test_path_areas():
    star = polygon([(0, 0), (3, 0), (3, 2), (0, 2)])
    hole = polygon([(1, 1), (1, 1.5), (2, 1.5), (2, 1)])
    box = torch.tensor([(1.0, 2.0), (4.0, 7.0)])
    line = torch.stack((torch.arange(4.0), torch.zeros(4)), -1)
    kinds = (Kind.NONZERO, Kind.EVENODD, Kind.RECTANGLE, Kind.STROKE)
    paths = list(zip(kinds, ([disc(9, 9, 5)], [star, hole], [box], [line]), strict=True))
    areas = path_areas(drawing_of(paths, (20, 20), width=0.5))[0]
    assert torch.allclose(areas, torch.tensor((25 * math.pi, 5.5, 15.0, 1.5), dtype=torch.float64), rtol=1e-5)


def test_starts_follow_the_thesis():
    generator = torch.Generator().manual_seed(1)
    circles = random_circles(64, size=(600, 300), generator=generator, batch=2)
    assert circles.points.shape == (2, 64 * 12, 2)
    assert torch.allclose(path_areas(circles), torch.tensor(math.pi * 100), rtol=1e-3), "20 of 600 is 10 of 300"
    assert circles.colours[..., 3].min() >= 0.7
    assert circles.colours.max() <= 1
    assert (circles.background == 1).all()
    strokes = random_strokes(16, size=(224, 224), generator=generator)
    assert strokes.layout.contours == ((5,),) * 16
    assert (strokes.widths == 6).all()
    assert torch.equal(strokes.colours[0, 0], torch.tensor((0.0, 0.0, 0.0, 1.0)))
    squares = pixel_grid(32, size=(96, 64), generator=generator)
    assert torch.equal(squares.points[0, 2 * 33 : 2 * 34], torch.tensor([(2.0, 3.0), (4.0, 6.0)])), "row 1, column 1"
    assert (path_areas(squares).sum() - 96 * 64).abs() < FLOAT32_ROUNDING * 96 * 64


def test_same_generator_same_drawing():
    first, second = (random_circles(3, size=(9, 9), generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.tensors.values(), second.tensors.values(), strict=True))


def test_select_append_resized():
    generator = torch.Generator().manual_seed(2)
    circles = random_circles(3, size=(32, 32), generator=generator)
    strokes = random_strokes(2, size=(32, 32), generator=generator)
    both = circles.append(strokes)
    assert both.layout.kinds == (Kind.NONZERO,) * 3 + (Kind.STROKE,) * 2
    back = both.select((4, 1))
    assert torch.equal(back.points[0, :16], strokes.points[0, 16:])
    assert torch.equal(back.points[0, 16:], circles.points[0, 12:24])
    assert torch.equal(back.colours[0, 1], circles.colours[0, 1])
    large = both.resized((64, 128))
    assert torch.allclose(large.points[0, 7], both.points[0, 7] * torch.tensor((4.0, 2.0)))
    assert torch.allclose(large.widths, both.widths * 8**0.5)
    with pytest.raises(UserError, match="resized"):
        both.append(large)


def test_outline_runs_round_each_contour():
    """A circle's outline is a ring of area 2 pi r w; the hole of a second contour is a stroke of its own."""
    centres, radii = torch.tensor([[32.0, 32.0], [32.0, 32.0]]), torch.tensor([20.0, 8.0])
    points = circle_points(centres, radii).reshape(1, -1, 2)
    layout = Layout((Kind.EVENODD,), ((4, 4),))
    ring = Drawing(layout, points, torch.rand(1, 1, 4), torch.ones(1, 1), torch.rand(1, 3), (64, 64))
    lines = outline(ring, width=3.0)
    assert lines.layout == Layout((Kind.STROKE,) * 2, ((5,), (5,)))
    ink = 1.0 - rasterize(lines)[0, 0]
    assert ink.sum().item() == pytest.approx(2 * math.pi * (20.0 + 8.0) * 3.0, rel=2e-3)
    distance = (lines.points.reshape(2, 16, 2)[:, 0::3] - 32.0).norm(dim=-1)  # where segments meet
    assert torch.allclose(distance, radii[:, None].expand(2, 6), rtol=5e-4)


def test_outline_keeps_the_curve():
    """Halving changes no point of the curve: both halves at s are the whole at s / 2 and (1 + s) / 2."""
    points = torch.rand(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    lines = outline(drawing_of([(Kind.NONZERO, [points])], (8, 8))).points[0]
    s = torch.linspace(0.0, 1.0, 5, dtype=torch.float64)[:, None]

    def curve(p: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        a, b, c, d = p
        return (1 - s) ** 3 * a + 3 * (1 - s) ** 2 * s * b + 3 * (1 - s) * s**2 * c + s**3 * d

    assert torch.allclose(curve(lines[0:4], s), curve(points[0:4], s / 2), atol=1e-12)
    assert torch.allclose(curve(lines[3:7], s), curve(points[0:4], (1 + s) / 2), atol=1e-12)
    assert torch.equal(lines[6:9], points[3:6]) and torch.equal(lines[9], points[0])


def test_outline_refuses_strokes_and_takes_nothing():
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(UserError, match=r"outline: expected fills only, got path 0 of kind stroke"):
        outline(random_strokes(2, size=(64, 64), generator=generator))
    assert outline(random_circles(1, size=(64, 64), generator=generator).select([])).layout.num_paths == 0
