"""Basic shapes: their contours, and what is wrong with their numbers."""

import math

import numpy as np
import pytest

from runtime.vector.paths import Kind, Layout
from runtime.vector.raster import rasterize
from tests.vector.svg.drawings import ROUND, contour, read


@pytest.mark.parametrize("shape", ['<circle cx="50" cy="40" r="30"/>', '<ellipse cx="50" cy="40" rx="30" ry="15"/>'])
def test_round_shapes_are_four_quarter_arcs(shape):
    drawing = read(shape)
    assert drawing.layout.contours == ((4,),)
    from runtime.vector.trace.outlines import sample_closed

    along = sample_closed(contour(drawing).astype(float), 50) - [50, 40]
    radius = np.hypot(along[:, 0] / 30, along[:, 1] / (30 if "circle" in shape else 15))
    np.testing.assert_allclose(radius, 1, atol=3e-4)


def test_a_rounded_rectangle_has_lines_and_corners():
    drawing = read('<rect x="10" y="20" width="50" height="30" rx="5"/>')
    assert drawing.layout.contours == ((8,),)
    picture = rasterize(drawing)[0, 0]
    area = (1 - picture).sum().item()
    assert area == pytest.approx(50 * 30 - (4 - np.pi) * 25, abs=0.05)


def test_the_rest_of_the_basic_shapes():
    drawing = read(
        f'<polygon points="0,0 10,0 10,10"/><polyline points="0 0 5 5 0 9" fill="none" stroke="#000" {ROUND}/>'
        f'<line x1="1" y1="2" x2="50%" y2="50%" stroke="blue" stroke-width="3" {ROUND}/>'
    )
    assert drawing.layout == Layout((Kind.NONZERO, Kind.STROKE, Kind.STROKE), ((3,), (2,), (1,)))
    np.testing.assert_allclose(contour(drawing, 2)[[0, 3]], [(1, 2), (50, 40)])
    assert drawing.widths[0, 2] == 3


@pytest.mark.parametrize(
    ("radii", "rx", "ry"),
    [
        ('rx="5"', 5, 5),
        ('ry="7"', 7, 7),
        ('rx="-5" ry="20"', 20, 20),
        ('rx="auto" ry="4"', 4, 4),
        ('rx="99" ry="3"', 24, 3),
    ],
)
def test_radii_of_rectangles_that_are_missing_or_negative_are_as_the_other(radii: str, rx: float, ry: float) -> None:
    drawing = read(f'<rect x="8" y="8" width="48" height="48" {radii}/>')
    area = (1 - rasterize(drawing)[0, 0]).sum().item()
    assert area == pytest.approx(48 * 48 - (4 - math.pi) * rx * ry, rel=3e-4)  # arcs are cubics


def test_polygons_are_drawn_up_to_their_first_error() -> None:
    notes: list[str] = []
    drawing = read(
        '<polygon points="0 0 10,0 10 10 x 3"/><polyline points="1 1 2 2 5" stroke="red"/>', report=notes.append
    )
    np.testing.assert_allclose(contour(drawing)[::3], [(0, 0), (10, 0), (10, 10)])
    assert "up to their error at 'x 3'" in notes[0] and "up to their error at 'its end'" in notes[1]


def test_lengths_in_ems_are_of_the_font() -> None:
    drawing = read(
        '<rect width="1em" height="2ex"/><g font-size="10"><rect width="1em" height="1rem" font-size="2em"/></g>'
    )
    np.testing.assert_allclose(contour(drawing, 0)[6], (16, 16))
    np.testing.assert_allclose(contour(drawing, 1)[6], (20, 16))
