"""What an SVG element looks like: its properties, by attributes, style sheets and inheritance.

The cascade is that of CSS: presentation attributes, then `<style>` rules by specificity, then the `style` attribute,
then what is marked as important. A value that is not understood is skipped, with a note, and the next weaker one holds.
"""

import re
from collections.abc import Callable

from runtime.vector.svg.css import StyleSheet, parse_declarations
from runtime.vector.svg.values import FONT_SIZE, LARGEST, NUMBER, parse_colour, parse_length, parse_opacity
from runtime.vector.svg.xml import Element

INHERITED = {
    "fill": "black",
    "fill-opacity": "1",
    "fill-rule": "nonzero",
    "clip-rule": "nonzero",
    "stroke": "none",
    "stroke-opacity": "1",
    "stroke-width": "1",
    "stroke-linecap": "butt",
    "stroke-linejoin": "miter",
    "stroke-miterlimit": "4",
    "stroke-dasharray": "none",
    "stroke-dashoffset": "0",
    "marker-start": "none",
    "marker-mid": "none",
    "marker-end": "none",
    "paint-order": "normal",
    "shape-rendering": "auto",
    "visibility": "visible",
    "color-interpolation": "sRGB",
    "color-interpolation-filters": "linearRGB",
    "color": "black",
    "font-size": f"{FONT_SIZE:g}",
}
"""Properties that an element takes from its parent, with their initial values."""

OWN = {
    "opacity": "1",
    "display": "inline",
    "overflow": "",
    "background": "none",
    "background-color": "transparent",
    "clip-path": "none",
    "mask": "none",
    "filter": "none",
    "mask-type": "luminance",
    "mix-blend-mode": "normal",
    "isolation": "auto",
    "flood-color": "black",
    "flood-opacity": "1",
    "vector-effect": "none",
    "transform": "none",
    "transform-origin": "0 0",
    "transform-box": "view-box",
    "stop-color": "black",
    "stop-opacity": "1",
}
"""Properties that hold for the element itself, with their initial values."""

Style = dict[str, str]
Note = Callable[[str], None]

_INITIAL = INHERITED | OWN
_PAINTS = ("fill", "stroke")
_COLOURS = ("color", "stop-color", "flood-color")
_OPACITIES = ("opacity", "fill-opacity", "stroke-opacity", "stop-opacity", "flood-opacity")
_LAYERS = ("fill", "stroke", "markers")
_KEYWORDS = {
    "display": re.compile(r"[a-z -]+"),
    "visibility": re.compile(r"visible|hidden|collapse"),
    "fill-rule": re.compile(r"nonzero|evenodd"),
    "clip-rule": re.compile(r"nonzero|evenodd"),
    "stroke-linecap": re.compile(r"butt|round|square"),
    "stroke-linejoin": re.compile(r"miter|miter-clip|arcs|round|bevel"),
}
_FONT_SIZES = {"xx-small": 9, "x-small": 10, "small": 13, "medium": 16, "large": 18, "x-large": 24, "xx-large": 32}


def style_of(element: Element, parent: Style, sheet: StyleSheet, note: Note) -> Style:
    """Return every property of an element, with what it inherits from its parent's style.

    Args:
        element: the element.
        parent: the style of the element around it; {} of the root.
        sheet: the rules of the file.
        note: called with each value that is skipped.

    Raises:
        ValueError: where the style sheet asks for too much.
    """
    inherited = {name: parent.get(name, value) for name, value in INHERITED.items()}
    style = inherited | OWN
    # SVG 2, section 6.6: presentation attributes have specificity 0, so that every rule of a sheet is stronger.
    # The shorthand for markers is no attribute.
    declarations = [(name, value, False) for name, value in element.attributes.items() if name != "marker"]
    declarations += sheet.declarations_of(element)
    declarations += parse_declarations(element.attributes.get("style", ""))
    # The sort is stable: important declarations go last and keep their own sequence.
    for name, value, _ in sorted(declarations, key=lambda declaration: declaration[2]):
        if name == "marker":
            for end in ("marker-start", "marker-mid", "marker-end"):
                style[end] = _cascaded(end, value.strip(), parent)
        elif name in style:
            cascaded = _cascaded(name, value.strip(), parent)
            if _is_valid(name, cascaded):
                style[name] = cascaded
            else:
                note(f"{name} '{value.strip()[:40]}' is not understood and left out")
    # Resolved here, because children inherit the size and not the text: "2em" inside of "2em" is four times as large.
    style["font-size"] = _font_size(style["font-size"], inherited["font-size"])
    return style


def split_paint(text: str) -> tuple[str, str]:
    """Return the identifier that a fill, stroke, clip path or marker refers to ("" where to none), and the rest."""
    if not text.startswith("url("):
        return "", text
    reference, _, rest = text[4:].partition(")")
    return reference.strip(" '\"").removeprefix("#"), rest.strip()


def _cascaded(name: str, value: str, parent: Style) -> str:
    """Return a value with CSS's own keywords replaced by what they stand for."""
    keyword = value.lower()
    # CSS Color 3, section 4.4: "currentcolor" on `color` itself would refer to itself.
    if name == "color" and keyword == "currentcolor":
        keyword = "inherit"
    # "revert" goes back to the browser's own sheet. This reader has none, so that it is as "unset".
    if keyword == "inherit" and name == "overflow":
        return parent.get(name) or "visible"  # what browsers hide of their own accord is no value to inherit
    if keyword == "inherit" or (keyword in ("unset", "revert") and name in INHERITED):
        return parent.get(name, _INITIAL[name])
    if keyword in ("initial", "unset", "revert"):
        return _INITIAL[name]
    return value


def _is_valid(name: str, value: str) -> bool:
    """Return whether a property may have a value, as far as browsers and this reader skip it otherwise."""
    try:
        if name in _PAINTS:
            value = split_paint(value)[1] if value.startswith("url(") else value
            if value.lower() not in ("none", "currentcolor", ""):
                parse_colour(value)
        elif name in _COLOURS:
            if value.lower() != "currentcolor":
                parse_colour(value)
        elif name in _OPACITIES:
            parse_opacity(value)
        elif name == "stroke-width":
            # Only what browsers skip is skipped. A unit that is not read is an error later on, which names it.
            return not value.startswith("-")
        elif name == "stroke-miterlimit":
            return NUMBER.fullmatch(value) is not None and 0 <= float(value) <= LARGEST
        elif name == "stroke-dashoffset":
            parse_length(value, 1.0)
        elif name == "stroke-dasharray":
            # SVG 2, section 13.5.6: negative lengths are invalid.
            return value == "none" or min(parse_length(part, 1.0) for part in value.replace(",", " ").split()) >= 0
        elif name == "paint-order":
            words = value.split()
            # SVG 2, section 13.8: a word that is none, or comes twice, makes all of it invalid.
            is_order = len(set(words)) == len(words) and set(words) <= set(_LAYERS)
            value = value if is_order or value == "normal" else ""
        elif name in _KEYWORDS:
            return _KEYWORDS[name].fullmatch(value) is not None
    except ValueError:
        return False
    return bool(value) or name in _PAINTS


def _font_size(text: str, around: str) -> str:
    """Return a font size in user units; what is not understood is that of the element around."""
    size = float(around)
    if text in _FONT_SIZES:
        return f"{_FONT_SIZES[text]:g}"
    try:
        return repr(parse_length(text, size, size))
    except ValueError:
        return around
