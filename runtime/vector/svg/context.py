"""What an element is drawn in, and what effects ask of the reader that draws it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from runtime.vector.svg.css import StyleSheet
from runtime.vector.svg.geometry.contours import Paint
from runtime.vector.svg.geometry.skia import Combiner
from runtime.vector.svg.style import Style, style_of
from runtime.vector.svg.transforms import Box, Matrix
from runtime.vector.svg.xml import Element

T = TypeVar("T")


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

    def draw(self, element: Element, context: Context, viewport: Element | None = None) -> None:
        """Draw an element and what is inside."""
        ...

    def collected(self, draw: Callable[[], object], outlining: str = "") -> list[Paint]:
        """Return the shapes that `draw` draws, in place of adding them."""
        ...

    def bounds(self, element: Element, context: Context, viewport: Element | None) -> Box:
        """Return the bounding box of an element in its user units."""
        ...

    def matrix_of(self, element: Element, context: Context, viewport: Element | None) -> Matrix:
        """Return the matrix from an element's user units to pixels."""
        ...


def style_at(element: Element, sheet: StyleSheet) -> Style:
    """Return the style of an element where it stands, for what is drawn where something refers to it."""
    style: Style = {}
    for around in [*reversed([*element.ancestors()]), element]:
        # What is skipped there is noted where the file's own tree is drawn, or is worth no note.
        style = style_of(around, style, sheet, lambda _: None)
    return style
