"""Read an SVG as a drawing: the shapes that it paints, in order, in pixels of the canvas.

What would change the picture and cannot be read (texts, images, masks, filters, ...) is collected and named in one
`UserError`. What is read only nearly, or left out as browsers do, is passed to `report`. Nothing else differs.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from runtime.errors import UserError
from runtime.files import check_ordinary
from runtime.vector.paths import Drawing, Kind
from runtime.vector.svg.canvas import canvas_of, view_box
from runtime.vector.svg.context import Context, T, Viewport, context_paints
from runtime.vector.svg.css import StyleSheet, applies
from runtime.vector.svg.effects.apply import Effects, isolates
from runtime.vector.svg.effects.clipping import corners_of, cropped
from runtime.vector.svg.geometry.contours import Contour, Paint, assemble, extent, filled, is_flat, rectangle_of
from runtime.vector.svg.geometry.shapes import SHAPES, shape_contours, through
from runtime.vector.svg.geometry.skia import Combiner
from runtime.vector.svg.markers import Markers
from runtime.vector.svg.painting import Painter
from runtime.vector.svg.style import GEOMETRY, PAINTS, PATH, Style, style_of
from runtime.vector.svg.transforms import (
    Box,
    Matrix,
    about,
    fit,
    parse_origin,
    parse_steps,
    parse_transform,
    translation,
)
from runtime.vector.svg.values import FONT_SIZE, LARGEST, parse_colour, parse_length, parse_opacity
from runtime.vector.svg.write import SVG_NAMESPACE
from runtime.vector.svg.xml import MAX_BYTES, MAX_DEPTH, MAX_ELEMENTS, Element, href_of, parse_xml

MAX_PATHS = 10_000
"""Most paths in a drawing."""
MAX_POINTS = 1_000_000
"""Most control points in a drawing, painted or not."""
MAX_USES = 16
"""Deepest nesting of `<use>`."""
LANGUAGE = "en"
"""Language of the viewer, for `systemLanguage`."""

_GROUPS = ("g", "a", "svg", "switch", "use")
_UNREAD = ("text", "image", "foreignObject", "video", "audio", "canvas", "iframe")
_NOT_DRAWN = (
    *("defs", "symbol", "title", "desc", "metadata", "style", "view", "cursor"),
    *("linearGradient", "radialGradient", "pattern", "clipPath", "mask", "marker", "filter", "font", "color-profile"),
)
_REM = re.compile(r"\drem\b")
_HALF = re.compile(r"^\s*[-+.\d]*\d(?:ex|ch)\s*$")
_REMEDY = "turn texts, clones and effects into paths with flat fills (Inkscape: Path > Object to Path) and save again"

_ENDS_ON_DOT = re.compile(r"\d\.(?!\d)")
_NUMBERS = (*GEOMETRY, "x1", "y1", "x2", "y2", "points")
"""Attributes of shapes that hold numbers. "8." is one in SVG 1.1, and Chromium takes it for an error."""


def read_svg(
    path: Path | str, *, size: tuple[int, int] | None = None, report: Callable[[str], None] | None = None
) -> Drawing:
    """Return the drawing in an SVG file, as one scene.

    Args:
        path: the file; it may be compressed by gzip (svgz).
        size: height and width of the canvas to fit it into, as `preserveAspectRatio` says; by default the file's own.
        report: called, a sentence at a time, with what is read only nearly (gradients, ...) or left out.

    Raises:
        UserError: where the file is missing, is no SVG, draws nothing, or holds what is not read, which it names.
    """
    path = Path(path)
    try:
        check_ordinary(path)
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"'{path}' is larger than {MAX_BYTES} bytes; simplify the drawing or split it")
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {str(path)!r:.200}: {error.strerror}; expected an SVG file") from None
    return parse_svg(data, name=str(path), size=size, report=report)


def parse_svg(
    data: bytes, *, name: str, size: tuple[int, int] | None = None, report: Callable[[str], None] | None = None
) -> Drawing:
    """Return the drawing in an SVG document that messages call `name`; as `read_svg` otherwise."""
    root = parse_xml(data, name)
    if root.tag != "svg" or root.namespace not in (SVG_NAMESPACE, ""):
        raise UserError(f"'{name}' is not an SVG: its root is <{root.tag}>; expected <svg>")
    return _Reader(root, name, size).drawing(report)


class _Reader:
    """Walks the tree once and collects the shapes, what is not read and what is read nearly."""

    def __init__(self, root: Element, name: str, size: tuple[int, int] | None) -> None:
        self.root = root
        self.name = name
        self.shapes: list[Paint] = []
        self.unread: dict[str, int] = {}
        self.notes: dict[str, int] = {}
        self.by_id: dict[str, Element] = {}
        self.sheet = StyleSheet()
        self.contours: dict[tuple, list[Contour]] = {}
        self.combiner = Combiner()
        self.effects = Effects(self)
        self.markers = Markers(self)
        self.outlining = ""
        """What outlines alone are collected for, in place of paths: "clip", "bounds", or "" while drawing."""
        self.drawn = self.points = 0
        self.canvas = self.at(root, lambda: canvas_of(root, size))
        for sheet in root.sheets:
            self.note(root, f"style sheet '{sheet[:40]}' is another file and is left out")
        self.collect(root)
        self.painter = Painter(self.by_id, self.sheet, self.note, self.leave_unread, self.canvas.scale)

    def at(self, element: Element, read: Callable[[], T]) -> T:
        """Return `read()`, with its error placed in the file."""
        try:
            return read()
        except UserError:
            raise
        except ValueError as error:
            raise UserError(
                f"'{self.name}' line {element.line}: <{element.tag}>: cannot read {error}; mend it or save it anew"
            ) from None

    def note(self, element: Element, text: str) -> None:
        """Remember what is read nearly or left out; each sentence once."""
        self.notes.setdefault(text, element.line)

    def leave_unread(self, element: Element, text: str) -> None:
        """Remember what is not read."""
        self.unread.setdefault(text, element.line)

    def collect(self, element: Element) -> None:
        """Gather identifiers and style rules before anything is drawn."""
        # The first of several elements with one identifier counts, as in browsers. Those without one share the key "":
        # who looks up a reference that may be empty has to ask for another name.
        self.by_id.setdefault(element.attributes.get("id", ""), element)
        # HTML, section 4.2.6: a sheet in another language is none.
        kind, media = (element.attributes.get(name, "").strip().lower() for name in ("type", "media"))
        if element.tag == "style" and kind in ("", "text/css"):
            sheet = element.text if applies(media, lambda text: self.note(element, text)) else ""
            self.sheet.add(sheet, lambda text: self.note(element, text))
        if any(_REM.search(value) for value in element.attributes.values()):
            size = style_of(self.root, {}, self.sheet, lambda _: None)["font-size"]
            if float(size) != FONT_SIZE:
                self.note(element, f"rem is read as {FONT_SIZE:g} pixels, whatever the font of <svg> is")
        if any(_HALF.match(value) for value in element.attributes.values()):
            self.note(element, "ex and ch are read as half the size of the font")
        for child in element.children:
            self.collect(child)

    def drawing(self, report: Callable[[str], None] | None) -> Drawing:
        """Return the whole file's drawing, or raise for what is not read."""
        self.paint_canvas()
        self.draw(self.root, Context({}, self.canvas.matrix, self.canvas.view))
        if self.unread:
            raise UserError(f"'{self.name}' holds what is not read: {_listed(self.unread)}; {_REMEDY}")
        if not self.shapes:
            why = f"; {_listed(self.notes)}" if self.notes else ""
            raise UserError(f"'{self.name}' draws nothing: expected paths or basic shapes with a fill or a stroke{why}")
        if report:
            for note, line in self.notes.items():
                report(f"'{self.name}' line {line}: {note}")
        background, shapes = _split_background(self.shapes, self.canvas.size)
        return assemble(shapes, background, self.canvas.size)

    def paint_canvas(self) -> None:
        """Paint the background that CSS gives the root, which covers the canvas, whatever the view box is."""
        style = style_of(self.root, {}, self.sheet, lambda _: None)
        text = style["background-color"] if style["background-color"] != "transparent" else style["background"]
        if style["display"] == "none" or text == "none":
            return
        try:
            colour = parse_colour(style["color"] if text.lower() == "currentcolor" else text)
        except ValueError:
            self.note(self.root, f"background '{text[:40]}' is left out")
            return
        height, width = self.canvas.size
        corners = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)]
        self.shapes += [Paint(Kind.NONZERO, [through(corners, closed=True)], colour)] if colour[3] > 0 else []

    def draw(self, element: Element, context: Context, viewport: Viewport | None = None) -> None:
        """Draw an element and what is inside.

        Args:
            element: what to draw; a `<symbol>` only where a `<use>` names it.
            context: what it is drawn in.
            viewport: the `<use>` that gives the size of an element with a viewport.
        """
        if not self.is_drawn(element) and (viewport is None or element.namespace != self.root.namespace):
            return
        # `<use>` multiplies: what is drawn has a limit of its own, besides what the file holds.
        self.drawn += 1
        if self.drawn > MAX_ELEMENTS:
            raise UserError(f"'{self.name}' draws more than {MAX_ELEMENTS} elements; simplify the drawing")
        # A `<use>` nests deeper than the file does. A level takes up to three frames of Python, which has a thousand.
        if context.depth > MAX_DEPTH:
            raise UserError(f"'{self.name}' nests elements deeper than {MAX_DEPTH}; ungroup the drawing")
        style = self.at(
            element,
            lambda: style_of(element, context.style, self.sheet, lambda text: self.note(element, text), context.top),
        )
        if style["display"] == "none" or not _is_shown(element):
            return
        for name in PAINTS:
            if style[name].lower() in ("context-fill", "context-stroke"):
                style[name] = context.painted[style[name].lower() == "context-stroke"]
        if element.tag not in (*SHAPES, *_GROUPS, "symbol"):
            self.pass_over(element, style)
            return
        opacity = 1.0 if self.outlining else parse_opacity(style["opacity"])
        if opacity == 0:
            return
        inner = replace(context, style=style, depth=context.depth + 1)
        inner = replace(inner, matrix=self.at(element, lambda: self.matrix_of(element, inner, viewport)))
        before = len(self.shapes), len(self.unread)
        inside = replace(inner, backdrop=before[0]) if isolates(style) else inner
        self.draw_inside(element, inside, viewport)
        self.effects.apply(element, inner, before, viewport, opacity)

    def draw_inside(self, element: Element, context: Context, viewport: Viewport | None) -> None:
        """Draw an element, its own transform, effects and opacity apart."""
        if element.tag in SHAPES:
            self.draw_shape(element, context)
        elif element.tag == "use":
            self.draw_use(element, context)
        elif element.tag in ("svg", "symbol") and element is not self.root:
            self.draw_viewport(element, context, viewport)
        else:
            self.draw_children(element, context)

    def is_drawn(self, element: Element) -> bool:
        """Return whether an element is one of SVG, and shown where it stands."""
        if element.namespace == "" != self.root.namespace and element.tag in (*SHAPES, *_GROUPS):
            self.note(element, f"<{element.tag}> is not in SVG's namespace and is left out")
        return element.namespace in (SVG_NAMESPACE, self.root.namespace) and element.tag not in _NOT_DRAWN

    def apply_effects(self, element: Element, context: Context, before: tuple[int, int], opacity: float) -> None:
        """Change what an element has drawn since there were so many shapes and unread things."""
        self.effects.apply(element, context, before, None, opacity)

    def draw_children(self, element: Element, context: Context) -> None:
        """Draw what is inside a group; of a `<switch>`, the first child that is meant for the viewer."""
        children = element.children
        if element.tag == "switch":
            children = [child for child in children if self.is_drawn(child) and _is_shown(child)][:1]
            if children and element.children[0].tag in _NOT_DRAWN:
                self.note(element, f"<switch> shows <{children[0].tag}>, where some viewers show what is before that")
        for child in children:
            self.draw(child, context)

    def matrix_of(self, element: Element, context: Context, viewport: Viewport | None) -> Matrix:
        """Return the matrix from an element's user units to pixels; the context has the element's style."""
        style = context.style
        if all(style[name] == "none" for name in ("transform", "translate", "rotate", "scale")):
            return context.matrix
        box: Box = (0.0, 0.0, *context.view)
        if element is self.root:
            height, width = self.canvas.size
            box = (0.0, 0.0, width / self.canvas.scale, height / self.canvas.scale)
        elif style["transform-box"] in ("fill-box", "content-box"):
            box = self.bounds(element, context, viewport)
        elif style["transform-box"] != "view-box":
            self.leave_unread(element, f"transform-box '{style['transform-box'][:40]}'")
        steps = parse_steps(style["translate"], style["rotate"], style["scale"], box)
        turned = about(steps @ parse_transform(style["transform"], box), parse_origin(style["transform-origin"], box))
        if element is not self.root:
            return context.matrix @ turned
        # The root is turned as the picture that it is, in pixels, and not as what is inside of its view box.
        self.note(element, "the transform of <svg> is about its centre, as in browsers; some viewers take its corner")
        scale = np.diag([self.canvas.scale, self.canvas.scale, 1.0])
        return scale @ turned @ np.linalg.inv(scale) @ context.matrix

    def collected(self, draw: Callable[[], object], outlining: str = "") -> list[Paint]:
        """Return the shapes that `draw` draws, in place of adding them; for "clip" or "bounds", outlines alone."""
        outer = self.shapes, self.outlining
        self.shapes, self.outlining = [], outlining
        try:
            draw()
            return self.shapes
        finally:
            self.shapes, self.outlining = outer

    def bounds(self, element: Element, context: Context, viewport: Viewport | None) -> Box:
        """Return the bounding box of an element in its user units, strokes and clip paths apart."""
        flat = replace(context, matrix=np.eye(3))
        shapes = self.collected(lambda: self.draw_inside(element, flat, viewport), "bounds")
        if not shapes:
            return (0.0, 0.0, 0.0, 0.0)
        (left, top), (right, bottom) = extent([contour for shape in shapes for contour in shape.contours]).tolist()
        return (left, top, right - left, bottom - top)

    def pass_over(self, element: Element, style: Style) -> None:
        """Remember an element that is not read, unless it cannot be seen."""
        if element.tag in _UNREAD:
            # A file is not refused for a text that nobody sees.
            unpainted = element.tag == "text" and style["fill"] == style["stroke"] == "none"
            if style["visibility"] == "visible" and parse_opacity(style["opacity"]) > 0 and not unpainted:
                self.leave_unread(element, f"<{element.tag}>")
        else:
            self.note(element, f"<{element.tag}> is left out")

    def draw_use(self, element: Element, context: Context) -> None:
        """Draw what a `<use>` refers to, where that is in this file."""
        href = href_of(element)
        target = self.by_id.get(href[1:]) if href.startswith("#") and len(href) > 1 else None
        if target is None and href[:1] in ("#", ""):
            self.note(element, f"<use> of '{href[:40]}', which does not exist, is left out")
        elif target is None:
            self.leave_unread(element, f"<use> of '{href[:40]}'")
        elif target.tag != "symbol" and not self.is_drawn(target):
            self.note(element, f"<use> of '{href[:40]}', which is <{target.tag}>, shows nothing")
        elif href in context.uses or len(context.uses) >= MAX_USES or target in element.ancestors():
            raise UserError(f"'{self.name}' line {element.line}: <use> of '{href}' contains itself; remove it")
        else:
            x, y = self.length(element, "x", context), self.length(element, "y", context)
            moved = replace(
                context,
                matrix=context.matrix @ translation(x, y),
                uses=(*context.uses, href),
                top=target,
                painted=context_paints(context.style),
            )
            size = {name: text for name in ("width", "height") if (text := self.text_of(element, name, context))}
            self.draw(target, moved, size if target.tag in ("svg", "symbol") else None)

    def draw_viewport(self, element: Element, context: Context, use: Viewport | None) -> None:
        """Draw what is inside a nested `<svg>` or a `<symbol>`, fitted into its viewport and cut by that."""
        if element.tag == "symbol" and context.style["transform"] != "none":
            self.note(element, "the transform of <symbol> counts, which some viewers leave out")
        # SVG 1.1, section 5.6: the `<use>` gives the size. Its x and y have moved the whole instance already.
        size = {name: (use or {}).get(name) or self.text_of(element, name, context) for name in ("width", "height")}
        width, height = (
            self.at(element, lambda text=text, whole=whole: parse_length(text or "100%", whole, context.em))
            for text, whole in zip(size.values(), context.view, strict=True)
        )
        if width <= 0 or height <= 0:
            return
        corner = (self.length(element, "x", context), self.length(element, "y", context))
        viewport = (*corner, width, height)
        box = self.at(element, lambda: view_box(element))
        inner = fit(box, viewport, element.attributes.get("preserveAspectRatio")) if box else translation(*corner)
        view = box[2:] if box else (width, height)
        before = len(self.shapes)
        self.draw_children(element, replace(context, matrix=context.matrix @ inner, view=view))
        # SVG 2, section 6.8: browsers hide what stands out of both elements unless the file says otherwise.
        if context.style["overflow"] not in ("visible", "auto") and not self.outlining:
            self.shapes[before:] = cropped(self.shapes[before:], corners_of(viewport, context.matrix))

    def length(self, element: Element, name: str, context: Context) -> float:
        """Return an element's x or y."""
        text = self.text_of(element, name, context) or "0"
        return self.at(element, lambda: parse_length(text, context.view[name == "y"], context.em))

    def text_of(self, element: Element, name: str, context: Context) -> str:
        """Return a length of an element, which has the context's style; "" where it is not given or automatic."""
        text = context.style.get(name, element.attributes.get(name, ""))
        return "" if text.strip() == "auto" else text

    def outlines_of(self, element: Element, context: Context) -> list[Contour]:
        """Return a shape's contours in user units; they are parsed once, however often the shape is used."""
        em, style = context.em, context.style
        geometry = {name: style[name] for name in GEOMETRY if name in style}
        # An `id` is safe as a key, because the tree keeps every element alive as long as this reader. The same shape
        # has other lengths in em and percent where it is used with another font or in another viewport.
        key = (id(element), em, tuple(context.view), *geometry.items())
        if key not in self.contours:
            if geometry:
                self.note(element, "lengths in style sheets count for shapes, which some viewers leave out")
            if path := PATH.fullmatch(geometry.get("d", "")):
                geometry["d"] = path[2]
            shape = replace(element, attributes=element.attributes | geometry) if geometry else element
            if any(_ENDS_ON_DOT.search(shape.attributes.get(name, "")) for name in _NUMBERS):
                self.note(element, "a number that ends on its dot counts, which some viewers leave out")
            self.contours[key] = self.at(
                element, lambda: shape_contours(shape, context.view, em, lambda text: self.note(element, text))
            )
        return self.contours[key]

    def draw_shape(self, element: Element, context: Context) -> None:
        """Append a path for the fill and one for each contour of the stroke."""
        if context.style["visibility"] != "visible" and self.outlining != "bounds":
            return
        for child in element.children:
            if self.is_drawn(child):
                self.pass_over(child, context.style)
        contours = [contour.mapped(context.matrix) for contour in self.outlines_of(element, context)]
        self.count_points(sum(len(contour.points) for contour in contours))
        # Checked again in pixels: a matrix within its limit takes points within theirs far beyond.
        if any(not (np.abs(contour.points) <= LARGEST).all() for contour in contours):
            raise UserError(
                f"'{self.name}' line {element.line}: <{element.tag}>: a coordinate is not a number up to {LARGEST:g}"
            )
        if self.outlining:
            kind = Kind.EVENODD if context.style["clip-rule"] == "evenodd" else Kind.NONZERO
            areas = [area for contour in contours if (area := filled(contour)) is not None]
            self.shapes += [Paint(kind, areas, (0.0, 0.0, 0.0, 1.0))] if areas else []
            return
        outlines = self.outlines_of(element, context)
        markers = self.markers.paints(element, outlines, context)
        self.shapes += self.at(
            element,
            lambda: self.painter.paints(element, contours, context, markers, flat=is_flat(outlines)),
        )

    def count_points(self, more: int) -> None:
        """Hold the drawing to its limits."""
        self.points += more
        if len(self.shapes) > MAX_PATHS or self.points > MAX_POINTS:
            raise UserError(
                f"'{self.name}' has more than {MAX_PATHS} paths or {MAX_POINTS} points; simplify the drawing"
            )


def _is_shown(element: Element) -> bool:
    """Return whether an element's conditions hold: its language is ours, and it needs no extensions."""
    # `requiredFeatures` is not asked for: SVG 2 has dropped it.
    languages = element.attributes.get("systemLanguage")
    if languages is not None:
        names = [language.strip().lower() for language in languages.split(",")]
        if not any(name == LANGUAGE or name.startswith(LANGUAGE + "-") for name in names):
            return False
    # SVG 2, section 5.8.4: without a value, it does not hold either.
    return "requiredExtensions" not in element.attributes


def _split_background(shapes: list[Paint], size: tuple[int, int]) -> tuple[tuple[float, float, float], list[Paint]]:
    """Return the background's colour and the other shapes: an opaque first rectangle over all is the background."""
    first = shapes[0]
    box = rectangle_of(first.contours)
    if box is not None and first.colour[3] > 0.999 and first.kind != Kind.STROKE:
        height, width = size
        # The whole canvas, and not the view box alone: what is beside that is white.
        if (box[0] <= 0.05).all() and (box[1] >= np.array([width, height]) - 0.05).all():
            return first.colour[:3], shapes[1:]
    return (1.0, 1.0, 1.0), shapes


def _listed(unread: dict[str, int], most: int = 8) -> str:
    """Return `<text> (line 3), mask 'url(#m)' (line 9) and 4 more`."""
    listed = ", ".join(f"{words} (line {line})" for words, line in list(unread.items())[:most])
    return listed + (f" and {len(unread) - most} more" if len(unread) > most else "")
