"""Primitives of filters that change colours: functions of straight RGBA."""

import math
from collections.abc import Callable, Mapping

import numpy as np

from runtime.vector.svg.values import NUMBER, Colour, encoded, linear_of

Recolour = Callable[[Colour], Colour]

_MOST_VALUES = 1024
"""Most values of a table."""


def colour_matrix(kind: str, text: str) -> Recolour:
    """Return what `feColorMatrix` does (Filter Effects 1, section 9.6).

    Args:
        kind: "matrix", "saturate", "hueRotate" or "luminanceToAlpha".
        text: its values; those that are missing or too many leave colours as they are.
    """
    values = _numbers(text)
    matrix = np.eye(4, 5)
    if kind == "matrix" and len(values) == 20:
        matrix = np.array(values).reshape(4, 5)
    elif kind == "saturate" and len(values) == 1:
        matrix[:3, :3] = _GREY + values[0] * (np.eye(3) - _GREY)
    elif kind == "hueRotate" and len(values) == 1:
        angle = math.radians(values[0])
        matrix[:3, :3] = _GREY + math.cos(angle) * (np.eye(3) - _GREY) + math.sin(angle) * _TURN
    elif kind == "luminanceToAlpha":
        matrix = np.zeros((4, 5))
        matrix[3, :3] = (0.2125, 0.7154, 0.0721)

    def recolour(colour: Colour) -> Colour:
        red, green, blue, alpha = (matrix @ np.array([*colour, 1.0])).clip(0, 1).tolist()
        return (red, green, blue, alpha)

    return recolour


_GREY = np.tile([0.213, 0.715, 0.072], (3, 1))
_TURN = np.array([[-0.213, -0.715, 0.928], [0.143, 0.140, -0.283], [-0.787, 0.715, 0.072]])


def component_transfer(functions: Mapping[str, Mapping[str, str]]) -> Recolour:
    """Return what `feComponentTransfer` does (section 9.7): a function each of R, G, B and A, by attributes."""
    channels = [_transfer(functions.get(name, {})) for name in "RGBA"]

    def recolour(colour: Colour) -> Colour:
        red, green, blue, alpha = (
            min(max(channel(value), 0.0), 1.0) for channel, value in zip(channels, colour, strict=True)
        )
        return (red, green, blue, alpha)

    return recolour


def _transfer(attributes: Mapping[str, str]) -> Callable[[float], float]:
    """Return one channel's function."""

    def number(name: str, default: float) -> float:
        # A number with a unit is none.
        text = attributes.get(name, "").strip()
        return float(text) if NUMBER.fullmatch(text) else default

    table = _numbers(attributes.get("tableValues", ""))
    match attributes.get("type", "identity"):
        case "table" if table:
            return lambda value: float(np.interp(value * (len(table) - 1), range(len(table)), table))
        case "discrete" if table:
            return lambda value: table[min(int(value * len(table)), len(table) - 1)]
        case "linear":
            slope, intercept = number("slope", 1.0), number("intercept", 0.0)
            return lambda value: slope * value + intercept
        case "gamma":
            amplitude, exponent, offset = number("amplitude", 1.0), number("exponent", 1.0), number("offset", 0.0)
            # 0 to a negative power has no value; browsers clamp it to the largest.
            return lambda value: amplitude * (value**exponent if value > 0 or exponent > 0 else 1.0) + offset
        case _:
            return lambda value: value


def through_linear(recolour: Recolour) -> Recolour:
    """Return a function of colours of sRGB that does to their light what the other does to colours."""

    def recoloured(colour: Colour) -> Colour:
        red, green, blue = (linear_of(channel) for channel in colour[:3])
        *light, alpha = recolour((red, green, blue, colour[3]))
        red, green, blue = (encoded(channel) for channel in light)
        return (red, green, blue, alpha)

    return recoloured


def _numbers(text: str) -> list[float]:
    """Return the numbers of a list; none where one of them is no number."""
    parts = text.replace(",", " ").split()
    if len(parts) > _MOST_VALUES or not all(NUMBER.fullmatch(part) for part in parts):
        return []
    return [float(part) for part in parts]
