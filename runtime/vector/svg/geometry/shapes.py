"""SVG's shapes as contours of cubic Bezier segments."""

import math
from collections.abc import Callable

import numpy as np

from runtime.vector.svg.geometry.arcs import Point, line_points, turn_points
from runtime.vector.svg.geometry.contours import Contour
from runtime.vector.svg.geometry.path_data import parse_path_data
from runtime.vector.svg.values import FONT_SIZE, LARGEST, NUMBER, parse_length
from runtime.vector.svg.xml import Element

SHAPES = ("path", "rect", "circle", "ellipse", "line", "polyline", "polygon")
"""Elements that `shape_contours` reads."""


def shape_contours(
    element: Element, view: tuple[float, float], em: float = FONT_SIZE, note: Callable[[str], None] | None = None
) -> list[Contour]:
    """Return the contours of a shape in its own user units; empty where the shape draws nothing.

    Args:
        element: one of `SHAPES`.
        view: width and height of the user's view, which percentages are of.
        em: size of the font, in user units.
        note: called with what is wrong with a path or polygon, which is drawn up to there.

    Raises:
        ValueError: where its geometry cannot be read, or is larger than `LARGEST`.
    """
    match element.tag:
        case "path":
            contours = _path(element.attributes.get("d", ""), note)
        case "polyline" | "polygon":
            contours = _polygon(element, note)
        case _:
            contours = _measured_shape(element.tag, _lengths_of(element, view, em))
    for contour in contours:
        # Written so that a NaN fails too, such as one of infinity minus infinity.
        if not (np.abs(contour.points) <= LARGEST).all():
            raise ValueError(f"a coordinate is not a number up to {LARGEST:g}")
    return contours


def _path(text: str, note: Callable[[str], None] | None) -> list[Contour]:
    if text.strip() == "none":
        return []
    contours, rest = parse_path_data(text)
    if rest and note:
        note(f"path data is drawn up to its error at '{rest[:40]}'")
    return contours


def _polygon(element: Element, note: Callable[[str], None] | None) -> list[Contour]:
    text = element.attributes.get("points", "")
    numbers, position = [], 0
    # As path data: drawn up to the first error, and an odd coordinate at the end is one.
    while position < len(text):
        if text[position] in " \t\r\n\f,":
            position += 1
            continue
        match = NUMBER.match(text, position)
        if match is None:
            break
        numbers.append(float(match[0]))
        position = match.end()
    if note and (position < len(text) or len(numbers) % 2):
        note(f"points are drawn up to their error at '{text[position:][:40] or 'its end'}'")
    corners = list(zip(numbers[0::2], numbers[1::2], strict=False))
    if element.tag == "polygon" and len(corners) == 1:
        corners *= 2  # a contour of one point, which round and square caps show
    if len(corners) < 2:
        return []
    return [through(corners, closed=element.tag == "polygon")]


def through(corners: list[Point], *, closed: bool) -> Contour:
    """Return the straight lines through corners."""
    points = [corners[0]]
    ends = [*corners[1:], corners[0]] if closed and corners[-1] != corners[0] else corners[1:]
    for end in ends:
        points += line_points(points[-1], end)
    return Contour(np.array(points, dtype=np.float64), closed)


def _measured_shape(tag: str, length: Callable[..., float | None]) -> list[Contour]:
    """Return a line, rectangle, circle or ellipse of which `length` reads the lengths."""
    if tag == "line":
        start, end = (length("x1") or 0.0, length("y1") or 0.0), (length("x2") or 0.0, length("y2") or 0.0)
        return [Contour(np.array([start, *line_points(start, end)]), False)]
    if tag == "rect":
        width, height = length("width") or 0.0, length("height") or 0.0
        rx, ry = _either(length("rx"), length("ry"))
        corner = (length("x") or 0.0, length("y") or 0.0)
        if width <= 0 or height <= 0:
            return []
        # SVG 2, section 10.2: each radius is clamped alone, where CSS scales all radii of a box together.
        return [_rectangle(corner, (width, height), (min(rx, width / 2), min(ry, height / 2)))]
    radii = (length("r") or 0.0,) * 2 if tag == "circle" else _either(length("rx"), length("ry"))
    centre = (length("cx") or 0.0, length("cy") or 0.0)
    if min(radii) <= 0:
        return []
    start = (centre[0] + radii[0], centre[1])
    points = turn_points(centre, (radii[0], 0.0), (0.0, radii[1]), 0.0, math.tau)
    # The end is the start to the bit: a rounded one may be closed by another line, with a join of its own.
    return [Contour(np.array([start, *points[:-1], start]), True)]


def _either(rx: float | None, ry: float | None) -> tuple[float, float]:
    """Return both radii; one that is missing or negative, and so invalid, is as the other."""
    rx = None if rx is None or rx < 0 else rx
    ry = None if ry is None or ry < 0 else ry
    return (rx if rx is not None else ry or 0.0), (ry if ry is not None else rx or 0.0)


def _rectangle(corner: Point, size: tuple[float, float], radii: tuple[float, float]) -> Contour:
    """Return a rectangle, clockwise from the left end of its upper side, with round corners where radii are not 0."""
    (left, top), (rx, ry) = corner, radii
    right, bottom = left + size[0], top + size[1]
    if rx <= 0 or ry <= 0:
        return through([(left, top), (right, top), (right, bottom), (left, bottom)], closed=True)
    points: list[Point] = [(left + rx, top)]
    quarters = [
        ((right - rx, top), (right - rx, top + ry)),
        ((right, bottom - ry), (right - rx, bottom - ry)),
        ((left + rx, bottom), (left + rx, bottom - ry)),
        ((left, top + ry), (left + rx, top + ry)),
    ]
    for number, (side_end, centre) in enumerate(quarters):
        if side_end != points[-1]:  # no side is left where the corners meet
            points += line_points(points[-1], side_end)
        points += turn_points(centre, (rx, 0.0), (0.0, ry), (number - 1) * math.tau / 4, math.tau / 4)
    points[-1] = points[0]
    return Contour(np.array(points), True)


def _lengths_of(element: Element, view: tuple[float, float], em: float) -> Callable[[str], float | None]:
    """Return a function that reads one of the element's lengths; None where it is not given or automatic."""
    diagonal = math.hypot(*view) / math.sqrt(2)

    def number(name: str) -> float | None:
        text = element.attributes.get(name, "auto")
        # An attribute without a value is as one that is not given.
        if text.strip() in ("auto", ""):
            return None
        whole = diagonal if name == "r" else view[name in ("y", "y1", "y2", "cy", "ry", "height")]
        try:
            return parse_length(text, whole, em)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    return number
