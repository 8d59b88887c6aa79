"""What an SVG element looks like: attributes, style sheets and inheritance, colours and lengths.

The cascade is that of SVG 1.1 as editors write it: presentation attributes, then `<style>` rules with simple selectors
(`*`, `tag`, `.class`, `#id`, `tag.class`), then the `style` attribute.
"""

import colorsys
import math
import re

from PIL import ImageColor

from runtime.vector.svg.xml import Element

INHERITED = {
    "fill": "black",
    "fill-opacity": "1",
    "fill-rule": "nonzero",
    "stroke": "none",
    "stroke-opacity": "1",
    "stroke-width": "1",
    "stroke-linecap": "butt",
    "stroke-linejoin": "miter",
    "stroke-dasharray": "none",
    "marker-start": "none",
    "marker-mid": "none",
    "marker-end": "none",
    "paint-order": "normal",
    "visibility": "visible",
    "color": "black",
}
"""Properties that an element takes from its parent, with their initial values."""

OWN = {
    "opacity": "1",
    "display": "inline",
    "clip-path": "none",
    "mask": "none",
    "filter": "none",
    "mix-blend-mode": "normal",
    "vector-effect": "none",
    "transform": "none",
}
"""Properties that hold for the element itself, with their initial values."""

Style = dict[str, str]
Rule = tuple[int, str, Style]
"""Specificity, selector, declarations."""

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_LENGTH = re.compile(rf"\s*({_NUMBER})\s*([a-zA-Z%]*)\s*")
_UNITS = {"": 1.0, "px": 1.0, "in": 96.0, "cm": 96 / 2.54, "mm": 96 / 25.4, "q": 96 / 101.6, "pt": 4 / 3, "pc": 16.0}
_SELECTOR = re.compile(r"\*|[a-zA-Z][\w-]*(?:\.[\w-]+)?|\.[\w-]+|#[\w-]+")
_FUNCTION = re.compile(r"(rgba?|hsla?)\(\s*(.*?)\s*\)", re.IGNORECASE)


def style_of(element: Element, parent: Style, rules: list[Rule]) -> Style:
    """Return every property of an element, with what it inherits from its parent's style.

    Raises:
        ValueError: where the `style` attribute cannot be read.
    """
    style = INHERITED | parent | OWN
    declared = {name: value for name, value in element.attributes.items() if name in style}
    for _, selector, declarations in rules:
        if _matches(selector, element):
            declared |= declarations
    declared |= parse_declarations(element.attributes.get("style", ""))
    for name, value in declared.items():
        if name in style and value.strip() != "inherit":
            style[name] = value.strip()
    for name in ("fill", "stroke"):
        if style[name].lower() == "currentcolor":
            style[name] = style["color"]
    return style


def parse_declarations(text: str) -> Style:
    """Return the properties of `name: value; ...`.

    Raises:
        ValueError: where a declaration has no colon.
    """
    declarations = {}
    for declaration in re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL).split(";"):
        name, colon, value = declaration.partition(":")
        if colon:
            declarations[name.strip().lower()] = value.replace("!important", "").strip()
        elif name.strip():
            raise ValueError(f"style '{name.strip()[:40]}' has no colon")
    return declarations


def parse_rules(sheet: str) -> list[Rule]:
    """Return the rules of a style sheet in the order in which they apply: by specificity, then as written.

    Raises:
        ValueError: naming the first selector or at-rule that is not a simple one.
    """
    sheet = re.sub(r"/\*.*?\*/|<!--|-->", "", sheet, flags=re.DOTALL)
    rules = []
    for block in filter(str.strip, sheet.split("}")):
        selectors, brace, body = block.partition("{")
        if not brace:
            raise ValueError(f"style rule '{block.strip()[:40]}' has no body")
        for selector in (part.strip() for part in selectors.split(",")):
            if not _SELECTOR.fullmatch(selector):
                raise ValueError(f"style selector '{selector[:40]}'")
            rules.append((_specificity(selector), selector, parse_declarations(body)))
    return sorted(rules, key=lambda rule: rule[0])


def _specificity(selector: str) -> int:
    return 100 * selector.count("#") + 10 * selector.count(".") + (selector[0].isalpha())


def _matches(selector: str, element: Element) -> bool:
    if selector.startswith("#"):
        return element.attributes.get("id") == selector[1:]
    tag, _, name = selector.partition(".")
    classes = element.attributes.get("class", "").split()
    return tag in ("", "*", element.tag) and (not name or name in classes)


def parse_length(text: str, whole: float) -> float:
    """Return a length in user units (96 to the inch); a percentage is of `whole`.

    Raises:
        ValueError: where it is not a number with a known unit, or not finite.
    """
    match = _LENGTH.fullmatch(text)
    unit = match[2].lower() if match else None
    if match is None or (unit != "%" and unit not in _UNITS):
        raise ValueError(f"length '{text[:40]}'")
    value = float(match[1]) * (whole / 100 if unit == "%" else _UNITS[unit])
    if not math.isfinite(value):
        raise ValueError(f"length '{text[:40]}'")
    return value


def parse_opacity(text: str) -> float:
    """Return an opacity in [0, 1], of a number or a percentage.

    Raises:
        ValueError: where it is neither.
    """
    return min(max(parse_length(text, 1.0), 0.0), 1.0)


def parse_colour(text: str) -> tuple[float, float, float, float]:
    """Return straight RGBA in [0, 1] of a CSS colour: a name, `#rgb[a]`, `#rrggbb[aa]`, `rgb()`, `rgba()` or `hsl()`.

    Raises:
        ValueError: where it is none of these.
    """
    text = text.strip().lower()
    if text == "transparent":
        return (0.0, 0.0, 0.0, 0.0)
    if text in ImageColor.colormap:
        red, green, blue = ImageColor.getrgb(text)[:3]
        return (red / 255, green / 255, blue / 255, 1.0)
    if re.fullmatch(r"#(?:[0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})", text):
        return _hex_colour(text[1:])
    if match := _FUNCTION.fullmatch(text):
        return _function_colour(match[1], re.split(r"[\s,/]+", match[2]))
    raise ValueError(f"colour '{text[:40]}'")


def _hex_colour(digits: str) -> tuple[float, float, float, float]:
    if len(digits) < 6:
        digits = "".join(2 * digit for digit in digits)
    red, green, blue, alpha = bytes.fromhex(digits.ljust(8, "f"))
    return (red / 255, green / 255, blue / 255, alpha / 255)


def _function_colour(name: str, parts: list[str]) -> tuple[float, float, float, float]:
    if len(parts) not in (3, 4):
        raise ValueError(f"colour '{name}({' '.join(parts)[:40]})'")
    alpha = parse_opacity(parts[3]) if len(parts) == 4 else 1.0
    if name.startswith("hsl"):
        hue, saturation, lightness = parse_length(parts[0].removesuffix("deg"), 360), *map(parse_opacity, parts[1:3])
        red, green, blue = colorsys.hls_to_rgb(hue / 360 % 1.0, lightness, saturation)
    else:
        red, green, blue = (min(max(parse_length(part, 255.0) / 255, 0.0), 1.0) for part in parts[:3])
    return (red, green, blue, alpha)
