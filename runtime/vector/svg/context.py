"""What an element is drawn in, and what effects ask of the reader that draws it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from runtime.vector.svg.css import StyleSheet
from runtime.vector.svg.geometry.contours import Paint
from runtime.vector.svg.geometry.skia import Combiner
from runtime.vector.svg.style import PAINTS, Style, style_of
from runtime.vector.svg.transforms import Box, Matrix
from runtime.vector.svg.xml import Element

T = TypeVar("T")
Viewport = dict[str, str]
"""Width and height that a `<use>` gives to an element with a viewport, as the file writes them."""


@dataclass(frozen=True)
class Context:
    """What an element is drawn in."""

    style: Style
    matrix: Matrix
    view: tuple[float, float]
    """Width and height of the nearest viewport in user units, which percentages are of."""
    uses: tuple[str, ...] = ()
    """What is being instantiated, to find a `<use>` that contains itself."""
    depth: int = 0
    backdrop: int = 0
    """Index of the first shape of the group around that is composited on its own: what blend modes see."""
    top: Element | None = None
    """What the nearest `<use>` around has copied; None in the file's own tree."""
    painted: tuple[str, str] = ("none", "none")
    """What "context-fill" and "context-stroke" stand for: paints of the shape with the marker, or of the `<use>`."""

    @property
    def em(self) -> float:
        """Size of the font in user units."""
        return float(self.style["font-size"])

    def referenced(self, style: Style, matrix: Matrix) -> "Context":
        """Return the context of what stands elsewhere in the file, and is drawn where something refers to it."""
        return replace(self, style=style, matrix=matrix, depth=self.depth + 1, backdrop=0, top=None)


class Walker(Protocol):
    """The reader, as far as effects, markers and patterns need it."""

    by_id: dict[str, Element]
    sheet: StyleSheet
    shapes: list[Paint]
    unread: dict[str, int]
    combiner: Combiner
    outlining: str

    def note(self, element: Element, text: str) -> None:
        """Remember what is read nearly or left out."""
        ...

    def leave_unread(self, element: Element, text: str) -> None:
        """Remember what is not read."""
        ...

    def at(self, element: Element, read: Callable[[], T]) -> T:
        """Return `read()`, with its error placed in the file."""
        ...

    def draw(self, element: Element, context: Context, viewport: Viewport | None = None) -> None:
        """Draw an element and what is inside."""
        ...

    def collected(self, draw: Callable[[], object], outlining: str = "") -> list[Paint]:
        """Return the shapes that `draw` draws, in place of adding them."""
        ...

    def bounds(self, element: Element, context: Context, viewport: Viewport | None) -> Box:
        """Return the bounding box of an element in its user units."""
        ...

    def apply_effects(self, element: Element, context: Context, before: tuple[int, int], opacity: float) -> None:
        """Change what an element has drawn since there were so many shapes and unread things."""
        ...

    def matrix_of(self, element: Element, context: Context, viewport: Viewport | None) -> Matrix:
        """Return the matrix from an element's user units to pixels."""
        ...


def context_paints(style: Style) -> tuple[str, str]:
    """Return the fill and the stroke of a style as they look elsewhere."""
    fill, stroke = (style["color"] if style[name].lower() == "currentcolor" else style[name] for name in PAINTS)
    return fill, stroke


def style_at(element: Element, sheet: StyleSheet) -> Style:
    """Return the style of an element where it stands, for what is drawn where something refers to it."""
    chain = [element]
    while id(chain[-1]) not in sheet.styles and chain[-1].parent is not None:
        chain.append(chain[-1].parent)
    style = sheet.styles.get(id(chain[-1]), {})
    for each in reversed(chain):
        if id(each) not in sheet.styles:
            # What is skipped there is noted where the file's own tree is drawn, or is worth no note.
            style = style_of(each, style, sheet, lambda _: None)
            # Those without children, of which there may be most, are asked for once.
            if each.children:
                sheet.styles[id(each)] = style
    return style
