"""Numbers, lengths, angles and colours as SVG and CSS write them.

Every pattern is unambiguous: a hostile value costs time in proportion to its length, never to its square.
"""

import colorsys
import math
import re

from PIL import ImageColor

# A dot may end a number: SVG 1.1 allows that (section 8.3.9), and CSS does not.
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")

FONT_SIZE = 16.0
"""Pixels of the font where none is set, which `em` and its kin are measured in."""

LARGEST = 1e7
"""Largest coordinate, width and entry of a matrix, in user units and in pixels."""

_UNIT = re.compile(r"[a-zA-Z%]*")
# CSS fixes the inch at 96 pixels, whatever the screen (CSS Values 3, section 5.2).
_UNITS = {"": 1.0, "px": 1.0, "in": 96.0, "cm": 96 / 2.54, "mm": 96 / 25.4, "q": 96 / 101.6, "pt": 4 / 3, "pc": 16.0}
# No font is read. CSS Values 3, section 5.1.1 then asks for half an em for "ex" and "ch".
_FONT_UNITS = {"em": 1.0, "ex": 0.5, "ch": 0.5}
_ANGLES = {"": 1.0, "deg": 1.0, "grad": 0.9, "rad": 180 / math.pi, "turn": 360.0}
_HEX = re.compile(r"#(?:[0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})")

Colour = tuple[float, float, float, float]
"""Straight RGBA in [0, 1]."""


def parse_length(text: str, whole: float, em: float = FONT_SIZE) -> float:
    """Return a length in user units (96 to the inch).

    Args:
        text: a number and a unit.
        whole: what a percentage is of.
        em: the size of the font, in user units.

    Raises:
        ValueError: where it is not a finite number with one of these units.
    """
    value, unit = _split(text, "length")
    if unit == "%":
        value *= whole / 100
    elif unit in _UNITS:
        value *= _UNITS[unit]
    elif unit in _FONT_UNITS:
        value *= _FONT_UNITS[unit] * em
    elif unit == "rem":
        value *= FONT_SIZE
    else:
        raise ValueError(f"length '{text[:40]}'")
    if not math.isfinite(value):
        raise ValueError(f"length '{text[:40]}'")
    return value


def parse_angle(text: str) -> float:
    """Return an angle in degrees.

    Raises:
        ValueError: where it is not a finite number with a unit of angles.
    """
    value, unit = _split(text, "angle")
    if unit not in _ANGLES or not math.isfinite(value):
        raise ValueError(f"angle '{text[:40]}'")
    return value * _ANGLES[unit]


def parse_opacity(text: str) -> float:
    """Return an opacity in [0, 1], of a number or a percentage.

    Raises:
        ValueError: where it is neither.
    """
    value, unit = _split(text, "opacity")
    if unit not in ("", "%") or not math.isfinite(value):
        raise ValueError(f"opacity '{text[:40]}'")
    # CSS Color 3, section 3.2: an opacity out of range is clamped and not invalid.
    return min(max(value / 100 if unit == "%" else value, 0.0), 1.0)


def parse_colour(text: str) -> Colour:
    """Return straight RGBA in [0, 1] of a CSS colour: a name, `#rgb[a]`, `#rrggbb[aa]`, `rgb()`, `rgba()` or `hsl()`.

    Raises:
        ValueError: where it is none of these.
    """
    text = text.strip().lower()
    if text == "transparent":
        return (0.0, 0.0, 0.0, 0.0)
    # Pillow is asked for names only: its parser takes forms that no browser does, such as "hsv(...)".
    if text in ImageColor.colormap:
        red, green, blue = ImageColor.getrgb(text)[:3]
        return (red / 255, green / 255, blue / 255, 1.0)
    if _HEX.fullmatch(text):
        return _hex_colour(text[1:])
    name, bracket, arguments = text.partition("(")
    if bracket and name in ("rgb", "rgba", "hsl", "hsla") and arguments.endswith(")"):
        # CSS Color 4 writes spaces and a slash where CSS Color 3 has commas, which allow no mixture of units.
        if "," in arguments and name.startswith("rgb") and arguments.count("%", 0, _third(arguments)) not in (0, 3):
            raise ValueError(f"colour '{text[:40]}'")
        return _function_colour(name, arguments[:-1].replace(",", " ").replace("/", " ").split())
    raise ValueError(f"colour '{text[:40]}'")


def linear_of(channel: float) -> float:
    """Return the light of a channel of sRGB, both in [0, 1] (IEC 61966-2-1)."""
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def encoded(light: float) -> float:
    """Return the channel of sRGB of a light, both in [0, 1]."""
    return light * 12.92 if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


def _third(arguments: str) -> int:
    """Return where the third of some arguments ends."""
    return len(",".join(arguments.split(",")[:3]))


def _split(text: str, what: str) -> tuple[float, str]:
    """Return a number and its unit in lower case."""
    text = text.strip()
    number = NUMBER.match(text)
    unit = text[number.end() :] if number else ""
    if number is None or not _UNIT.fullmatch(unit):
        raise ValueError(f"{what} '{text[:40]}'")
    return float(number[0]), unit.lower()


def _hex_colour(digits: str) -> Colour:
    if len(digits) < 6:
        digits = "".join(2 * digit for digit in digits)
    red, green, blue, alpha = bytes.fromhex(digits.ljust(8, "f"))
    return (red / 255, green / 255, blue / 255, alpha / 255)


def _function_colour(name: str, parts: list[str]) -> Colour:
    if len(parts) not in (3, 4):
        raise ValueError(f"colour '{name}({' '.join(parts)[:40]})'")
    alpha = parse_opacity(parts[3]) if len(parts) == 4 else 1.0
    if name.startswith("hsl"):
        hue = parse_angle(parts[0])
        saturation, lightness = map(parse_opacity, parts[1:3])
        red, green, blue = colorsys.hls_to_rgb(hue / 360 % 1.0, lightness, saturation)
    else:
        red, green, blue = (min(max(parse_length(part, 255.0) / 255, 0.0), 1.0) for part in parts[:3])
    return (red, green, blue, alpha)
