"""Pictures with alpha: the paper before which they are traced, holes by Skia, colours and alphas of paths."""

import math

import pytest
import torch
from torch import Tensor

from runtime.vector.paths import Drawing, Kind, Layout
from runtime.vector.raster import rasterize
from runtime.vector.trace.transparency import (
    _contours,
    _elevated,
    _polygon,
    _without,
    before,
    paper_colour,
    with_transparency,
)

SIDE = 64


def disc(radius: float, x: float = 32.0, y: float = 32.0) -> Tensor:
    """Return control points of a circle of four cubic segments."""
    k = 4 / 3 * math.tan(math.pi / 8)
    unit = [(1, 0), (1, k), (k, 1), (0, 1), (-k, 1), (-1, k), (-1, 0), (-1, -k), (-k, -1), (0, -1), (k, -1), (1, -k)]
    return torch.tensor([(x + radius * a, y + radius * b) for a, b in unit], dtype=torch.float32)


def traced(*paths: tuple[Tensor, tuple[float, float, float]], background=(0.0, 0.0, 1.0)) -> Drawing:
    return Drawing(
        Layout((Kind.NONZERO,) * len(paths), ((4,),) * len(paths)),
        torch.cat([points for points, _ in paths])[None],
        torch.tensor([[*colour, 1.0] for _, colour in paths], dtype=torch.float32)[None],
        torch.ones(1, len(paths)),
        torch.tensor([background]),
        (SIDE, SIDE),
    )


def inside(radius: float, x: float = 32.0, y: float = 32.0) -> Tensor:
    axis = torch.arange(SIDE) + 0.5
    return ((axis - x) ** 2)[None, :] + ((axis - y) ** 2)[:, None] < radius**2


def picture(*layers: tuple[Tensor, tuple[float, float, float, float]]) -> Tensor:
    """Return RGBA; each layer replaces what is below it."""
    rgba = torch.zeros(4, SIDE, SIDE)
    for mask, colour in layers:
        rgba[:, mask] = torch.tensor(colour, dtype=torch.float32)[:, None]
    return rgba


def test_the_paper_is_white_unless_the_picture_has_something_like_it() -> None:
    assert paper_colour(picture((inside(20), (1, 0, 0, 1)))).tolist() == [1, 1, 1]
    assert paper_colour(torch.zeros(4, 3, 3)).tolist() == [1, 1, 1]
    white = paper_colour(picture((inside(20), (1, 1, 1, 1))))
    assert white.tolist() == [0, 0, 0]
    both = picture((inside(20), (1, 1, 1, 1)), (inside(10), (0, 0, 0, 1)))
    # Half way between two hues a colour is as far from black as from white: the root of 1 + 1 / 4.
    distances = torch.cdist(paper_colour(both)[None], torch.tensor([[0.0, 0, 0], [1, 1, 1]]))
    assert distances.min() == pytest.approx(1.25**0.5)
    faint = picture((inside(20), (1, 0, 0, 1)), (inside(3), (1, 1, 1, 0.05)))
    assert paper_colour(faint).tolist() == [1, 1, 1]


def test_a_picture_before_a_paper() -> None:
    rgba = picture((inside(20), (1, 0, 0, 0.25)))
    assert before(rgba, torch.tensor([0.0, 1, 0]))[:, 32, 32].tolist() == [0.25, 0.75, 0]
    assert before(rgba, torch.tensor([0.0, 1, 0]))[:, 0, 0].tolist() == [0, 1, 0]


def test_a_hole_is_a_contour_of_what_is_around_it() -> None:
    blue = (0.0, 0.0, 1.0)
    drawing = with_transparency(
        traced((disc(24), (1, 0, 0)), (disc(10), blue)),
        picture((inside(24), (1, 0, 0, 1)), (inside(10), (0, 0, 0, 0))),
    )
    assert drawing.layout.num_paths == 1
    assert len(drawing.layout.contours[0]) == 2
    assert drawing.colours[0, 0].tolist() == [1, 0, 0, 1]
    shown = 1 - rasterize(drawing)[0, 1]
    assert float(shown.sum()) == pytest.approx(math.pi * (24**2 - 10**2), rel=2e-3)


def test_a_hole_that_reaches_over_the_edge_takes_a_bite() -> None:
    drawing = with_transparency(
        traced((disc(20), (1, 0, 0)), (disc(10, x=52.0), (0, 0, 1))),
        picture((inside(20), (1, 0, 0, 1)), (inside(10, x=52.0), (0, 0, 0, 0))),
    )
    assert drawing.layout.num_paths == 1
    # The lens of two circles whose middles are as far apart as the larger one's radius.
    r, s, d = 20.0, 10.0, 20.0
    lens = r * r * math.acos((d * d + r * r - s * s) / (2 * d * r)) + s * s * math.acos(
        (d * d + s * s - r * r) / (2 * d * s)
    )
    lens -= 0.5 * math.sqrt((-d + r + s) * (d + r - s) * (d - r + s) * (d + r + s))
    assert float((1 - rasterize(drawing)[0, 1]).sum()) == pytest.approx(math.pi * r * r - lens, rel=3e-3)


def test_what_is_translucent_lies_on_nothing() -> None:
    drawing = with_transparency(
        traced((disc(24), (1, 0, 0)), (disc(12), (0.5, 0.5, 0.5))),
        picture((inside(24), (1, 0, 0, 1)), (inside(12), (0, 1, 0, 0.5))),
    )
    assert drawing.layout.num_paths == 2
    assert drawing.colours[0, 1].tolist() == pytest.approx([0, 1, 0, 0.5], abs=0.01)
    black = torch.zeros(1, 3)
    shown = rasterize(Drawing(**{**drawing.__dict__, "background": black}))[0]
    assert shown[:, 32, 32].tolist() == pytest.approx([0, 0.5, 0], abs=0.01)
    assert shown[:, 32, 12].tolist() == pytest.approx([1, 0, 0], abs=0.01)


def test_an_opaque_background_stays_around_a_hole() -> None:
    green = (0.0, 0.8, 0.0)
    rgba = picture((torch.ones(SIDE, SIDE, dtype=torch.bool), (*green, 1)), (inside(16), (0, 0, 0, 0)))
    drawing = with_transparency(traced((disc(16), (0, 0, 1)), background=green), rgba)
    assert drawing.layout.num_paths == 1
    assert drawing.colours[0, 0].tolist() == pytest.approx([*green, 1])
    assert float((1 - rasterize(drawing)[0, 0]).sum()) == pytest.approx(SIDE**2 - math.pi * 16**2, rel=2e-3)


def test_a_picture_of_nothing_is_a_drawing_of_nothing() -> None:
    drawing = with_transparency(traced((disc(16), (0, 0, 1))), torch.zeros(4, SIDE, SIDE))
    assert drawing.layout.num_paths == 0
    assert torch.equal(rasterize(drawing), torch.ones(1, 3, SIDE, SIDE))


def test_a_path_that_nobody_sees_is_left_alone() -> None:
    drawing = with_transparency(
        traced((disc(10), (0, 1, 0)), (disc(24), (1, 0, 0))), picture((inside(24), (1, 0, 0, 1)))
    )
    assert drawing.colours[0].tolist() == [[0, 1, 0, 1], [1, 0, 0, 1]]


def test_lines_and_quadratic_curves_become_cubic_ones() -> None:
    square = _contours(_polygon([(0, 0), (8, 0), (8, 8), (0, 8)]))
    assert [len(contour) for contour in square] == [12]
    frame = _contours(_without(_polygon([(0, 0), (8, 0), (8, 8), (0, 8)]), _polygon([(2, 2), (4, 2), (4, 4), (2, 4)])))
    assert len(frame) == 2
    places = _elevated(torch.zeros(2).numpy(), ((1.0, 2.0), (3.0, 2.0), (4.0, 0.0)))
    # Two parabolas that meet in the middle of their control points.
    assert places[2] == (2.0, 2.0) and places[5] == (4.0, 0.0)
    t = 0.3
    curve = [3 * t * (1 - t) ** 2 * a + 3 * t * t * (1 - t) * b + t**3 * c for a, b, c in zip(*places[:3], strict=True)]
    assert curve == pytest.approx([2 * t * (1 - t) * 1 + t * t * 2, 2 * t * (1 - t) * 2 + t * t * 2])
