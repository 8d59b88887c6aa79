"""What an SVG element looks like: its properties, by attributes, style sheets and inheritance.

The cascade is that of CSS: presentation attributes, then `<style>` rules by specificity, then the `style` attribute,
then what is marked as important. A value that is not understood is skipped, with a note, and the next weaker one holds.
"""

import math
import re
from collections.abc import Callable

from runtime.vector.svg.css import StyleSheet, parse_declarations
from runtime.vector.svg.transforms import parse_origin
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
    "translate": "none",
    "rotate": "none",
    "scale": "none",
    "transform-origin": "0 0",
    "transform-box": "view-box",
    "stop-color": "black",
    "stop-opacity": "1",
}
"""Properties that hold for the element itself, with their initial values."""

GEOMETRY = ("x", "y", "width", "height", "cx", "cy", "r", "rx", "ry", "d")
"""Properties that style sheets may set in place of the attributes of these names (SVG 2, section 8.12)."""

PATH = re.compile(r"path\(\s*(?:evenodd\s*,|nonzero\s*,)?\s*([\"'])(.*)\1\s*\)", re.DOTALL)
"""Path data in a style sheet."""

Style = dict[str, str]
Note = Callable[[str], None]

_INITIAL = INHERITED | OWN
PAINTS = ("fill", "stroke")
"""Properties of which each is a colour, a reference or nothing."""
_LAYERS = ("fill", "stroke", "markers")
_CONTEXT = ("context-fill", "context-stroke")
_SHEET_ONLY = (*GEOMETRY, "translate", "rotate", "scale")
"""Properties whose names are those of other things among attributes, or are read there."""
_FUNCTION = re.compile(r"(?:rotate|skew|translate)[xy]?\(([^()]*)\)", re.IGNORECASE)
_LENGTHS = (*GEOMETRY, "translate", "transform-origin", "font-size")
"""Properties that take no numbers without a unit in style sheets, and may among attributes."""
_NEAR = re.compile(
    r"mask-(?:image|border\S*|size|position|repeat|composite)|backdrop-filter|offset(?:-path)?|perspective"
)
"""Properties that change a picture and are not read."""
_AROUND = re.compile(r"border(?!-collapse|-spacing)\S*|padding\S*|margin\S*|outline\S*|box-shadow|background-image")
"""As they do on the root."""
_NOTHING = ("none", "0", "0px", "auto", "unset", "initial", "inherit")
_FONT = re.compile(r"(?:^|\s)(\d*\.?\d+(?:[a-z]+|%))(?:\s*/|\s)")
_VARIABLE = re.compile(r"var\(\s*(--[^\s,()]+)\s*(?:,([^()]*(?:\([^()]*\)[^()]*)*))?\)")
_MAX_VARIABLES = 256
"""Most variables that hold for an element: each is passed on to every element inside."""
_MAX_SUBSTITUTIONS = 32
_LONGEST = 10_000
"""Longest value, in characters, that variables may make."""
_KEYWORDS = {
    "display": re.compile(r"[a-z -]+"),
    "visibility": re.compile(r"visible|hidden|collapse"),
    "fill-rule": re.compile(r"nonzero|evenodd"),
    "clip-rule": re.compile(r"nonzero|evenodd"),
    "stroke-linecap": re.compile(r"butt|round|square"),
    "stroke-linejoin": re.compile(r"miter|miter-clip|arcs|round|bevel"),
}
_WORDS = {
    *_KEYWORDS,
    *("paint-order", "overflow", "mix-blend-mode", "isolation", "mask-type", "vector-effect", "transform-box"),
}
"""Properties whose values are words alone, in which case does not count."""
_FONT_SIZES = {"xx-small": 9, "x-small": 10, "small": 13, "medium": 16, "large": 18, "x-large": 24, "xx-large": 32}


def style_of(element: Element, parent: Style, sheet: StyleSheet, note: Note, top: Element | None = None) -> Style:
    """Return every property of an element, with what it inherits from its parent's style.

    Args:
        element: the element.
        parent: the style of the element around it; {} of the root.
        sheet: the rules of the file.
        note: called with each value that is skipped.
        top: what a `<use>` has copied the element with, if it stands in a copy.

    Raises:
        ValueError: where the style sheet asks for too much.
    """
    inherited = {name: parent.get(name, value) for name, value in INHERITED.items()}
    style = inherited | OWN | {name: value for name, value in parent.items() if name.startswith("--")}
    if element.parent is None:
        # CSS Transforms 1, appendix A: the root is turned about its centre, as a box of HTML is.
        style["transform-origin"] = "50% 50%"
    # SVG 2, section 6.6: presentation attributes have specificity 0, so that every rule of a sheet is stronger.
    for name, value in element.attributes.items():
        if name in _INITIAL and name not in _SHEET_ONLY:
            _declare(style, name, value.strip(), parent, note)
    declarations = [*sheet.declarations_of(element, top), *parse_declarations(element.attributes.get("style", ""))]
    # The sort is stable: important declarations go last and keep their own sequence.
    declarations.sort(key=lambda declaration: declaration[2])
    for name, value, _ in declarations:
        if name.startswith("--") and (name in style or len(style) < len(_INITIAL) + _MAX_VARIABLES):
            style[name] = _cascaded(name, value, parent)
    for name, value, _ in declarations:
        _declare_by_sheet(style, name.removeprefix("-webkit-"), value, parent, note, is_root=element.parent is None)
    # Resolved here, because children inherit the size and not the text: "2em" inside of "2em" is four times as large.
    style["font-size"] = _font_size(style["font-size"], inherited["font-size"])
    return style


def _declare(style: Style, name: str, value: str, parent: Style, note: Note) -> None:
    """Set a property, or note that its value is none."""
    # CSS Variables 1, section 3: a variable without a value makes a declaration one of "unset".
    text = (_substituted(value, style) or "unset") if "var(" in value else value
    cascaded = _cascaded(name, text, parent)
    cascaded = cascaded.lower() if name in _WORDS else cascaded
    if _is_valid(name, cascaded):
        style[name] = cascaded
    else:
        note(f"{name} '{value[:40]}' is not understood and left out")


def _declare_by_sheet(style: Style, name: str, value: str, parent: Style, note: Note, *, is_root: bool) -> None:
    """Follow a declaration of a style sheet or a `style` attribute."""
    if name == "marker":
        for end in ("marker-start", "marker-mid", "marker-end"):
            _declare(style, end, value, parent, note)
    elif name == "font":
        size = _FONT.search(f"{value} ")
        style["font-size"] = size[1] if size else style["font-size"]
    elif name in _INITIAL or name in GEOMETRY:
        if _lacks_units(name, value):
            note(f"{name} '{value[:40]}' has no units, which style sheets need, and is left out")
        else:
            _declare(style, name, value, parent, note)
    elif name == "all" or (
        (_NEAR.fullmatch(name) or (is_root and _AROUND.fullmatch(name))) and value.lower() not in _NOTHING
    ):
        note(f"{name} '{value[:40]}' is left out")


def _lacks_units(name: str, value: str) -> bool:
    """Return whether a value has a number, other than 0, where style sheets ask for a length or an angle."""
    if name == "transform":
        parts = [part for function in _FUNCTION.finditer(value) for part in function[1].replace(",", " ").split()]
    elif name in _LENGTHS and name != "d":
        parts = value.split()
    else:
        return False
    return any(NUMBER.fullmatch(part) and float(part) != 0 for part in parts)


def _substituted(value: str, style: Style) -> str:
    """Return a value with the variables in it replaced by theirs; "" where one has no value."""
    for _ in range(_MAX_SUBSTITUTIONS):
        match = _VARIABLE.search(value)
        if match is None:
            return value if "var(" not in value else ""
        replacement = style.get(match[1].lower(), match[2])
        if replacement is None or len(value) + len(replacement) > _LONGEST:
            return ""
        value = (value[: match.start()] + replacement + value[match.end() :]).strip()
    return ""


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
    initial = _INITIAL.get(name, "auto")
    if keyword == "inherit" or (keyword in ("unset", "revert") and name in INHERITED):
        return parent.get(name, initial)
    if keyword in ("initial", "unset", "revert", "revert-layer"):
        return initial
    return value


def _is_valid(name: str, value: str) -> bool:
    """Return whether a property may have a value, as far as browsers and this reader skip it otherwise."""
    try:
        check = _CHECKS.get(name)
        return bool(value) and (check is None or check(value))
    except ValueError:
        return False


def _is_paint(value: str) -> bool:
    rest = split_paint(value)[1] if value.startswith("url(") else value
    return rest.lower() in ("none", "currentcolor", "", *_CONTEXT) or bool(parse_colour(rest))


def _is_colour(value: str) -> bool:
    return value.lower() == "currentcolor" or bool(parse_colour(value))


def _is_length(value: str) -> bool:
    return value == "auto" or math.isfinite(parse_length(value, 1.0))


def _are_dashes(value: str) -> bool:
    # SVG 2, section 13.5.6: negative lengths are invalid.
    return value == "none" or min(parse_length(part, 1.0) for part in value.replace(",", " ").split()) >= 0


def _is_order(value: str) -> bool:
    # SVG 2, section 13.8: a word that is none, or comes twice, makes all of it invalid.
    words = value.split()
    return value == "normal" or (len(set(words)) == len(words) and set(words) <= set(_LAYERS))


_CHECKS: dict[str, Callable[[str], bool]] = {
    **dict.fromkeys(PAINTS, _is_paint),
    **dict.fromkeys(("color", "stop-color", "flood-color"), _is_colour),
    **dict.fromkeys(
        ("opacity", "fill-opacity", "stroke-opacity", "stop-opacity", "flood-opacity"),
        lambda value: parse_opacity(value) >= 0,
    ),
    **dict.fromkeys(GEOMETRY, _is_length),
    **{name: lambda value, words=words: words.fullmatch(value) is not None for name, words in _KEYWORDS.items()},
    "d": lambda value: value in ("none", "auto") or PATH.fullmatch(value) is not None,
    "transform-origin": lambda value: len(parse_origin(value, (0.0, 0.0, 1.0, 1.0))) == 2,
    # Only what browsers skip is skipped. A unit that is not read is an error later on, which names it.
    "stroke-width": lambda value: not value.startswith("-"),
    "stroke-miterlimit": lambda value: NUMBER.fullmatch(value) is not None and 0 <= float(value) <= LARGEST,
    "stroke-dashoffset": _is_length,
    "stroke-dasharray": _are_dashes,
    "paint-order": _is_order,
}
"""Whether a value is one of a property. A `ValueError` says no as well."""


def _font_size(text: str, around: str) -> str:
    """Return a font size in user units; what is not understood is that of the element around."""
    size = float(around)
    if text in _FONT_SIZES:
        return f"{_FONT_SIZES[text]:g}"
    if text in ("larger", "smaller"):
        return repr(size * 1.2 if text == "larger" else size / 1.2)
    try:
        return repr(parse_length(text, size, size))
    except ValueError:
        return around
