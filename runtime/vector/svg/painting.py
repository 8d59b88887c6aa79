"""Fills and strokes of a shape as paths of the drawing to come."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from runtime.vector.paths import Kind
from runtime.vector.svg.context import Context
from runtime.vector.svg.css import StyleSheet
from runtime.vector.svg.geometry.contours import (
    Contour,
    Paint,
    filled,
    has_corners,
    length_of,
    rectangle_of,
    stroked,
)
from runtime.vector.svg.geometry.skia import Pen, stroke_outline
from runtime.vector.svg.gradients import GRADIENTS, mean_colour, spans_box
from runtime.vector.svg.style import Style, split_paint
from runtime.vector.svg.values import LARGEST, NUMBER, Colour, parse_colour, parse_length, parse_opacity
from runtime.vector.svg.xml import Element

Remark = Callable[[Element, str], None]

_SERVERS = ("pattern", "hatch", "meshgradient", "mesh", "solidColor", "solidcolor")
"""Elements that a fill may refer to and that are not read."""
_STRETCH = 1.002
"""Ratio of a pen's axes up to which it counts as round."""


@dataclass(frozen=True)
class Painter:
    """Turns contours and their style into paths.

    Attributes:
        by_id: the file's elements by identifier.
        sheet: the rules of the file.
        note: called with what is read nearly.
        leave_unread: called with what is not read.
        scale: pixels of the canvas to one of the file's own size, for strokes that do not scale.
        means: colours of gradients, by identity.
    """

    by_id: Mapping[str, Element]
    sheet: StyleSheet
    note: Remark
    leave_unread: Remark
    scale: float
    means: dict[int, tuple[Colour, bool] | None] = field(default_factory=dict)

    def paints(
        self,
        element: Element,
        contours: list[Contour],
        context: Context,
        markers: list[Paint],
        *,
        flat: bool,
    ) -> list[Paint]:
        """Return the paths of the fill, of the stroke and of the markers, the lowest first.

        Args:
            element: the shape.
            contours: its outline, in pixels.
            context: what it is drawn in, with its own properties.
            markers: what its markers paint.
            flat: whether its bounding box, in user units, has no area.

        Raises:
            ValueError: where a width or an offset cannot be read.
        """
        if not contours:
            return []
        style = context.style
        if style["shape-rendering"] in ("crispEdges", "optimizeSpeed"):
            self.note(element, f"edges are smooth, whatever shape-rendering '{style['shape-rendering']}' asks for")
        # SVG 1.1, section 9.5: a line has no interior and is never filled.
        parts = {
            "fill": self.fill(element, contours, style, flat=flat) if element.tag != "line" else [],
            "stroke": self.strokes(element, contours, context, flat=flat),
            "markers": markers,
        }
        # SVG 2, section 13.8: what is not named follows in its usual order.
        order = [name for name in dict.fromkeys(style["paint-order"].split()) if name in parts]
        return [paint for name in dict.fromkeys([*order, *parts]) for paint in parts[name]]

    def fill(self, element: Element, contours: list[Contour], style: Style, *, flat: bool) -> list[Paint]:
        """Return the path of the fill, if there is one."""
        colour = self.colour(element, style, "fill", flat=flat)
        areas = [area for contour in contours if (area := filled(contour)) is not None]
        if colour is None or not areas:
            return []
        kind = Kind.EVENODD if style["fill-rule"] == "evenodd" else Kind.NONZERO
        # Our own squares are marked as such. Everything else is free to bend.
        if element.attributes.get("data-kind") == "rectangle" and rectangle_of(areas) is not None:
            kind = Kind.RECTANGLE
        return [Paint(kind, areas, colour)]

    def strokes(self, element: Element, contours: list[Contour], context: Context, *, flat: bool) -> list[Paint]:
        """Return the paths of the stroke: one for each contour, or the outline of all where that is not the same."""
        colour = self.colour(element, context.style, "stroke", flat=flat)
        if colour is None:
            return []
        pen = self.pen(element, contours, context)
        if pen.width <= 0:
            return []
        lines = [contour for contour in contours if np.ptp(contour.points, axis=0).max() > 0]
        # SVG 2, section 13.5.4: contours of no length show nothing with butt caps.
        points = [contour for contour in contours if np.ptp(contour.points, axis=0).max() == 0 and pen.cap != "butt"]
        # Where translucent parts cross they must not darken, for SVG composites a stroke once.
        once = colour[3] >= 1 or len(lines) + len(points) < 2
        if once and _is_round(pen, lines, points):
            # The rasterizer's own pen, of which the width stays a number that can be optimized.
            size = pen.width * float(np.sqrt(abs(np.linalg.det(pen.linear))))
            return [Paint(Kind.STROKE, [stroked(contour)], colour, size) for contour in points + lines if size > 0]
        outline = stroke_outline([*points, *(stroked(contour) for contour in lines)], pen)
        return [Paint(Kind.NONZERO, outline, colour)] if outline else []

    def pen(self, element: Element, contours: list[Contour], context: Context) -> Pen:
        """Return what a shape's stroke is drawn with.

        Raises:
            ValueError: where a length cannot be read.
        """
        em, style = context.em, context.style
        # SVG 1.1, section 7.10: a percentage along neither x nor y is of the diagonal over the square root of 2.
        diagonal = float(np.hypot(*context.view) / np.sqrt(2))
        width = parse_length(style["stroke-width"], diagonal, em)
        if width > LARGEST:
            raise ValueError(f"stroke-width '{style['stroke-width'][:40]}', more than {LARGEST:g}")
        linear = context.matrix[:2, :2]
        if style["vector-effect"] == "non-scaling-stroke":
            linear = self.scale * np.eye(2)
        join = style["stroke-linejoin"]
        if join in ("miter-clip", "arcs"):
            self.note(element, f"stroke-linejoin '{join}' is read as miter")
            join = "miter"
        lengths = [parse_length(part, diagonal, em) for part in _parts(style["stroke-dasharray"])]
        offset = parse_length(style["stroke-dashoffset"], diagonal, em)
        if lengths and (unit := _dash_unit(element, contours, linear, style)) != 1:
            lengths, offset = [length * unit for length in lengths], offset * unit
        # SVG 1.1, section 11.4: an odd number of dashes is repeated, and dashes whose sum is 0 are a solid line.
        dashes = tuple(lengths * (1 + len(lengths) % 2)) if 0 < sum(lengths) < LARGEST else ()
        return Pen(
            width=width,
            linear=linear,
            cap=style["stroke-linecap"],
            join=join,
            limit=float(style["stroke-miterlimit"]),
            dashes=dashes,
            offset=offset,
        )

    def colour(self, element: Element, style: Style, name: str, *, flat: bool) -> Colour | None:
        """Return the straight RGBA of a fill or stroke; None where nothing is painted."""
        reference, text = split_paint(style[name])
        opacity = parse_opacity(style[f"{name}-opacity"])
        if opacity == 0:
            return None
        target = self.by_id.get(reference) if reference else None
        if target is not None and target.tag in GRADIENTS:
            if not flat or not spans_box(target, self.by_id):
                return self.mean(element, target, text, opacity)
            # SVG 2, section 8.11: in a box without an area there is no gradient.
            self.note(element, "a gradient over a box without an area shows nothing, where some viewers show a colour")
        elif target is not None and target.tag in _SERVERS:
            self.leave_unread(element, f"{name} by <{target.tag}> '{style[name][:40]}'")
            return None
        elif reference and not text:
            # SVG 2, section 13.2: what follows "url(...)" is painted where the reference leads nowhere.
            self.note(element, f"{name} '{style[name][:40]}' is no colour or gradient of this file and is left out")
        if text.lower() in ("none", ""):
            return None
        red, green, blue, alpha = parse_colour(style["color"] if text.lower() == "currentcolor" else text)
        return (red, green, blue, alpha * opacity) if alpha > 0 else None

    def mean(self, element: Element, gradient: Element, fallback: str, opacity: float) -> Colour | None:
        """Return the straight RGBA of a gradient; None where it shows nothing."""
        if id(gradient) not in self.means:
            self.means[id(gradient)] = mean_colour(gradient, self.by_id, self.sheet)
        mean = self.means[id(gradient)]
        if mean is None:
            if fallback:
                self.note(element, f"a gradient without stops shows nothing, where some viewers show '{fallback[:20]}'")
            return None
        if not mean[1]:
            self.note(element, "a gradient is read as its mean colour")
        red, green, blue, alpha = mean[0]
        return (red, green, blue, alpha * opacity) if alpha > 0 else None


def _is_round(pen: Pen, lines: list[Contour], points: list[Contour]) -> bool:
    """Return whether round ends, round joins and one width all over are what a stroke shows."""
    lengths = np.linalg.svd(pen.linear, compute_uv=False)
    if pen.dashes or lengths[0] > _STRETCH * lengths[1]:
        return False
    if pen.cap != "round" and (points or any(not contour.closed for contour in lines)):
        return False
    return pen.join == "round" or not any(has_corners(contour) for contour in lines)


def _parts(dashes: str) -> list[str]:
    return [] if dashes == "none" else dashes.replace(",", " ").split()


def _dash_unit(element: Element, contours: list[Contour], linear: np.ndarray, style: Style) -> float:
    """Return the user units that a unit of dashes has: another number than 1 where `pathLength` says so."""
    text = element.attributes.get("pathLength", "").strip()
    if not NUMBER.fullmatch(text) or not 0 < float(text) < LARGEST:
        return 1.0
    to_user = np.linalg.pinv(linear)
    total = sum(length_of(Contour(contour.points @ to_user.T, contour.closed)) for contour in contours)
    return total / float(text)
