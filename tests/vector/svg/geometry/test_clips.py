"""Shapes cut by rectangles."""

import math

import numpy as np
import pytest
import torch

from runtime.vector.paths import Kind
from runtime.vector.raster import rasterize
from runtime.vector.svg.geometry.clips import crop, holds, inscribed, quadrilateral
from runtime.vector.svg.geometry.contours import Contour, Paint, extent
from runtime.vector.svg.geometry.path_data import parse_path_data
from tests.tolerance import RASTER_PIXEL

CORNERS = np.array([[10.0, 10.0], [50.0, 10.0], [50.0, 40.0], [10.0, 40.0]])


def fill(data: str, kind: Kind = Kind.NONZERO) -> Paint:
    return Paint(kind, [Contour(outline.points, True) for outline in parse_path_data(data)[0]], (0.0, 0.0, 0.0, 1.0))


def picture(paint: Paint | None) -> torch.Tensor:
    from runtime.vector.svg.geometry.contours import assemble

    return rasterize(assemble([paint] if paint else [], (1.0, 1.0, 1.0), (64, 64)))[0, 0]


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize("kind", [Kind.NONZERO, Kind.EVENODD])
@pytest.mark.parametrize(
    "data",
    [
        "M30 -5A30 30 0 1 1 30 55A30 30 0 1 1 30 -5Z",
        "M0 20C20 -40 40 90 60 20L60 60L0 60Z",
        "M5 5H60V60H5ZM20 20H55V30H20Z",
        "M32 2L45 55L5 20H60L18 55Z",
        "M20 0V60H25V0H30V60H35V0Z",
    ],
)
def test_inside_the_region_the_shape_is_as_it_was_and_outside_is_nothing(data: str, kind: Kind, turn: int) -> None:
    whole, part = picture(fill(data, kind)), picture(crop(fill(data, kind), CORNERS[::turn]))
    # A segment that was cut is flattened in other pieces.
    torch.testing.assert_close(part[10:40, 10:50], whole[10:40, 10:50], atol=RASTER_PIXEL, rtol=0)
    part[10:40, 10:50] = 1
    assert part.min() > 1 - 2e-5


def test_a_turned_region_cuts_along_its_sides() -> None:
    angle = math.radians(30)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    corners = (np.array([[-8.0, -8.0], [8.0, -8.0], [8.0, 8.0], [-8.0, 8.0]]) @ turn.T) + 32
    assert (1 - picture(crop(fill("M2 2H62V62H2Z"), corners))).sum().item() == pytest.approx(256, abs=0.01)


def test_what_is_inside_stays_the_same_and_what_is_outside_goes() -> None:
    inside = fill("M20 20H30V30Z")
    assert crop(inside, CORNERS) is inside
    assert crop(fill("M52 0H60V60Z"), CORNERS) is None
    line = Contour(np.array([[20.0, 20.0], [22, 20], [24, 20], [26, 20]]), False)
    stroke = Paint(Kind.STROKE, [line], (0.0, 0.0, 0.0, 1.0), 4.0)
    assert crop(stroke, CORNERS) is stroke
    cut = crop(Paint(Kind.STROKE, [line], (0.0, 0.0, 0.0, 1.0), 30.0), CORNERS)
    assert cut is not None and cut.kind == Kind.NONZERO
    low, high = extent(cut.contours)
    np.testing.assert_allclose([low, high], [CORNERS.min(axis=0).clip(min=5), CORNERS.max(axis=0).clip(max=[41, 35])])


def test_a_square_that_is_cut_to_a_square_stays_one() -> None:
    square = fill("M0 0H30V30H0Z", Kind.RECTANGLE)
    half = crop(square, CORNERS)
    assert half is not None and half.kind == Kind.RECTANGLE
    tilted = crop(square, CORNERS @ np.array([[0.9, 0.1], [-0.1, 0.9]]))
    assert tilted is not None and tilted.kind == Kind.NONZERO


def test_outlines_that_hold_and_outlines_that_cut() -> None:
    def outline(data: str) -> Contour:
        return parse_path_data(data)[0][0]

    assert quadrilateral(outline("M0 0H9V5H0Z")).tolist() == [[0, 0], [9, 0], [9, 5], [0, 5]]
    assert quadrilateral(outline("M0 0H9L8 5 1 6")) is not None
    disc = "M5 0A5 5 0 1 1 -5 0A5 5 0 1 1 5 0Z"
    others = ("M0 0L9 5V0L0 5Z", "M0 0L9 0 2 1 0 9Z", "M0 0H9V5Z", disc, "M0 0H9V5C8 6 0 6 0 5Z")
    assert [data for data in others if quadrilateral(outline(data)) is not None] == []
    bean = outline("M0 0C9 9 9 -9 0 0Z")
    box = np.array([[-3.0, -3.0], [3.0, 3.0]])
    assert holds(inscribed(outline(disc)), box) and not holds(inscribed(outline(disc)), 2 * box)
    assert inscribed(outline("M0 0L9 5V0L0 5Z")) is None and inscribed(bean) is not None
    assert inscribed(outline("M0 -9L2 2 9 3 2 4 0 9 -2 4 -9 3 -2 2Z")) is None
