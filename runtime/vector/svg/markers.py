"""Markers: drawings at the vertices of paths, lines and polygons, turned along them."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np

from runtime.vector.svg.canvas import view_box
from runtime.vector.svg.context import Context, Walker, context_paints, style_at
from runtime.vector.svg.effects.apply import isolates
from runtime.vector.svg.effects.clipping import corners_of, cropped
from runtime.vector.svg.geometry.contours import Contour, Paint, directions
from runtime.vector.svg.style import split_paint
from runtime.vector.svg.transforms import Box, fit, translation
from runtime.vector.svg.values import parse_angle, parse_length, parse_opacity
from runtime.vector.svg.xml import Element

Vertex = tuple[float, float, float]
"""A place, and the direction along the path there, in radians."""

MAX_MARKERS = 2_000
"""Most markers of a file: each is drawn anew."""

_MARKED = ("path", "line", "polyline", "polygon")
_SHARES = {"left": 0.0, "top": 0.0, "center": 0.5, "right": 1.0, "bottom": 1.0}


class Markers:
    """Draws the markers of shapes."""

    def __init__(self, walker: Walker) -> None:
        self.walker = walker
        self.open: list[Element] = []
        """What is being drawn, to find a marker that marks itself."""
        self.drawn = 0

    def paints(self, element: Element, contours: list[Contour], context: Context) -> list[Paint]:
        """Return what the markers of a shape paint, the lowest first.

        Args:
            element: the shape.
            contours: its outline, in user units.
            context: what it is drawn in.
        """
        style = context.style
        ends = {end: style[end] for end in ("marker-start", "marker-mid", "marker-end") if style[end] != "none"}
        if not ends or not contours:
            return []
        if element.tag not in _MARKED:
            # SVG 2, section 13.7.1, lets any shape have markers. Browsers draw them on these only.
            self.walker.note(element, f"markers of <{element.tag}> are left out")
            return []
        vertices = vertices_of(contours)
        places = {"marker-start": vertices[:1], "marker-mid": vertices[1:-1], "marker-end": vertices[-1:]}
        painted: list[Paint] = []
        for end, text in ends.items():
            marker = self.walker.by_id.get(split_paint(text)[0] or "none")
            if marker is None or marker.tag != "marker":
                self.walker.note(element, f"marker '{text[:40]}' does not exist and is left out")
                continue
            if marker in self.open:
                self.walker.note(element, f"marker '{text[:40]}' on itself is left out")
                continue
            if not marker.children:
                continue
            self.drawn += len(places[end])
            if self.drawn > MAX_MARKERS:
                self.walker.leave_unread(element, f"more than {MAX_MARKERS} markers")
                break
            closes = {"marker-start": contours[0].closed, "marker-end": contours[-1].closed}.get(end, False)
            if closes and marker.attributes.get("orient", "0").startswith("auto"):
                self.walker.note(
                    element, "a marker where a path closes is turned halfway, where some viewers turn it along one end"
                )
            for vertex in places[end]:
                painted += self.walker.at(
                    marker, lambda marker=marker, vertex=vertex, end=end: self.marker(marker, vertex, end, context)
                )
        return painted

    def marker(self, marker: Element, vertex: Vertex, end: str, context: Context) -> list[Paint]:
        """Return what one marker paints at a vertex.

        Raises:
            ValueError: where a length or an angle of it cannot be read.
        """
        attributes = marker.attributes
        width, height = (
            parse_length(attributes.get(f"marker{name}", "3"), whole)
            for name, whole in zip(("Width", "Height"), context.view, strict=True)
        )
        if width <= 0 or height <= 0:
            return []
        x, y, angle = vertex
        matrix = context.matrix @ translation(x, y) @ _turn(_angle(attributes.get("orient", "0"), angle, end))
        if attributes.get("markerUnits") != "userSpaceOnUse":
            diagonal = math.hypot(*context.view) / math.sqrt(2)
            scale = parse_length(context.style["stroke-width"], diagonal, float(context.style["font-size"]))
            if scale <= 0:
                return []
            matrix = matrix @ np.diag([scale, scale, 1.0])
        box = view_box(marker)
        inner = fit(box, (0.0, 0.0, width, height), attributes.get("preserveAspectRatio")) if box else np.eye(3)
        view = box[2:] if box else (width, height)
        shown = (*(box or (0.0, 0.0))[:2], *view)
        place = _reference(marker, shown, context.view, lambda text: self.walker.note(marker, text))
        reference = inner @ np.array([*place, 1.0])
        matrix = matrix @ translation(-float(reference[0]), -float(reference[1]))
        style = style_at(marker, self.walker.sheet)
        content = replace(context.referenced(style, matrix @ inner), view=view, painted=context_paints(context.style))
        self.open.append(marker)
        try:
            drawn = self.walker.collected(lambda: self.contents(marker, content))
        finally:
            self.open.pop()
        if style["overflow"] in ("visible", "auto"):
            return drawn
        return cropped(drawn, corners_of((0.0, 0.0, width, height), matrix))

    def contents(self, marker: Element, context: Context) -> None:
        """Draw what is inside a marker, with the marker's own effects."""
        opacity = parse_opacity(context.style["opacity"])
        if opacity == 0:
            return
        before = len(self.walker.shapes), len(self.walker.unread)
        for child in marker.children:
            self.walker.draw(child, context)
        if isolates(context.style):
            self.walker.apply_effects(marker, context, before, opacity)


def vertices_of(contours: list[Contour]) -> list[Vertex]:
    """Return the vertices of contours, one after the other; where one is closed, its first one comes again."""
    vertices: list[Vertex] = []
    for contour in contours:
        places = contour.points[list(contour.vertices) or slice(None, None, 3)]
        leaving, arriving = _ways(contour, places)
        for index, (x, y) in enumerate(places.tolist()):
            before = arriving[index - 1] if index > 0 else arriving[-1] if contour.closed else None
            after = leaving[index] if index < len(leaving) else leaving[0] if contour.closed else None
            vertices.append((x, y, _middle(before, after)))
    return vertices


def _ways(contour: Contour, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the unit vectors with which the parts between vertices, (V - 1, 2), leave one and arrive at the next."""
    indices = contour.vertices or tuple(range(0, len(contour.points), 3))
    leaving, arriving = np.zeros((len(places) - 1, 2)), np.zeros((len(places) - 1, 2))
    for part, (first, last) in enumerate(pairwise(indices)):
        if last <= first:
            continue
        segments = contour.points[np.arange(first, last, 3)[:, None] + np.arange(4)]
        leaving[part] = directions(segments[:1])[0]
        arriving[part] = -directions(segments[-1:, ::-1])[0]
    # SVG 2, section 9.5.3: a part without a length has the direction of the one before, else of the next with one.
    some = np.flatnonzero((leaving != 0).any(axis=1))
    for part in np.flatnonzero((leaving == 0).all(axis=1)):
        earlier, later = some[some < part], some[some > part]
        if len(earlier):
            leaving[part] = arriving[part] = arriving[earlier[-1]]
        elif len(later):
            leaving[part] = arriving[part] = leaving[later[0]]
    return leaving, arriving


def _middle(before: np.ndarray | None, after: np.ndarray | None) -> float:
    """Return the direction halfway between two, as an angle."""
    before = after if before is None else before
    after = before if after is None else after
    if before is None or after is None:
        return 0.0
    one, two = math.atan2(before[1], before[0]), math.atan2(after[1], after[0])
    return one + math.remainder(two - one, math.tau) / 2


def _angle(orient: str, along: float, end: str) -> float:
    """Return the angle by which a marker is turned, in radians."""
    if orient == "auto-start-reverse":
        return along + (math.pi if end == "marker-start" else 0.0)
    return along if orient == "auto" else math.radians(parse_angle(orient))


def _turn(angle: float) -> np.ndarray:
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def _reference(
    marker: Element, box: Box, view: tuple[float, float], note: Callable[[str], None]
) -> tuple[float, float]:
    """Return the point of a marker that lies on the vertex, in the marker's own units, of which `box` is shown."""
    result = []
    for axis, name in enumerate(("refX", "refY")):
        text = marker.attributes.get(name, "0").strip()
        share = _SHARES.get(text)
        if share is not None:
            note(f"{name} '{text}' is read, which some viewers leave out")
        result.append(parse_length(text, view[axis]) if share is None else box[axis] + share * box[2 + axis])
    return (result[0], result[1])
