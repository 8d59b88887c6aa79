"""Transforms, their origins, and the fit of a view box into a viewport, as (3, 3) matrices of user units."""

import math
import re

import numpy as np
from jaxtyping import Float64

from runtime.vector.svg.values import LARGEST, NUMBER, parse_angle, parse_length

Matrix = Float64[np.ndarray, "3 3"]
Box = tuple[float, float, float, float]
"""Left, top, width and height."""

# SVG 1.1, section 7.6: commas may stand between functions. CSS has spaces only.
_FUNCTION = re.compile(r"[\s,]*([A-Za-z0-9]+)\s*\(([^()]*)\)[\s,]*")
_ARGUMENT = re.compile(rf"[\s,]*({NUMBER.pattern}[A-Za-z%]*)")
_ARGUMENTS = {
    **{"matrix": (6,), "rotate": (1, 3), "translate": (1, 2), "translatex": (1,), "translatey": (1,)},
    **{"scale": (1, 2), "scalex": (1,), "scaley": (1,), "skew": (1, 2), "skewx": (1,), "skewy": (1,)},
}
_ACROSS = (("left", "right"), ("top", "bottom"))
_SIDES = {"left": 0.0, "top": 0.0, "center": 50.0, "right": 100.0, "bottom": 100.0}


def parse_transform(text: str, box: Box = (0.0, 0.0, 0.0, 0.0)) -> Matrix:
    """Return the matrix of a `transform`, of SVG's attribute or of CSS in two dimensions.

    Args:
        text: functions, of which the last one is applied first.
        box: the reference box, which percentages are of.

    Raises:
        ValueError: where it is not a list of such functions with finite numbers.
    """
    matrix, position = np.eye(3), 0
    text = text.strip()
    while position < len(text) and text != "none":
        match = _FUNCTION.match(text, position)
        arguments = _arguments(match[2]) if match else []
        if match is None or len(arguments) not in _ARGUMENTS.get(match[1].lower(), ()):
            raise ValueError(f"transform '{text[:60]}'")
        try:
            matrix = matrix @ _matrix_of(match[1].lower(), arguments, box)
        except ValueError:
            raise ValueError(f"transform '{text[:60]}'") from None
        position = match.end()
        # After every function, or a product of large ones overflows before the end. Written so that a NaN fails too.
        if not (np.abs(matrix) <= LARGEST).all():
            raise ValueError(f"transform '{text[:60]}' is not of numbers up to {LARGEST:g}")
    return matrix


def _arguments(text: str) -> list[str]:
    """Return the arguments of a function; SVG lets a sign or a dot begin the next number: "1-1.5.5"."""
    arguments, position = [], 0
    while match := _ARGUMENT.match(text, position):
        arguments.append(match[1])
        position = match.end()
    # What is no number is an argument too, for an error that names it.
    return [*arguments, *text[position:].replace(",", " ").split()]


def parse_origin(text: str, box: Box) -> tuple[float, float]:
    """Return the point that a `transform-origin` names.

    Args:
        text: one to three lengths, percentages or sides.
        box: the reference box, whose top left corner the origin is measured from.

    Raises:
        ValueError: where it is none.
    """
    parts = text.lower().split()
    # A third length moves the origin towards the viewer, which flat transforms do not show.
    if len(parts) == 3 and parts[2] not in _SIDES:
        parts.pop()
    # Two words say which side they mean and may stand in either order; a length is x, then y.
    words = all(part in _SIDES for part in parts)
    if words and len(parts) == 2 and (parts[0] in _ACROSS[1] or parts[1] in _ACROSS[0]):
        parts.reverse()
    if len(parts) == 1:
        parts = ["center", *parts] if parts[0] in _ACROSS[1] else [*parts, "center"]
    if len(parts) != 2 or parts[0] in _ACROSS[1] or parts[1] in _ACROSS[0]:
        raise ValueError(f"transform-origin '{text[:40]}'")
    try:
        x, y = (
            parse_length(f"{_SIDES[part]}%" if part in _SIDES else part, whole)
            for part, whole in zip(parts, box[2:], strict=True)
        )
    except ValueError:
        raise ValueError(f"transform-origin '{text[:40]}'") from None
    return x + box[0], y + box[1]


def about(matrix: Matrix, origin: tuple[float, float]) -> Matrix:
    """Return a transform about a point."""
    x, y = origin
    return translation(x, y) @ matrix @ translation(-x, -y)


def parse_steps(translate: str, rotate: str, scale: str, box: Box) -> Matrix:
    """Return the matrix of the properties `translate`, `rotate` and `scale`, which stand before `transform`.

    Raises:
        ValueError: where one of them cannot be read, or leaves the plane.
    """
    matrix = np.eye(3)
    if translate != "none":
        # A third length is along the line of sight, which shows nothing.
        offsets = [parse_length(part, whole) for part, whole in zip(translate.split(), (*box[2:], 1.0), strict=False)]
        matrix = translation(offsets[0], offsets[1] if len(offsets) > 1 else 0.0)
    if rotate != "none":
        words = rotate.split()
        if words[:1] == ["z"] or words[:-1] == ["0", "0", "1"]:
            words = words[-1:]
        if len(words) != 1:
            raise ValueError(f"rotate '{rotate[:40]}'")
        matrix = matrix @ _matrix_of("rotate", words, box)
    if scale != "none":
        factors = [parse_length(part, 1.0) for part in scale.split()]
        matrix = matrix @ np.diag([factors[0], factors[1] if len(factors) > 1 else factors[0], 1.0])
    return matrix


def translation(x: float, y: float) -> Matrix:
    """Return the matrix that moves by (x, y)."""
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def fit(box: Box, viewport: Box, aspect: str | None) -> Matrix:
    """Return the matrix from a view box into a viewport.

    Args:
        box: the view box, in its own units; width and height above 0.
        viewport: where it goes.
        aspect: `preserveAspectRatio`: as `xMidYMid meet`, which is the default, or `none`.
    """
    words = (aspect or "").split()
    # SVG 1.1, section 7.8: "defer" says something about images alone.
    words = words[1:] if words[:1] == ["defer"] else words
    align = words[0] if words else "xMidYMid"
    scale_x, scale_y = viewport[2] / box[2], viewport[3] / box[3]
    if align != "none":
        scale_x = scale_y = max(scale_x, scale_y) if words[1:] == ["slice"] else min(scale_x, scale_y)
    shares = {"Min": 0.0, "Mid": 0.5, "Max": 1.0}
    # What is not understood counts as the initial value, which is in the middle of both axes.
    share_x, share_y = shares.get(align[1:4], 0.5), shares.get(align[5:8], 0.5)
    x = viewport[0] + share_x * (viewport[2] - scale_x * box[2]) - scale_x * box[0]
    y = viewport[1] + share_y * (viewport[3] - scale_y * box[3]) - scale_y * box[1]
    return np.array([[scale_x, 0.0, x], [0.0, scale_y, y], [0.0, 0.0, 1.0]])


def _matrix_of(name: str, arguments: list[str], box: Box) -> Matrix:
    """Return the matrix of one function."""
    match name:
        case "matrix":
            # A percentage of NaN is not finite and so refused: there is nothing that it could be of.
            a, b, c, d, e, f = (parse_length(argument, math.nan) for argument in arguments)
            return np.array([[a, c, e], [b, d, f], [0.0, 0.0, 1.0]])
        case "rotate":
            x, y = (parse_length(argument, math.nan) for argument in arguments[1:] or ("0", "0"))
            angle = math.radians(parse_angle(arguments[0]))
            cos, sin = math.cos(angle), math.sin(angle)
            turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
            return translation(x, y) @ turn @ translation(-x, -y)
        case "translate" | "translatex" | "translatey":
            offsets = [parse_length(argument, whole) for argument, whole in zip(arguments, box[2:], strict=False)]
            if name == "translatey":
                return translation(0.0, parse_length(arguments[0], box[3]))
            return translation(offsets[0], offsets[1] if len(offsets) > 1 else 0.0)
        case "scale" | "scalex" | "scaley":
            factors = [parse_length(argument, 1.0) for argument in arguments]
            x = 1.0 if name == "scaley" else factors[0]
            y = 1.0 if name == "scalex" else factors[-1]
            return np.diag([x, y, 1.0])
        case _:
            slopes = [math.tan(math.radians(parse_angle(argument))) for argument in arguments]
            # CSS defines skew(a, b) as one matrix, which differs from the product of skewX(a) and skewY(b).
            x = 0.0 if name == "skewy" else slopes[0]
            y = slopes[0] if name == "skewy" else slopes[1] if len(slopes) > 1 else 0.0
            return np.array([[1.0, x, 0.0], [y, 1.0, 0.0], [0.0, 0.0, 1.0]])
