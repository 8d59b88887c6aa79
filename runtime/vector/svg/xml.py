"""A tree of XML elements from a file that nobody vouches for.

The standard library's expat does the parsing. What an attacker needs is refused before it is read: entity declarations
(expansion bombs, external files), files, trees and nestings beyond any drawing's.
"""

from dataclasses import dataclass, field
from xml.parsers import expat

from runtime.errors import UserError

MAX_BYTES = 16 * 2**20
"""Largest file that is parsed."""
MAX_ELEMENTS = 50_000
"""Most elements in one file."""
MAX_DEPTH = 128
"""Deepest nesting of elements."""


@dataclass
class Element:
    """One XML element."""

    namespace: str
    """Namespace URI, "" where there is none."""
    tag: str
    """Name without its namespace."""
    attributes: dict[str, str]
    """Values by name; a name in a namespace is written `{uri}name`."""
    line: int
    """Line of the start tag, from 1."""
    children: list["Element"] = field(default_factory=list)
    text: str = ""
    """Character data directly inside, joined."""


def parse_xml(data: bytes, name: str) -> Element:
    """Return the root element of an XML document.

    Args:
        data: the file's bytes; at most `MAX_BYTES`.
        name: what messages call the file.

    Raises:
        UserError: where the document is too large, is not well-formed XML, or declares entities.
    """
    if len(data) > MAX_BYTES:
        raise UserError(
            f"'{name}' has {len(data)} bytes: expected at most {MAX_BYTES}; simplify the drawing or split it"
        )
    builder = _Builder(name)
    try:
        builder.parser.Parse(data, True)
    except expat.ExpatError as error:
        raise UserError(f"'{name}' is not an SVG: {error}; expected well-formed XML") from None
    except (ValueError, LookupError) as error:  # an encoding that is not known, a null byte
        raise UserError(f"'{name}' is not an SVG: {error}; save it as UTF-8") from None
    return builder.root


class _Builder:
    """Receives expat's events and keeps the tree."""

    root: Element

    def __init__(self, name: str) -> None:
        self.name, self.open, self.count = name, [], 0
        self.parser = expat.ParserCreate(namespace_separator="\x1f")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.text
        self.parser.EntityDeclHandler = self.refuse_entity
        self.parser.ExternalEntityRefHandler = self.refuse_entity

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.count += 1
        if self.count > MAX_ELEMENTS:
            raise UserError(f"'{self.name}' has more than {MAX_ELEMENTS} elements; simplify the drawing")
        if len(self.open) >= MAX_DEPTH:
            raise UserError(f"'{self.name}' nests elements deeper than {MAX_DEPTH}; ungroup the drawing")
        namespace, _, tag = name.rpartition("\x1f")
        named = {_braced(key): value for key, value in attributes.items()}
        element = Element(namespace, tag, named, self.parser.CurrentLineNumber)
        if self.open:
            self.open[-1].children.append(element)
        else:
            self.root = element
        self.open.append(element)

    def end(self, name: str) -> None:
        self.open.pop()

    def text(self, data: str) -> None:
        self.open[-1].text += data

    def refuse_entity(self, *_: object) -> int:
        raise UserError(
            f"'{self.name}' declares XML entities (line {self.parser.CurrentLineNumber}), which are not read: "
            "save it as plain SVG"
        )


def _braced(name: str) -> str:
    namespace, separator, local = name.rpartition("\x1f")
    return f"{{{namespace}}}{local}" if separator else local
