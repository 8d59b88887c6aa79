"""Read an SVG as a drawing: the shapes that it paints, in order, in pixels of the canvas.

What would change the picture and cannot be read (texts, images, gradients, clips, filters, ...) is collected and named
in one `UserError`; what changes it little is passed to `report` and read as near as may be.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import svgelements

from runtime.errors import UserError
from runtime.vector.paths import Drawing, Kind
from runtime.vector.svg.contours import Contour, Paint, assemble, filled, rectangle_of, stroked
from runtime.vector.svg.shapes import LARGEST, SHAPES, parse_transform, shape_contours
from runtime.vector.svg.style import Rule, Style, parse_colour, parse_length, parse_opacity, parse_rules, style_of
from runtime.vector.svg.xml import MAX_BYTES, MAX_ELEMENTS, Element, parse_xml

SVG_NAMESPACE = "http://www.w3.org/2000/svg"
MAX_SIDE = 8192
"""Longest side of a canvas, in pixels."""
MAX_PATHS = 10_000
"""Most paths in a drawing."""
MAX_POINTS = 1_000_000
"""Most control points in a drawing, painted or not."""
MAX_USES = 16
"""Deepest nesting of `<use>`."""

_GROUPS = ("g", "a")
_NOT_DRAWN = (
    *("defs", "symbol", "title", "desc", "metadata", "style", "view", "cursor"),
    *("linearGradient", "radialGradient", "pattern", "clipPath", "mask", "marker", "filter", "font", "color-profile"),
)
_REFERENCES = {"clip-path": "clip path", "mask": "mask", "filter": "filter", "mix-blend-mode": "blend mode"}
_HREFS = ("href", "{http://www.w3.org/1999/xlink}href")
_REMEDY = "turn texts, clones and effects into paths with flat fills (Inkscape: Path > Object to Path) and save again"


def read_svg(
    path: Path | str, *, size: tuple[int, int] | None = None, report: Callable[[str], None] | None = None
) -> Drawing:
    """Return the drawing in an SVG file, as one scene.

    Args:
        path: the file.
        size: (H, W) of the canvas to fit it into, as `preserveAspectRatio` says; by default the file's own size.
        report: told, one sentence at a time, what was read only nearly (joins, group opacity, ...).

    Raises:
        UserError: where the file is missing, is no SVG, draws nothing, or holds what is not read, which it names.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"'{path}' is larger than {MAX_BYTES} bytes; simplify the drawing or split it")
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read '{path}': {error.strerror}; expected an SVG file") from None
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
    """Walks the tree once and keeps the shapes, what is not read and what is read nearly."""

    def __init__(self, root: Element, name: str, size: tuple[int, int] | None) -> None:
        self.root, self.name = root, name
        self.shapes: list[Paint] = []
        self.unread: dict[str, int] = {}
        self.notes: dict[str, int] = {}
        self.rules: list[Rule] = []
        self.by_id: dict[str, Element] = {}
        self.drawn = self.points = 0
        self.box, self.size, self.matrix = self.at(root, lambda: _canvas_of(root, size))
        self.view = self.box[2:]
        self.collect(root)
        self.rules.sort(key=lambda rule: rule[0])

    def at(self, element: Element, read: Callable):
        """Return `read()`, with its error placed in the file."""
        try:
            return read()
        except UserError:
            raise
        except ValueError as error:
            raise UserError(
                f"'{self.name}' line {element.line}: <{element.tag}>: cannot read {error}; mend it or save it anew"
            ) from None

    def collect(self, element: Element) -> None:
        """Gather identifiers and style rules before anything is drawn."""
        self.by_id.setdefault(element.attributes.get("id", ""), element)
        if element.tag == "style":
            try:
                self.rules += parse_rules(element.text)
            except ValueError as error:
                self.unread.setdefault(str(error), element.line)
        for child in element.children:
            self.collect(child)

    def drawing(self, report: Callable[[str], None] | None) -> Drawing:
        """Return the whole file's drawing, or raise for what is not read."""
        self.draw(self.root, {}, self.matrix, 1.0, ())
        if self.unread:
            raise UserError(f"'{self.name}' holds what is not read: {_listed(self.unread)}; {_REMEDY}")
        background, shapes = self.split_background()
        if not self.shapes:
            raise UserError(f"'{self.name}' draws nothing: expected paths or basic shapes with a fill or a stroke")
        if report:
            for note, line in self.notes.items():
                report(f"'{self.name}' line {line}: {note}")
        return assemble(shapes, background, self.size)

    def draw(self, element: Element, parent: Style, matrix: np.ndarray, opacity: float, uses: tuple[str, ...]) -> None:
        """Draw an element and what is inside, below which lie `uses`, the identifiers being instantiated."""
        if element.namespace not in (SVG_NAMESPACE, "") or element.tag in _NOT_DRAWN:
            return
        self.drawn += 1
        if self.drawn > MAX_ELEMENTS:
            raise UserError(f"'{self.name}' draws more than {MAX_ELEMENTS} elements; simplify the drawing")
        style = self.at(element, lambda: style_of(element, parent, self.rules))
        if style["display"] == "none":
            return
        if element.tag not in (*SHAPES, *_GROUPS, "use") and element is not self.root:
            self.pass_over(element)
            return
        for prop, words in _REFERENCES.items():
            if style[prop] not in ("none", "normal"):
                self.unread.setdefault(f"{words} '{style[prop][:40]}'", element.line)
        matrix = matrix @ self.at(element, lambda: parse_transform(style["transform"]))
        opacity *= self.at(element, lambda: parse_opacity(style["opacity"]))
        before = len(self.shapes)
        if element.tag in SHAPES:
            self.draw_shape(element, style, matrix, opacity)
        elif element.tag == "use":
            self.draw_use(element, style, matrix, opacity, uses)
        else:
            for child in element.children:
                self.draw(child, style, matrix, opacity, uses)
        if len(self.shapes) > before + 1 and parse_opacity(style["opacity"]) < 1:
            self.notes.setdefault("the opacity of several shapes together is read as that of each", element.line)

    def pass_over(self, element: Element) -> None:
        """Remember an element that is not read."""
        if element.tag in ("script", "animate", "animateTransform", "animateMotion", "set"):
            self.notes.setdefault(f"<{element.tag}> is left out", element.line)
        else:
            nested = "nested " if element.tag == "svg" else ""
            self.unread.setdefault(f"{nested}<{element.tag}>", element.line)

    def draw_use(
        self, element: Element, style: Style, matrix: np.ndarray, opacity: float, uses: tuple[str, ...]
    ) -> None:
        """Draw what a `<use>` refers to, where that is a shape or a group of this file."""
        href = next((element.attributes[name] for name in _HREFS if name in element.attributes), "")
        target = self.by_id.get(href[1:]) if href.startswith("#") and len(href) > 1 else None
        if target is None or target.tag in ("symbol", "svg"):
            self.unread.setdefault(f"<use> of {'<' + target.tag + '> ' if target else ''}'{href[:40]}'", element.line)
        elif href in uses or len(uses) >= MAX_USES:
            raise UserError(f"'{self.name}' line {element.line}: <use> of '{href}' contains itself; remove it")
        else:
            x, y = (
                self.at(element, lambda n=n, w=w: parse_length(element.attributes.get(n, "0"), w))
                for n, w in zip("xy", self.view, strict=True)
            )
            moved = matrix @ np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])
            self.draw(target, style, moved, opacity, (*uses, href))

    def draw_shape(self, element: Element, style: Style, matrix: np.ndarray, opacity: float) -> None:
        """Append a path for the fill and one for each contour of the stroke."""
        if style["visibility"] != "visible":
            return
        for child in element.children:
            if child.namespace in (SVG_NAMESPACE, "") and child.tag not in _NOT_DRAWN:
                self.pass_over(child)
        contours = [contour.mapped(matrix) for contour in self.at(element, lambda: shape_contours(element, self.view))]
        self.count_points(sum(len(contour.points) for contour in contours))
        if any(not (np.abs(contour.points) <= LARGEST).all() for contour in contours):
            raise UserError(
                f"'{self.name}' line {element.line}: <{element.tag}>: a coordinate is not a number up to {LARGEST:g}"
            )
        fill = self.paint(element, style, "fill", opacity)
        stroke = self.paint(element, style, "stroke", opacity)
        areas = [area for contour in contours if (area := filled(contour)) is not None]
        if fill and areas and element.tag != "line":
            self.shapes.append(Paint(_kind_of(element, style, areas), areas, fill))
        if stroke and contours:
            width = self.stroke_width(element, style, matrix)
            for contour in contours if width > 0 else []:
                self.shapes.append(Paint(Kind.STROKE, [stroked(contour)], stroke, width))

    def paint(self, element: Element, style: Style, name: str, opacity: float):
        """Return the straight RGBA of a fill or stroke; None where nothing is painted."""
        text = style[name]
        if text == "none":
            return None
        if text.startswith("url("):
            target = self.by_id.get(text[4:].split(")")[0].strip(" '\"").removeprefix("#"))
            self.unread.setdefault(f"{name} by <{target.tag if target else 'url'}> '{text[:40]}'", element.line)
            return None
        red, green, blue, alpha = self.at(element, lambda: parse_colour(text))
        alpha *= opacity * self.at(element, lambda: parse_opacity(style[f"{name}-opacity"]))
        return (red, green, blue, alpha) if alpha > 0 else None

    def stroke_width(self, element: Element, style: Style, matrix: np.ndarray) -> float:
        """Return the stroke's width in pixels; notes and names what a round plain stroke cannot show."""
        if style["stroke-dasharray"] not in ("none", "0"):
            self.unread.setdefault(f"dashes '{style['stroke-dasharray'][:40]}'", element.line)
        for end in ("marker-start", "marker-mid", "marker-end"):
            if style[end] != "none":
                self.unread.setdefault(f"marker '{style[end][:40]}'", element.line)
        if (style["stroke-linecap"], style["stroke-linejoin"]) != ("round", "round"):
            self.notes.setdefault("caps and joins of strokes are read as round ones", element.line)
        if style["vector-effect"] == "non-scaling-stroke":
            matrix = self.matrix
        lengths = np.linalg.svd(matrix[:2, :2], compute_uv=False)
        if lengths[0] > 1.01 * lengths[1]:
            self.notes.setdefault("a stroke that is stretched is read with its mean width", element.line)
        diagonal = float(np.hypot(*self.view) / np.sqrt(2))
        width = self.at(element, lambda: parse_length(style["stroke-width"], diagonal))
        return width * float(np.sqrt(lengths[0] * lengths[1]))

    def count_points(self, more: int) -> None:
        """Hold the drawing to its limits."""
        self.points += more
        if len(self.shapes) > MAX_PATHS or self.points > MAX_POINTS:
            raise UserError(
                f"'{self.name}' has more than {MAX_PATHS} paths or {MAX_POINTS} points; simplify the drawing"
            )

    def split_background(self) -> tuple[tuple[float, float, float], list[Paint]]:
        """Return the background's colour and the other shapes: an opaque first rectangle over all is the background."""
        if self.shapes:
            first = self.shapes[0]
            box = rectangle_of(first.contours)
            if box is not None and first.colour[3] > 0.999 and first.kind != Kind.STROKE:
                left, top, width, height = self.box
                corners = np.array([[left, top, 1], [left + width, top + height, 1]]) @ self.matrix[:2].T
                seen = np.clip(corners, 0, self.size[::-1])
                if (box[0] <= seen[0] + 0.5).all() and (box[1] >= seen[1] - 0.5).all():
                    return first.colour[:3], self.shapes[1:]
        return (1.0, 1.0, 1.0), self.shapes


Box = tuple[float, float, float, float]


def _canvas_of(root: Element, size: tuple[int, int] | None) -> tuple[Box, tuple[int, int], np.ndarray]:
    """Return the view box in user units, the canvas' (H, W), and the matrix from the one to the other."""
    box = _view_box(root.attributes.get("viewBox"))
    width, height = (root.attributes.get(name, "100%") for name in ("width", "height"))
    if box is None:
        if size is None and "%" in width + height:
            raise ValueError("its size: it has neither width and height nor a viewBox")
        box = (0.0, 0.0, parse_length(width, 300.0), parse_length(height, 150.0))
    size = size or _nominal_size(width, height, box)
    if not (min(size) > 0 and max(size) <= MAX_SIDE and min(box[2:]) > 0):
        raise ValueError(f"its size, {size[1]} x {size[0]} pixels: expected 1 to {MAX_SIDE} a side")
    aspect = root.attributes.get("preserveAspectRatio")
    fit = svgelements.Viewbox.viewbox_transform(0, 0, size[1], size[0], *box, aspect)
    return box, size, parse_transform(fit)


def _nominal_size(width: str, height: str, box: Box) -> tuple[int, int]:
    """Return (H, W) in pixels; a side that is not said follows from the other and the box."""
    across, down = parse_length(width, box[2]), parse_length(height, box[3])
    if "%" in width and "%" not in height:
        across = down * box[2] / box[3]
    if "%" in height and "%" not in width:
        down = across * box[3] / box[2]
    return round(down), round(across)


def _view_box(text: str | None) -> Box | None:
    if text is None or not text.strip():
        return None
    numbers = [parse_length(part, 1.0) for part in text.replace(",", " ").split()]
    if len(numbers) != 4 or min(numbers[2:]) <= 0:
        raise ValueError(f"viewBox '{text[:60]}'")
    return (numbers[0], numbers[1], numbers[2], numbers[3])


def _kind_of(element: Element, style: Style, contours: list[Contour]) -> Kind:
    """Return a fill's kind: our own squares are marked as such, everything else stays free to bend."""
    if element.attributes.get("data-kind") == "rectangle" and rectangle_of(contours) is not None:
        return Kind.RECTANGLE
    return Kind.EVENODD if style["fill-rule"] == "evenodd" else Kind.NONZERO


def _listed(found: dict[str, int], most: int = 8) -> str:
    """Return `<text> (line 3), mask 'url(#m)' (line 9) and 4 more`."""
    listed = ", ".join(f"{words} (line {line})" for words, line in list(found.items())[:most])
    return listed + (f" and {len(found) - most} more" if len(found) > most else "")
