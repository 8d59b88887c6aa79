"""SVG's shapes as contours of cubic Bezier segments.

svgelements reads path data and transforms and splits arcs; what it would pass over in silence (a malformed tail, an
unknown transform, a number that is not finite) is refused here.
"""

import itertools
import math
import re
from collections.abc import Callable

import numpy as np
import svgelements

from runtime.vector.svg.contours import Contour
from runtime.vector.svg.style import parse_length
from runtime.vector.svg.xml import Element

SHAPES = ("path", "rect", "circle", "ellipse", "line", "polyline", "polygon")
"""Elements that `shape_contours` reads."""

LARGEST = 1e7
"""Largest coordinate, in user units and in pixels."""

_PATH_DATA = re.compile(r"[MmZzLlHhVvCcSsQqTtAa0-9eE+\-.,\s]*")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_TRANSFORM = re.compile(r"[\s,]*(\w+)\s*\(([^()]*)\)[\s,]*")
_ARGUMENTS = {"matrix": (6,), "translate": (1, 2), "scale": (1, 2), "rotate": (1, 3), "skewX": (1,), "skewY": (1,)}


def shape_contours(element: Element, view: tuple[float, float]) -> list[Contour]:
    """Return the contours of a shape in its own user units; empty where the shape draws nothing.

    Args:
        element: one of `SHAPES`.
        view: width and height of the user's view, which percentages are of.

    Raises:
        ValueError: where its geometry cannot be read, or is larger than `LARGEST`.
    """
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused below
            path = _svgelements_path(element, view)
            contours = _contours_of(path) if path else []
    except ArithmeticError as error:
        raise ValueError(f"its geometry ({error})") from None
    for contour in contours:
        if not (np.abs(contour.points) <= LARGEST).all():
            raise ValueError(f"a coordinate is not a number up to {LARGEST:g}")
    return contours


def parse_transform(text: str) -> np.ndarray:
    """Return the (3, 3) matrix of a `transform` attribute.

    Raises:
        ValueError: where it is not a list of SVG's transforms with finite numbers.
    """
    matrix = np.eye(3)
    if text not in ("", "none"):
        for name, arguments in _TRANSFORM.findall(text):
            if len(re.split(r"[\s,]+", arguments.strip())) not in _ARGUMENTS.get(name, ()):
                raise ValueError(f"transform '{text[:60]}'")
        if re.sub(r"[\s,]+|deg|px", "", _NUMBER.sub("", _TRANSFORM.sub(r" \2", text))):
            raise ValueError(f"transform '{text[:60]}'")
        read = svgelements.Matrix(text)
        matrix[:2] = [[read.a, read.c, read.e], [read.b, read.d, read.f]]
    if not (np.abs(matrix) <= LARGEST).all():
        raise ValueError(f"transform '{text[:60]}' is not of numbers up to {LARGEST:g}")
    return matrix


def _svgelements_path(element: Element, view: tuple[float, float]) -> svgelements.Path | None:
    """Return the element as a path of svgelements, or None where it draws nothing."""
    match element.tag:
        case "path":
            return _parse_path_data(element.attributes.get("d", ""))
        case "polyline" | "polygon":
            return _polygon(element)
        case _:
            return _measured_shape(element.tag, _lengths_of(element, view))


def _measured_shape(tag: str, length: Callable[..., float]) -> svgelements.Path | None:
    """Return a line, rectangle, circle or ellipse of which `length` reads the lengths."""
    if tag == "line":
        start, end = (length("x1"), length("y1")), (length("x2"), length("y2"))
        return svgelements.Path(svgelements.Move(start), svgelements.Line(start, end))
    if tag == "rect":
        width, height = length("width"), length("height")
        rx, ry = min(length("rx", "ry"), width / 2), min(length("ry", "rx"), height / 2)
        shape = svgelements.Rect(length("x"), length("y"), width, height, rx, ry)
    else:
        width, height = (length("r"), length("r")) if tag == "circle" else (length("rx", "ry"), length("ry", "rx"))
        shape = svgelements.Ellipse(length("cx"), length("cy"), width, height)
    return svgelements.Path(shape) if width > 0 and height > 0 else None


def _lengths_of(element: Element, view: tuple[float, float]) -> Callable[..., float]:
    """Return a function that reads one of the element's lengths, or else another's, or else 0."""
    diagonal = math.hypot(*view) / math.sqrt(2)

    def number(name: str, otherwise: str | None = None) -> float:
        text = element.attributes.get(name, "auto")
        if text == "auto":
            return number(otherwise) if otherwise else 0.0
        whole = diagonal if name == "r" else view[name.lstrip("cr")[0] in "yh"]
        try:
            return parse_length(text, whole)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    return number


def _polygon(element: Element) -> svgelements.Path | None:
    text = element.attributes.get("points", "")
    numbers = [float(number) for number in _NUMBER.findall(text)]
    if _NUMBER.sub("", text).strip(" ,\t\r\n") or len(numbers) % 2:
        raise ValueError(f"points '{text[:60]}'")
    corners = list(zip(numbers[::2], numbers[1::2], strict=True))
    if len(corners) < 2:
        return None
    path = svgelements.Path(svgelements.Move(corners[0]))
    path.extend(svgelements.Line(start, end) for start, end in itertools.pairwise(corners))
    if element.tag == "polygon":
        path.append(svgelements.Close(corners[-1], corners[0]))
    return path


def _parse_path_data(text: str) -> svgelements.Path | None:
    if not text.strip() or text.strip() == "none":
        return None
    if not _PATH_DATA.fullmatch(text) or text.lstrip(" ,\t\r\n")[:1] not in ("M", "m"):
        raise ValueError(f"path data '{text[:60]}'")
    try:
        return svgelements.Path(text)
    except Exception as error:  # svgelements raises ValueError, TypeError, AttributeError, ... on what it cannot read
        raise ValueError(f"path data '{text[:60]}' ({type(error).__name__})") from None


def _contours_of(path: svgelements.Path) -> list[Contour]:
    """Return the sub-paths that have at least one segment."""
    contours, points, closed = [], [], False
    for segment in path:
        if isinstance(segment, svgelements.Move) or closed:
            contours.append((points, closed))
            points, closed = [], False
        if isinstance(segment, svgelements.Move):
            points = [tuple(segment.end)]
            continue
        if not points:  # drawing goes on after a close, from where the sub-path began
            points = [tuple(segment.start)]
        closed = isinstance(segment, svgelements.Close)
        if not (closed and segment.start == segment.end):
            points.extend(_cubic_points(segment))
    contours.append((points, closed))
    return [Contour(np.array(points, dtype=np.float64), closed) for points, closed in contours if len(points) > 1]


def _cubic_points(segment: svgelements.PathSegment) -> list[tuple[float, float]]:
    """Return the points that follow the start: two controls and an end for each cubic."""
    if isinstance(segment, svgelements.Arc) and segment.rx > 0 and segment.ry > 0 and segment.sweep:
        return _arc_points(segment)
    start, end = np.array(segment.start), np.array(segment.end)
    if isinstance(segment, svgelements.CubicBezier):
        first, second = segment.control1, segment.control2
    elif isinstance(segment, svgelements.QuadraticBezier):
        control = np.array(segment.control)
        first, second = start + (control - start) * 2 / 3, end + (control - end) * 2 / 3
    else:
        first, second = start + (end - start) / 3, start + (end - start) * 2 / 3
    return [tuple(first), tuple(second), tuple(end)]


def _arc_points(arc: svgelements.Arc) -> list[tuple[float, float]]:
    """Return the points of an elliptic arc in pieces of at most a quarter turn: off by 2.8e-4 of the radius at most."""
    centre, across, down = (np.array(point) for point in (arc.center, arc.prx, arc.pry))
    across, down = across - centre, down - centre
    sweep, first = float(arc.sweep or 0.0), float(arc.get_start_t())
    pieces = max(math.ceil(abs(sweep) / (math.tau / 4) - 1e-4), 1)
    step = sweep / pieces
    handle = 4 / 3 * math.tan(step / 4)
    points = []
    for piece in range(pieces):
        angles = first + step * (piece + np.array([[0.0], [1.0]]))
        ends = centre + np.cos(angles) * across + np.sin(angles) * down
        tangents = handle * (np.cos(angles) * down - np.sin(angles) * across)
        points += [tuple(ends[0] + tangents[0]), tuple(ends[1] - tangents[1]), tuple(ends[1])]
    return [*points[:-1], tuple(arc.end)]
