"""The size of a canvas, and where the drawing lies on it."""

import numpy as np
import pytest

from runtime.vector.raster import rasterize
from tests.vector.svg.drawings import ROUND, contour, read


def test_the_view_box_fits_the_canvas():
    box = 'viewBox="-10 0 40 20" width="100" height="100"'
    middle = read('<path d="M-10 0H30V20z"/>', box)  # xMidYMid meet: 2.5 pixels a unit, centred down
    np.testing.assert_allclose(contour(middle)[::3], [(0, 25), (100, 25), (100, 75)])
    stretched = read('<path d="M-10 0H30V20z"/>', box + ' preserveAspectRatio="none"')
    np.testing.assert_allclose(contour(stretched)[::3], [(0, 0), (100, 0), (100, 100)])
    slice_ = read('<path d="M-10 0H30V20z"/>', box + ' preserveAspectRatio="xMinYMin slice"')
    np.testing.assert_allclose(contour(slice_)[::3], [(0, 0), (200, 0), (200, 100)])


def test_size_rescales_points_and_widths():
    body = f'<path d="M0 0H100V80" fill="none" stroke="red" stroke-width="4" {ROUND}/>'
    drawing = read(body, size=(160, 200))
    assert drawing.size == (160, 200)
    np.testing.assert_allclose(contour(drawing)[::3], [(0, 0), (200, 0), (200, 160)])
    assert drawing.widths[0, 0] == pytest.approx(8)


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ('width="2in" height="25.4mm"', (96, 192)),
        ('viewBox="0 0 30 40"', (40, 30)),
        ('width="60" viewBox="0 0 30 40"', (80, 60)),
        ('height="20pt" viewBox="0 0 40 40"', (27, 27)),
        ('width="100%" height="100%" viewBox="0 0 7 9"', (9, 7)),
    ],
)
def test_canvas_sizes(attributes, size):
    assert read('<circle r="5"/>', attributes).size == size


@pytest.mark.parametrize(
    ("first", "background"),
    [
        ('<rect width="100" height="80" fill="#102030"/>', (16, 32, 48)),
        ('<path d="M-5-5H110V90H-5z" fill="#102030"/>', (16, 32, 48)),
        ('<rect width="100" height="70" fill="#102030"/>', (255, 255, 255)),
        ('<rect width="100" height="80" fill="#102030" opacity=".5"/>', (255, 255, 255)),
    ],
)
def test_an_opaque_first_rectangle_over_everything_is_the_background(first, background):
    drawing = read(first + '<circle r="9"/>')
    np.testing.assert_allclose(drawing.background[0] * 255, background, atol=1e-3)
    assert drawing.layout.num_paths == (1 if background[0] == 16 else 2)


def test_a_background_does_not_fill_the_bars_beside_the_view_box() -> None:
    drawing = read(
        '<rect width="64" height="32" fill="gold"/><circle r="3"/>', 'width="64" height="64" viewBox="0 0 64 32"'
    )
    assert drawing.background.tolist() == [[1, 1, 1]] and drawing.layout.num_paths == 2
    assert rasterize(drawing)[0, :, 8, 32].tolist() == [1, 1, 1]


def test_ems_and_strokes_that_do_not_scale() -> None:
    assert read('<circle r="5"/>', 'width="2em" height="1em" viewBox="0 0 8 4"').size == (16, 32)
    pen = f'stroke="red" stroke-width="3" {ROUND} vector-effect="non-scaling-stroke"'
    line = f'<path d="M0 0H9" {pen} transform="scale(5)"/>'
    assert read(line, 'width="40" height="40" viewBox="0 0 10 10"').widths[0, 1] == 3
    assert read(line, 'width="40" height="40" viewBox="0 0 10 10"', size=(80, 80)).widths[0, 1] == pytest.approx(6)
