"""Path data by hand: every command, smooth ones after each kind of curve, and faults."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import UserError
from runtime.vector.paths import Kind, Layout
from runtime.vector.svg.geometry.path_data import parse_path_data
from tests.vector.svg.drawings import ROUND, contour, read


def test_path_commands_become_cubics():
    drawing = read('<path d="M10 20 L40 20 Q50 20 50 30 h-10 v10 c0 5-5 5-10 5 S20 50 10 40 T 5 30 z"/>')
    assert drawing.layout == Layout((Kind.NONZERO,), ((8,),))
    points = contour(drawing)
    on_curve = [(10, 20), (40, 20), (50, 30), (40, 30), (40, 40), (30, 45), (10, 40), (5, 30)]
    np.testing.assert_allclose(points[::3], on_curve, atol=1e-4)
    np.testing.assert_allclose(points[1:3], [(20, 20), (30, 20)], atol=1e-4)  # a line: thirds
    np.testing.assert_allclose(points[4:6], [(40 + 20 / 3, 20), (50, 20 + 10 / 3)], atol=1e-4)  # a quadratic
    np.testing.assert_allclose(points[16:18], [(25, 45 + 0), (20, 50)], atol=1e-4)  # S mirrors (35, 45) -> (25, 45)


def test_open_and_closed_contours_go_on_as_svg_says():
    drawing = read(f'<path d="M0 0H10V10z m20 0h5v5h-5" fill="none" stroke="red" {ROUND}/>')
    assert drawing.layout.kinds == (Kind.STROKE, Kind.STROKE)
    np.testing.assert_allclose(contour(drawing, 0)[::3], [(0, 0), (10, 0), (10, 10), (0, 0)], atol=1e-6)
    np.testing.assert_allclose(contour(drawing, 1)[::3], [(20, 0), (25, 0), (25, 5), (20, 5)], atol=1e-6)
    filled = read('<path d="M0 0H10V10z m20 0h5v5h-5"/>')
    assert filled.layout.contours == ((3, 4),)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="MmLlHhVvCcSsQqTtAaZz0123456789.-+eE, \n", max_size=40))
def test_any_path_data_is_read_or_refused(text):
    try:
        drawing = read(f'<path d="{text}"/><circle r="4"/>')
    except UserError:
        return
    assert drawing.points.isfinite().all()


def points_of(text: str) -> list[np.ndarray]:
    contours, rest = parse_path_data(text)
    assert rest == ""
    return [contour.points for contour in contours]


@pytest.mark.parametrize(
    ("text", "control"),
    [
        ("M0 0 C1 1 2 2 3 0 S5 2 6 0", (4, -2)),
        ("M0 0 C1 1 2 2 3 0 S5 2 6 0 S8 2 9 0", (7, -2)),
        ("M0 0 Q1 2 3 0 S5 2 6 0", (3, 0)),
        ("M0 0 T3 0 S5 2 6 0", (3, 0)),
        ("M0 0 L3 0 S5 2 6 0", (3, 0)),
        ("M3 0 S5 2 6 0", (3, 0)),
        ("M0 0 C1 1 2 2 3 0 Z S5 2 6 0", (0, 0)),
        ("M0 0 A3 3 0 0 1 3 0 S5 2 6 0", (3, 0)),
    ],
)
def test_a_smooth_cubic_mirrors_the_last_control_of_cubics_only(text: str, control: tuple[float, float]) -> None:
    np.testing.assert_allclose(points_of(text)[-1][-3], control, atol=1e-12)


@pytest.mark.parametrize(
    ("text", "control"),
    [
        ("M0 0 Q1 2 3 0 T6 0", (5, -2)),
        ("M0 0 Q1 2 3 0 T6 0 T9 0", (7, 2)),
        ("M0 0 C1 1 2 2 3 0 T6 0", (3, 0)),
        ("M0 0 C1 1 2 2 3 0 S5 2 3 0 T6 0", (3, 0)),
        ("M3 0 T6 0", (3, 0)),
        ("m1 0 q1 2 2 0 t3 0", (4, -2)),
    ],
)
def test_a_smooth_quadratic_mirrors_the_last_control_of_quadratics_only(text: str, control: tuple) -> None:
    start, first, second, end = points_of(text)[-1][-4:]
    np.testing.assert_allclose((3 * first - start) / 2, control, atol=1e-12)
    np.testing.assert_allclose((3 * second - end) / 2, control, atol=1e-12)


def test_numbers_need_no_separators() -> None:
    (points,) = points_of("M8.5.5-1e1+2L8. 8.,1E+1-.5")
    np.testing.assert_allclose(points[::3], [(8.5, 0.5), (-10, 2), (8, 8), (10, -0.5)])
    (points,) = points_of("M0 0a5 5 0 0110 0 5 5 0 1010,0")  # flags are one digit each
    np.testing.assert_allclose(points[-1], (20, 0))


@pytest.mark.parametrize(
    ("text", "ends", "rest"),
    [
        ("M8 8H56V56H8Z X", [(8, 8), (56, 8), (56, 56), (8, 56), (8, 8)], "X"),
        ("M0 0L5 5 6", [(0, 0), (5, 5)], "6"),
        ("M0 0L5 5,", [(0, 0), (5, 5)], ","),
        ("M0 0L5 5L nan 3", [(0, 0), (5, 5)], "nan 3"),
        ("M0 0L5,,5", [], ",5"),
        ("L5 5", [], "L5 5"),
        ("M0 0 L5 5 A1 1 0 2 0 9 9", [(0, 0), (5, 5)], "1 1 0 2 0 9 9"),
        ("M0 0 L5 5 C1 1 2 2", [(0, 0), (5, 5)], "1 1 2 2"),
        ("M", [], "its end"),
    ],
)
def test_a_path_is_drawn_up_to_its_first_error(text: str, ends: list, rest: str) -> None:
    contours, error = parse_path_data(text)
    assert error.endswith(rest) and bool(contours) == bool(ends)
    if ends:
        np.testing.assert_allclose(contours[0].points[::3], ends)


def test_a_moved_and_closed_point_is_a_contour_and_more_closes_are_none() -> None:
    contours, _ = parse_path_data("M5 6Z" + "z" * 9)
    assert [contour.points.tolist() for contour in contours] == [[[5, 6]] * 4]
    assert parse_path_data("M5 6")[0] == []


@pytest.mark.parametrize(("large", "sweep"), [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("rotation", [0, 30, -400])
def test_arcs_lie_on_their_ellipse_on_the_side_that_the_flags_say(large: int, sweep: int, rotation: float) -> None:
    (points,) = points_of(f"M2 1A5 3 {rotation} {large} {sweep} 6 3")
    # The ellipse's centre is the point whose distances, in its frame, to start and end are 1.
    turn = np.exp(-1j * math.radians(rotation))

    def framed(point: np.ndarray) -> np.ndarray:
        z = (point[..., 0] + 1j * point[..., 1]) * turn
        return z.real / 5 + 1j * z.imag / 3

    t = np.linspace(0, 1, 33)[:, None]
    weights = np.concatenate([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], 1)
    along = framed(np.concatenate([weights @ points[k : k + 4] for k in range(0, len(points) - 1, 3)]))
    start, end = along[0], along[-1]
    half = (end - start) / 2
    side = 1j * half / abs(half) * math.sqrt(1 - abs(half) ** 2) * (1 if large != sweep else -1)
    centre = (start + end) / 2 + side
    np.testing.assert_allclose(np.abs(along - centre), 1, atol=3e-4)
    turned = np.angle((along[1:] - centre) / (along[:-1] - centre)).sum()
    assert (turned > 0) == bool(sweep)
    assert (abs(turned) > math.pi) == bool(large)


def test_an_arc_that_cannot_reach_its_end_is_enlarged_and_one_without_radius_is_a_line() -> None:
    (points,) = points_of("M0 0A1 1 0 0 1 10 0")  # half a circle of radius 5
    np.testing.assert_allclose(points[3], (5, -5), atol=1e-9)
    (points,) = points_of("M0 0A0 1 0 0 1 9 0")
    np.testing.assert_allclose(points, [(0, 0), (3, 0), (6, 0), (9, 0)])
    assert points_of("M1 1A1 1 0 0 1 1 1") == []
