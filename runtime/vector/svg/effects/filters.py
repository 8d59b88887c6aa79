"""Filters of flat shapes: what moves, recolours, cuts and stacks them gives flat shapes again.

A layer, which for a browser is a picture, is a list of shapes here. Blurs are the one thing that is read nearly.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from runtime.vector.paths import Kind
from runtime.vector.svg.css import StyleSheet
from runtime.vector.svg.effects.blending import MODES, blended
from runtime.vector.svg.effects.clipping import corners_of, cropped
from runtime.vector.svg.effects.groups import disjoint, merged, over_colour
from runtime.vector.svg.effects.masks import levels_of, masked, outside
from runtime.vector.svg.effects.recolouring import Recolour, colour_matrix, component_transfer, through_linear
from runtime.vector.svg.geometry.contours import Contour, Paint
from runtime.vector.svg.geometry.shapes import through
from runtime.vector.svg.geometry.skia import Combiner
from runtime.vector.svg.style import Style, style_of
from runtime.vector.svg.transforms import Box, Matrix
from runtime.vector.svg.values import (
    LARGEST,
    NUMBER,
    Colour,
    encoded,
    linear_of,
    parse_colour,
    parse_length,
    parse_opacity,
)
from runtime.vector.svg.xml import Element

Layer = list[Paint]

_MOST_PRIMITIVES = 64
"""Most primitives of a filter; each may be as long as the whole picture."""


@dataclass(frozen=True)
class Frame:
    """Where a filter stands."""

    matrix: Matrix
    """From user units to pixels."""
    box: Box
    """Bounding box of what is filtered, in user units."""
    view: tuple[float, float]
    """Width and height of the viewport in user units."""
    style: Style
    """Of the `<filter>`."""
    sheet: StyleSheet
    note: Callable[[str], None]
    """Called with what is read nearly."""

    def region_of(self, element: Element, units: str, otherwise: Box) -> Box:
        """Return the box that an element's x, y, width and height name; what is not given is as `otherwise`."""
        left, top, width, height = self.box
        result = []
        for index, name in enumerate(("x", "y", "width", "height")):
            text = element.attributes.get(name)
            if text is None:
                result.append(otherwise[index])
            elif units == "objectBoundingBox":
                result.append(parse_length(text, 1.0) * (width, height)[index % 2] + (left, top, 0.0, 0.0)[index])
            else:
                result.append(parse_length(text, self.view[index % 2]))
        return (result[0], result[1], result[2], result[3])

    def scaled(self, numbers: tuple[float, float], units: str) -> tuple[float, float]:
        """Return two lengths of a primitive in user units."""
        whole = self.box[2:] if units == "objectBoundingBox" else (1.0, 1.0)
        return (numbers[0] * whole[0], numbers[1] * whole[1])


def filtered(source: Layer, element: Element, frame: Frame, combiner: Combiner) -> Layer:
    """Return what a filter makes of shapes.

    Args:
        source: the shapes, the lowest first.
        element: the `<filter>`.
        frame: where it stands.
        combiner: what cuts shapes.

    Raises:
        ValueError: names what is not read, or says that the shapes cannot be cut.
    """
    combiner.spend(20)  # as long as its setting up takes
    units = element.attributes.get("filterUnits", "objectBoundingBox")
    left, top, width, height = frame.box
    default = (left - 0.1 * width, top - 0.1 * height, 1.2 * width, 1.2 * height)
    region = frame.region_of(element, units, default)
    primitives = [child for child in element.children if child.tag.startswith("fe")]
    # Filter Effects 1, section 5: a region without an area, and a filter without primitives, show nothing.
    if min(region[2:]) <= 0 or not primitives:
        return []
    if len(primitives) > _MOST_PRIMITIVES:
        raise ValueError(f"of more than {_MOST_PRIMITIVES} primitives")
    turned = np.abs(frame.matrix[[0, 1], [1, 0]]).max() > 1e-6 * np.abs(frame.matrix[:2, :2]).max()
    if turned and min(abs(frame.matrix[0, 0]), abs(frame.matrix[1, 1])) > 0:
        frame.note("a filter has the axes of its element, where some viewers turn them")
    graph = _Graph(frame, combiner, region, element.attributes.get("primitiveUnits", "userSpaceOnUse"))
    return graph.run(cropped(source, corners_of(region, frame.matrix)), primitives)


class _Graph:
    """Follows the primitives of one filter."""

    def __init__(self, frame: Frame, combiner: Combiner, region: Box, units: str) -> None:
        self.frame = frame
        self.combiner = combiner
        self.region = region
        self.units = units
        self.results: dict[str, Layer] = {}
        self.last: Layer = []

    def run(self, source: Layer, primitives: list[Element]) -> Layer:
        """Return the last primitive's result."""
        shadow = [replace(shape, colour=(0.0, 0.0, 0.0, shape.colour[3])) for shape in source]
        self.results = {"SourceGraphic": source, "SourceAlpha": shadow}
        self.last = source
        for primitive in primitives:
            style = style_of(primitive, self.frame.style, self.frame.sheet, self.frame.note)
            read = _PRIMITIVES.get(primitive.tag)
            if read is None:
                raise ValueError(f"with <{primitive.tag}>")
            layer = read(self, primitive, style)
            # A layer that is merged with itself doubles. A shape is copied in the time of a pair of segments.
            self.combiner.spend(len(layer))
            box = self.frame.region_of(primitive, self.units, self.region)
            box = _common(box, self.region)
            self.last = cropped(layer, corners_of(box, self.frame.matrix)) if min(box[2:]) > 0 else []
            if name := primitive.attributes.get("result", ""):
                self.results[name] = self.last
        return cropped(self.last, corners_of(self.region, self.frame.matrix))

    def input(self, primitive: Element, name: str = "in") -> Layer:
        """Return the layer that an attribute of a primitive names."""
        text = primitive.attributes.get(name, "").strip()
        if text in ("FillPaint", "StrokePaint"):
            raise ValueError(f"of {text}")
        # Filter Effects 1, section 9.2: a name that leads nowhere is as none. To browsers, the background is one.
        return self.results.get(text, self.last)

    def moved(self, layer: Layer, primitive: Element, default: float = 0.0) -> Layer:
        """Return a layer moved by dx and dy."""
        offset = (_number(primitive, "dx", default), _number(primitive, "dy", default))
        step = self.frame.matrix[:2, :2] @ np.array(self.frame.scaled(offset, self.units))
        return [
            replace(shape, contours=[Contour(contour.points + step, contour.closed) for contour in shape.contours])
            for shape in layer
        ]

    def blurred(self, layer: Layer, primitive: Element, default: str = "0") -> Layer:
        """Return a layer as it is, with a note where a blur would change it."""
        parts = primitive.attributes.get("stdDeviation", default).replace(",", " ").split()
        deviations = [parse_length(part, 1.0) for part in parts]
        if layer and max(deviations, default=0.0) > 0 and min(deviations) >= 0:
            self.frame.note("a blur is read as a sharp edge")
        return layer

    def recoloured(self, layer: Layer, recolour: Recolour, style: Style) -> Layer:
        """Return a layer in other colours."""
        recolour = through_linear(recolour) if _is_linear(style) else recolour
        if recolour((0.0, 0.0, 0.0, 0.0))[3] > 1e-6:
            raise ValueError("that paints where nothing is")
        return self.coloured(layer, recolour)

    def coloured(self, layer: Layer, recolour: Recolour) -> Layer:
        """Return a layer with each of its colours through a function, which leaves what is transparent."""
        shapes = [replace(shape, colour=recolour(shape.colour)) for shape in layer]
        # Where nothing is seen through anything, before and after, shapes stay as they are; and where nothing was and
        # all have one colour now, what they cover together has it.
        if _is_opaque(layer + shapes):
            return shapes
        if not _is_opaque(layer) or len({shape.colour for shape in shapes}) > 1:
            shapes = [replace(one, colour=recolour(one.colour)) for one in disjoint(layer, self.combiner)]
        return merged([shape for shape in shapes if shape.colour[3] > 0], self.combiner)

    def over(self, upper: Layer, lower: Layer, style: Style) -> Layer:
        """Return one layer over another."""
        if lower and _is_linear(style) and not _is_opaque(upper):
            # Painted over one another, translucent colours would be mixed as those of sRGB.
            return disjoint(lower + upper, self.combiner, _over_light)
        return lower + upper

    def flood(self, style: Style) -> Colour:
        """Return the colour of a flood."""
        text = style["flood-color"]
        red, green, blue, alpha = parse_colour(style["color"] if text.lower() == "currentcolor" else text)
        return (red, green, blue, alpha * parse_opacity(style["flood-opacity"]))


def _offset(graph: _Graph, primitive: Element, style: Style) -> Layer:
    return graph.moved(graph.input(primitive), primitive)


def _blur(graph: _Graph, primitive: Element, style: Style) -> Layer:
    return graph.blurred(graph.input(primitive), primitive)


def _flood(graph: _Graph, primitive: Element, style: Style) -> Layer:
    colour = graph.flood(style)
    box = graph.frame.region_of(primitive, graph.units, graph.region)
    if colour[3] <= 0 or min(box[2:]) <= 0:
        return []
    corners = [(float(x), float(y)) for x, y in corners_of(box, graph.frame.matrix)]
    return [Paint(Kind.NONZERO, [through(corners, closed=True)], colour)]


def _colour_matrix(graph: _Graph, primitive: Element, style: Style) -> Layer:
    attributes = primitive.attributes
    recolour = colour_matrix(attributes.get("type", "matrix"), attributes.get("values", ""))
    return graph.recoloured(graph.input(primitive), recolour, style)


def _component_transfer(graph: _Graph, primitive: Element, style: Style) -> Layer:
    functions: Mapping[str, Mapping[str, str]] = {child.tag[-1]: child.attributes for child in primitive.children}
    return graph.recoloured(graph.input(primitive), component_transfer(functions), style)


def _merge(graph: _Graph, primitive: Element, style: Style) -> Layer:
    result: Layer = []
    for child in primitive.children:
        if child.tag == "feMergeNode":
            result = graph.over(graph.input(child), result, style)
            graph.combiner.spend(len(result))
    return result


def _composite(graph: _Graph, primitive: Element, style: Style) -> Layer:
    upper, lower = graph.input(primitive), graph.input(primitive, "in2")
    operator = primitive.attributes.get("operator", "over")
    one, two, three, four = (_number(primitive, name, 0.0) for name in ("k1", "k2", "k3", "k4"))
    if operator == "arithmetic":
        # Sums of layers with one input alone, and differences, which for opaque layers are what lies outside.
        solid = _is_opaque(upper) and _is_opaque(lower)
        operator = _ARITHMETIC.get((one, two, three, four), operator)
        operator = operator if solid or operator in ("upper", "lower") else "arithmetic"
    elif (
        operator == "atop"
        and _is_same(upper, lower)
        and all(a.colour == b.colour for a, b in zip(upper, lower, strict=True))
    ):
        operator = "lower"  # a layer on itself
    # These two add layers. Shapes are painted over one another, which is a sum only where one is opaque.
    elif (operator == "atop" and not _is_opaque(lower)) or (operator == "xor" and not _is_opaque(upper + lower)):
        operator += " of translucent colours"
    if operator not in _OPERATORS:
        raise ValueError(f"with <feComposite> by {operator[:40]}")
    return _OPERATORS[operator](graph, upper, lower, style)


def _outside(graph: _Graph, first: Layer, second: Layer) -> Layer:
    return outside(first, levels_of(second, graph.combiner, luminance=False), graph.combiner)


_ARITHMETIC: dict[tuple[float, float, float, float], str] = {
    (0, 1, 0, 0): "upper",
    (0, 0, 1, 0): "lower",
    (0, -1, 1, 0): "lower out",
    (0, 1, -1, 0): "out",
}
_OPERATORS: dict[str, Callable[[_Graph, Layer, Layer, Style], Layer]] = {
    "upper": lambda graph, upper, lower, style: upper,
    "lower": lambda graph, upper, lower, style: lower,
    "over": lambda graph, upper, lower, style: graph.over(upper, lower, style),
    "in": lambda graph, upper, lower, style: _within(upper, lower, graph.combiner),
    "out": lambda graph, upper, lower, style: _outside(graph, upper, lower),
    "lower out": lambda graph, upper, lower, style: _outside(graph, lower, upper),
    "atop": lambda graph, upper, lower, style: graph.over(_within(upper, lower, graph.combiner), lower, style),
    "xor": lambda graph, upper, lower, style: _outside(graph, upper, lower) + _outside(graph, lower, upper),
}


def _blend(graph: _Graph, primitive: Element, style: Style) -> Layer:
    upper, lower = graph.input(primitive), graph.input(primitive, "in2")
    mode = primitive.attributes.get("mode", "normal").strip()
    if mode not in MODES or not upper or not lower:
        return graph.over(upper, lower, style)
    if _is_linear(style):
        mixed = blended(_mapped(upper, linear_of), _mapped(lower, linear_of), mode, graph.combiner)
        return graph.over(_mapped(mixed, encoded), lower, style)
    return lower + blended(upper, lower, mode, graph.combiner)


def _drop_shadow(graph: _Graph, primitive: Element, style: Style) -> Layer:
    layer, (red, green, blue, alpha) = graph.input(primitive), graph.flood(style)
    shadow = graph.coloured(layer, lambda colour: (red, green, blue, alpha * colour[3]))
    return graph.over(layer, graph.blurred(graph.moved(shadow, primitive, 2.0), primitive, "2"), style)


_PRIMITIVES: dict[str, Callable[[_Graph, Element, Style], Layer]] = {
    "feOffset": _offset,
    "feGaussianBlur": _blur,
    "feFlood": _flood,
    "feColorMatrix": _colour_matrix,
    "feComponentTransfer": _component_transfer,
    "feMerge": _merge,
    "feComposite": _composite,
    "feBlend": _blend,
    "feDropShadow": _drop_shadow,
}


def _within(upper: Layer, lower: Layer, combiner: Combiner) -> Layer:
    """Return a layer where another one is, with the alpha of that."""
    # A filter often meets the shape that it began with, whose edges are its own.
    if _is_opaque(lower) and _is_same(upper, lower):
        return upper
    return masked(upper, levels_of(lower, combiner, luminance=False), combiner)


def _is_same(one: Layer, two: Layer) -> bool:
    """Return whether two layers have the same outlines."""
    return len(one) == len(two) and all(
        first.kind == second.kind
        and first.width == second.width
        and len(first.contours) == len(second.contours)
        and all(np.array_equal(a.points, b.points) for a, b in zip(first.contours, second.contours, strict=True))
        for first, second in zip(one, two, strict=True)
    )


def _is_opaque(layer: Layer) -> bool:
    return all(shape.colour[3] >= 0.998 for shape in layer)


def _is_linear(style: Style) -> bool:
    return style["color-interpolation-filters"].lower() != "srgb"


def _over_light(upper: Colour, lower: Colour) -> Colour:
    """Return one colour over another, mixed as light."""
    red, green, blue, alpha = over_colour(_light(upper), _light(lower))
    return (encoded(red), encoded(green), encoded(blue), alpha)


def _light(colour: Colour) -> Colour:
    red, green, blue, alpha = colour
    return (linear_of(red), linear_of(green), linear_of(blue), alpha)


def _mapped(layer: Layer, channel: Callable[[float], float]) -> Layer:
    """Return a layer with each channel of colour through a function."""
    return [
        replace(shape, colour=(*(channel(min(max(one, 0.0), 1.0)) for one in shape.colour[:3]), shape.colour[3]))
        for shape in layer
    ]


def _common(one: Box, two: Box) -> Box:
    """Return what two boxes have in common; without an area where that is nothing."""
    low = np.maximum(one[:2], two[:2])
    left, top, width, height = (*low, *(np.minimum(np.add(one[:2], one[2:]), np.add(two[:2], two[2:])) - low))
    return (float(left), float(top), float(width), float(height))


def _number(element: Element, name: str, default: float) -> float:
    """Return a number; one with a unit is none."""
    text = element.attributes.get(name, "").strip()
    return float(text) if NUMBER.fullmatch(text) and abs(float(text)) <= LARGEST else default
