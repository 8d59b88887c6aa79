"""Fills and strokes of a shape as paths of the drawing to come."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from runtime.vector.paths import Kind
from runtime.vector.svg.contours import Contour, Paint, filled, has_corners, rectangle_of, stroked
from runtime.vector.svg.css import StyleSheet
from runtime.vector.svg.gradients import GRADIENTS, mean_colour
from runtime.vector.svg.style import Style, split_paint
from runtime.vector.svg.transforms import LARGEST, Matrix
from runtime.vector.svg.values import Colour, parse_colour, parse_length, parse_opacity
from runtime.vector.svg.xml import Element

Remark = Callable[[Element, str], None]

_SERVERS = ("pattern", "hatch", "meshgradient", "mesh", "solidColor", "solidcolor")
"""Elements that a fill may refer to and that are not read."""


@dataclass(frozen=True)
class Painter:
    """Turns contours and their style into paths.

    Attributes:
        by_id: the file's elements by identifier.
        sheet: the rules of the file.
        note: called with what is read nearly.
        leave_unread: called with what is not read.
        scale: pixels of the canvas to one of the file's own size, for strokes that do not scale.
    """

    by_id: Mapping[str, Element]
    sheet: StyleSheet
    note: Remark
    leave_unread: Remark
    scale: float

    def paints(
        self,
        element: Element,
        contours: list[Contour],
        style: Style,
        matrix: Matrix,
        opacity: float,
        view: tuple[float, float],
    ) -> list[Paint]:
        """Return a path for the fill and one for each contour of the stroke, the lowest first.

        Args:
            element: the shape.
            contours: its outline, in pixels.
            style: its properties.
            matrix: from its user units to pixels.
            opacity: of it and of all groups around it.
            view: width and height of its viewport, which percentages are of.

        Raises:
            ValueError: where a width or an offset cannot be read.
        """
        if not contours:
            return []
        self.name_markers(element, style)
        # SVG 1.1, section 9.5: a line has no interior and is never filled.
        fills = self.fill(element, contours, style, opacity) if element.tag != "line" else []
        strokes = self.strokes(element, contours, style, matrix, opacity, view)
        order = style["paint-order"].split()
        # Markers are not read: of the six orders, all that is left is whether the stroke comes before the fill.
        stroke_first = "stroke" in order and "fill" not in order[: order.index("stroke")]
        return strokes + fills if stroke_first else fills + strokes

    def fill(self, element: Element, contours: list[Contour], style: Style, opacity: float) -> list[Paint]:
        """Return the path of the fill, if there is one."""
        colour = self.colour(element, style, "fill", opacity)
        areas = [area for contour in contours if (area := filled(contour)) is not None]
        if colour is None or not areas:
            return []
        kind = Kind.EVENODD if style["fill-rule"] == "evenodd" else Kind.NONZERO
        # Our own squares are marked as such. Everything else is free to bend.
        if element.attributes.get("data-kind") == "rectangle" and rectangle_of(areas) is not None:
            kind = Kind.RECTANGLE
        return [Paint(kind, areas, colour)]

    def strokes(
        self,
        element: Element,
        contours: list[Contour],
        style: Style,
        matrix: Matrix,
        opacity: float,
        view: tuple[float, float],
    ) -> list[Paint]:
        """Return a path for each contour that the stroke shows."""
        colour = self.colour(element, style, "stroke", opacity)
        # SVG 1.1, section 7.10: a percentage along neither x nor y is of the diagonal over the square root of 2.
        diagonal = float(np.hypot(*view) / np.sqrt(2))
        width = parse_length(style["stroke-width"], diagonal, float(style["font-size"])) if colour else 0.0
        if colour is None or width <= 0:
            return []
        if width > LARGEST:
            raise ValueError(f"stroke-width '{style['stroke-width'][:40]}', more than {LARGEST:g}")
        # SVG 1.1, section 11.4: dashes whose sum is 0 are a solid line.
        if style["stroke-dasharray"] not in ("none", "0"):
            self.leave_unread(element, f"dashes '{style['stroke-dasharray'][:40]}'")
        linear = matrix[:2, :2]
        if style["vector-effect"] == "non-scaling-stroke":
            linear = self.scale * np.eye(2)
        points = [contour for contour in contours if np.ptp(contour.points, axis=0).max() == 0]
        lines = [contour for contour in contours if np.ptp(contour.points, axis=0).max() > 0]
        self.note_ends(element, lines, style, linear)
        if colour[3] < 1 and len(contours) > 1:
            self.note(element, "a translucent stroke of several parts is read as one for each: overlaps are darker")
        # The pens of the rasterizer are round. The geometric mean keeps the area of one that the matrix stretches.
        size = width * float(np.sqrt(abs(np.linalg.det(linear))))
        dots = [paint for contour in points for paint in _dot(contour, style["stroke-linecap"], linear, width, colour)]
        return dots + [Paint(Kind.STROKE, [stroked(contour)], colour, size) for contour in lines if size > 0]

    def note_ends(self, element: Element, contours: list[Contour], style: Style, linear: np.ndarray) -> None:
        """Note what a stroke of one width with round ends does not show."""
        caps = style["stroke-linecap"] != "round" and any(not contour.closed for contour in contours)
        joins = style["stroke-linejoin"] != "round" and any(has_corners(contour) for contour in contours)
        if caps or joins:
            self.note(element, "caps and joins of strokes are read as round ones")
        lengths = np.linalg.svd(linear, compute_uv=False)
        if contours and lengths[0] > 1.01 * lengths[1]:
            self.note(element, "a stroke that is stretched is read with its mean width")

    def name_markers(self, element: Element, style: Style) -> None:
        """Name the markers of a shape that has vertices for them."""
        if element.tag not in ("path", "line", "polyline", "polygon"):
            return
        for end in ("marker-start", "marker-mid", "marker-end"):
            target = self.by_id.get(split_paint(style[end])[0] or "none")
            if style[end] != "none" and target is not None and target.children:
                self.leave_unread(element, f"marker '{style[end][:40]}'")

    def colour(self, element: Element, style: Style, name: str, opacity: float) -> Colour | None:
        """Return the straight RGBA of a fill or stroke; None where nothing is painted."""
        reference, text = split_paint(style[name])
        opacity *= parse_opacity(style[f"{name}-opacity"])
        if opacity == 0:
            return None
        target = self.by_id.get(reference) if reference else None
        if target is not None and target.tag in GRADIENTS:
            mean = mean_colour(target, self.by_id, self.sheet)
            if mean is None:
                return None
            if not mean[1]:
                self.note(element, "a gradient is read as its mean colour")
            red, green, blue, alpha = mean[0]
            return (red, green, blue, alpha * opacity) if alpha > 0 else None
        if target is not None and target.tag in _SERVERS:
            self.leave_unread(element, f"{name} by <{target.tag}> '{style[name][:40]}'")
            return None
        # SVG 2, section 13.2: what follows "url(...)" is painted where the reference leads nowhere.
        if reference and not text:
            self.note(element, f"{name} '{style[name][:40]}' is no colour or gradient of this file and is left out")
        if text.lower() in ("none", ""):
            return None
        red, green, blue, alpha = parse_colour(style["color"] if text.lower() == "currentcolor" else text)
        return (red, green, blue, alpha * opacity) if alpha > 0 else None


def _dot(contour: Contour, cap: str, linear: np.ndarray, width: float, colour: Colour) -> list[Paint]:
    """Return what a stroke of no length shows: a disc, a square, or with butt caps nothing."""
    if cap == "butt":
        return []
    if cap == "round":
        return [Paint(Kind.STROKE, [contour], colour, width * float(np.sqrt(abs(np.linalg.det(linear)))))]
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0]]) * (width / 2) @ linear.T
    steps = np.array([[1.0], [2.0], [3.0]]) / 3
    sides = [start + (end - start) * steps for start, end in pairwise(corners)]
    return [Paint(Kind.NONZERO, [Contour(np.concatenate([corners[:1], *sides]) + contour.points[0], True)], colour)]
