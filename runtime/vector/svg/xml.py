"""A tree of XML elements from a file that nobody vouches for.

The standard library's expat does the parsing. What an attacker needs is refused before it is read: entities that
multiply or name other files, and files, trees and nestings beyond any drawing's.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from runtime.errors import UserError

MAX_BYTES = 16 * 2**20
"""Largest file that is parsed, and largest sum of what entities may expand to."""
MAX_ELEMENTS = 50_000
"""Most elements in one file."""
MAX_DEPTH = 256
"""Deepest nesting of elements."""

_GZIP = b"\x1f\x8b"
_HREFS = ("href", "{http://www.w3.org/1999/xlink}href")


@dataclass(eq=False)
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
    parent: "Element | None" = field(default=None, repr=False)
    """The element around it; None of the root."""
    children: list["Element"] = field(default_factory=list, repr=False)
    index: int = 0
    """Its place among its parent's children."""
    text: str = ""
    """Character data directly inside, joined."""
    sheets: list[str] = field(default_factory=list)
    """Of the root: what the file's processing instructions say about style sheets outside of it."""

    def ancestors(self) -> Iterator["Element"]:
        """Yield the elements around it, the nearest first."""
        element = self.parent
        while element is not None:
            yield element
            element = element.parent


def href_of(element: Element) -> str:
    """Return what an element refers to, with its "#"; "" where to nothing."""
    return next((element.attributes[name] for name in _HREFS if name in element.attributes), "")


def parse_xml(data: bytes, name: str) -> Element:
    """Return the root element of an XML document.

    Args:
        data: the file's bytes, perhaps compressed by gzip; at most `MAX_BYTES` in either form.
        name: what messages call the file.

    Raises:
        UserError: where the document is too large, is not well-formed XML, or declares entities that are not plain
            text.
    """
    if data.startswith(_GZIP):
        data = _decompressed(data, name)
    if len(data) > MAX_BYTES:
        raise UserError(
            f"'{name}' has {len(data)} bytes: expected at most {MAX_BYTES}; simplify the drawing or split it"
        )
    # Counted in the raw bytes: a bound that is there before the first entity is expanded. Every encoding that expat
    # reads has "&" as this byte.
    builder = _Builder(name, references=data.count(b"&"))
    try:
        builder.parser.Parse(data, True)
    except UserError:  # raised by a handler: it says what is wrong
        raise
    except expat.ExpatError as error:
        raise UserError(f"'{name}' is not an SVG: {error}; expected well-formed XML") from None
    except (ValueError, LookupError) as error:  # an unknown encoding, a null byte
        raise UserError(f"'{name}' is not an SVG: {error}; save it as UTF-8") from None
    return builder.root


def _decompressed(data: bytes, name: str) -> bytes:
    """Return what gzip compressed; a bomb is not unpacked beyond the limit."""
    unpacking = zlib.decompressobj(wbits=31)
    try:
        # One byte more than the limit tells a file at the limit from one beyond, which the caller refuses.
        result = unpacking.decompress(data, MAX_BYTES + 1)
    except zlib.error as error:
        raise UserError(f"'{name}' cannot be decompressed: {error}; save it anew") from None
    if len(result) <= MAX_BYTES and not unpacking.eof:
        raise UserError(f"'{name}' cannot be decompressed: its end is missing; save it anew")
    return result


class _Builder:
    """Receives expat's events and builds the tree."""

    root: Element

    def __init__(self, name: str, references: int) -> None:
        self.name = name
        self.references = references
        self.open: list[Element] = []
        self.texts: list[list[str]] = []
        self.count = 0
        self.expansion = 0
        self.sheets: list[str] = []
        # A unit separator stands in no XML document (XML 1.0, section 2.2), so that it splits names without doubt.
        self.parser = expat.ParserCreate(namespace_separator="\x1f")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.text
        self.parser.ProcessingInstructionHandler = self.instruct
        self.parser.EntityDeclHandler = self.declare_entity
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
            element.parent = self.open[-1]
            element.index = len(element.parent.children)
            element.parent.children.append(element)
        else:
            self.root = element
            element.sheets = self.sheets
        self.open.append(element)
        self.texts.append([])

    def end(self, name: str) -> None:
        self.open.pop().text = "".join(self.texts.pop())

    def text(self, data: str) -> None:
        self.texts[-1].append(data)

    def instruct(self, target: str, text: str) -> None:
        if target == "xml-stylesheet":
            self.sheets.append(text)

    def declare_entity(
        self,
        name: str,
        is_parameter: int,
        value: str | None,
        base: str | None,
        system: str | None,
        public: str | None,
        notation: str | None,
    ) -> None:
        """Take an entity of plain text, as Illustrator declares for namespaces, and refuse any other.

        Without references inside, an entity cannot multiply others; and all references together, each counted as the
        longest entity, must not expand beyond the largest file.
        """
        # expat has expanded character references already: "&#38;" arrives as "&", and cannot hide a reference.
        if is_parameter or value is None or system or public or notation or set("&<%") & set(value):
            self.refuse_entity()
        self.expansion = max(self.expansion, len(value or ""))
        if self.expansion * self.references > MAX_BYTES:
            self.refuse_entity()

    def refuse_entity(self, *_: object) -> int:
        raise UserError(
            f"'{self.name}' declares XML entities (line {self.parser.CurrentLineNumber}) that are more than short "
            "texts, which are not read: save it as plain SVG"
        )


def _braced(name: str) -> str:
    namespace, separator, local = name.rpartition("\x1f")
    return f"{{{namespace}}}{local}" if separator else local
