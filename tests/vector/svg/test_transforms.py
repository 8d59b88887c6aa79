"""Transforms, their origins, and view boxes."""

import numpy as np
import pytest

from runtime.vector.svg.transforms import about, fit, parse_origin, parse_steps, parse_transform
from tests.vector.svg.drawings import ROUND, contour, read


def test_transforms_nest_left_to_right():
    drawing = read(
        '<g transform="translate(10,20) scale(2)"><g transform="rotate(90 5 5)">'
        '<path d="M5 5L10 5L10 10z" transform="matrix(1 0 0 1 1 0) skewX(0)"/></g></g>'
    )

    def mapped(x, y):
        x = x + 1
        x, y = 5 - (y - 5), 5 + (x - 5)  # a quarter turn about (5, 5), clockwise on the screen
        return 10 + 2 * x, 20 + 2 * y

    np.testing.assert_allclose(contour(drawing)[::3], [mapped(5, 5), mapped(10, 5), mapped(10, 10)], atol=1e-5)


def test_stroke_widths_scale_with_the_transform():
    drawing = read(f'<path d="M0 0H9" transform="scale(4)" stroke="red" fill="none" stroke-width="3" {ROUND}/>')
    assert drawing.widths[0, 0] == pytest.approx(12)
    stretched = read('<path d="M10 5H20" transform="scale(2 8)" stroke="red" fill="none" stroke-width="3"/>')
    low, high = contour(stretched).min(axis=0), contour(stretched).max(axis=0)
    np.testing.assert_allclose([low, high], [(20, 28), (40, 52)])


def mapped(matrix: np.ndarray, x: float, y: float) -> list[float]:
    return (matrix @ [x, y, 1])[:2].tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("translateX(8px)", (11, 5)),
        ("translateY(-2)", (3, 3)),
        ("translate(10%, 10%)", (13, 9)),
        ("scaleX(2)", (6, 5)),
        ("scaleY(3)", (3, 15)),
        ("rotate(.25turn)", (-5, 3)),
        ("rotate(100grad)", (-5, 3)),
        ("rotate(1.5707963267948966rad)", (-5, 3)),
        ("rotate(90deg)", (-5, 3)),
        ("rotate(90 3 0)", (-2, 0)),
        ("skewX(45)", (8, 5)),
        ("skewY(45deg)", (3, 8)),
        ("skew(45deg, 45deg)", (8, 8)),
        ("matrix(1,0,0,1,2,3)", (5, 8)),
        ("translate(1)scale(2),rotate(0)", (7, 10)),
        ("none", (3, 5)),
        ("", (3, 5)),
    ],
)
def test_functions_of_attributes_and_css(text: str, expected: tuple[float, float]) -> None:
    assert mapped(parse_transform(text, (0, 0, 100, 40)), 3, 5) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    ["rotate3d(1,0,0,5deg)", "scale(2", "scale(a)", "rotate(1,2)", "foo(1)", "scale(2) x", "matrix(1%,0,0,1,0,0)"],
)
def test_other_transforms_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="transform"):
        parse_transform(text)


@pytest.mark.parametrize(
    ("origin", "centre"),
    [
        ("32 16", (32, 16)),
        ("50% 50%", (50, 20)),
        ("center", (50, 20)),
        ("right top", (100, 0)),
        ("bottom left", (0, 40)),
        ("top", (50, 0)),
        ("10px", (10, 20)),
        ("1 2 0", (1, 2)),
    ],
)
def test_an_origin_stays_where_it_is(origin: str, centre: tuple[float, float]) -> None:
    matrix = about(parse_transform("rotate(33) scale(2 3)"), parse_origin(origin, (0, 0, 100, 40)))
    assert mapped(matrix, *centre) == pytest.approx(centre)


@pytest.mark.parametrize("origin", ["", "bottom 10px", "10px left", "top bottom", "left 10px top 5px", "1 2 top", "a"])
def test_other_origins_are_refused(origin: str) -> None:
    with pytest.raises(ValueError, match="transform-origin"):
        parse_origin(origin, (0, 0, 100, 40))


def test_steps_stand_before_the_transform() -> None:
    matrix = parse_steps("10px 25%", "z 90deg", "2 50%", (0, 0, 100, 40))
    assert mapped(matrix, 3, 4) == pytest.approx([10 - 2, 10 + 6])
    with pytest.raises(ValueError, match="rotate"):
        parse_steps("none", "x 90deg", "none", (0, 0, 100, 40))


def test_transform_origin_of_an_element() -> None:
    drawing = read('<path d="M32 32H40V40" transform="rotate(90)" transform-origin="32 32"/>')
    np.testing.assert_allclose(contour(drawing)[::3], [(32, 32), (32, 40), (24, 40)], atol=1e-5)
    about = "transform:rotate(90deg);transform-origin:center;transform-box:fill-box"
    turned = read(f'<path d="M30 30H50V40Z" style="{about}"/>')
    np.testing.assert_allclose(contour(turned)[::3], [(45, 25), (45, 45), (35, 45)], atol=1e-5)
    # SVG 1.1 has no box of its own for a group: that around its children counts, each where its transform puts it.
    group = f'<g style="{about}"><path d="M0 0H20V10Z" transform="translate(30 30)"/></g>'
    np.testing.assert_allclose(contour(read(group))[::3], [(45, 25), (45, 45), (35, 45)], atol=1e-5)


def test_fit_by_hand() -> None:
    box, port = (10.0, 0.0, 20.0, 10.0), (0.0, 0.0, 40.0, 40.0)
    assert mapped(fit(box, port, None), 10, 0) == [0, 10]
    assert mapped(fit(box, port, "xMidYMax meet"), 10, 0) == [0, 20]
    assert mapped(fit(box, port, "defer xMinYMin slice"), 30, 10) == [80, 40]
    assert mapped(fit(box, port, "none"), 30, 10) == [40, 40]
