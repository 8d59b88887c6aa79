"""Where a drawing lies on its canvas: sizes, view boxes and viewports."""

from dataclasses import dataclass

import numpy as np

from runtime.vector.svg.transforms import Box, Matrix, fit
from runtime.vector.svg.values import LARGEST, parse_length
from runtime.vector.svg.xml import Element

MAX_SIDE = 8192
"""Longest side of a canvas, in pixels."""


@dataclass(frozen=True)
class Canvas:
    """What a root element says about its picture."""

    view: tuple[float, float]
    """Width and height in user units, which percentages are of."""
    size: tuple[int, int]
    """(H, W) in pixels."""
    matrix: Matrix
    """From user units to pixels."""
    scale: float
    """Pixels of this canvas to one of the file's own size."""


def canvas_of(root: Element, size: tuple[int, int] | None) -> Canvas:
    """Return the canvas of a file: of the file's own size, or of another height and width.

    Raises:
        ValueError: where the file has no size, or one that cannot be drawn.
    """
    box = view_box(root)
    width, height = (root.attributes.get(name, "100%") for name in ("width", "height"))
    if box is None:
        if size is None and "%" in width + height:
            raise ValueError("its size: it has neither width and height nor a viewBox")
        # CSS 2.1, sections 10.3.2 and 10.6.2: 300 x 150 is the size of a picture that does not say its own.
        box = (0.0, 0.0, parse_length(width, 300.0), parse_length(height, 150.0))
    own = _nominal_size(width, height, box)
    # Before rounding: `round` of an infinite side raises an error that nobody catches.
    if not 0 < max(own) < LARGEST or not max(abs(number) for number in box) < LARGEST:
        raise ValueError(f"its size, {own[1]:g} x {own[0]:g}: expected numbers up to {LARGEST:g}")
    size = size or (round(own[0]), round(own[1]))
    if not (min(size) > 0 and max(size) <= MAX_SIDE and min(box[2:]) > 0):
        raise ValueError(f"its size, {size[1]} x {size[0]} pixels: expected 1 to {MAX_SIDE} a side")
    if min(own) <= 0:
        raise ValueError(f"its size, {own[1]:g} x {own[0]:g} user units: expected more than 0")
    matrix = fit(box, (0.0, 0.0, float(size[1]), float(size[0])), root.attributes.get("preserveAspectRatio"))
    scale = float(np.sqrt(size[0] * size[1] / max(own[0] * own[1], 1e-12)))
    return Canvas((box[2], box[3]), size, matrix, scale)


def view_box(element: Element) -> Box | None:
    """Return an element's view box, or None where it has none.

    Raises:
        ValueError: where it is not four numbers, or has no area.
    """
    text = element.attributes.get("viewBox", "")
    if not text.strip():
        return None
    numbers = [parse_length(part, 1.0) for part in text.replace(",", " ").split()]
    if len(numbers) != 4 or min(numbers[2:]) <= 0:
        raise ValueError(f"viewBox '{text[:60]}'")
    return (numbers[0], numbers[1], numbers[2], numbers[3])


def _nominal_size(width: str, height: str, box: Box) -> tuple[float, float]:
    """Return height and width in pixels; a side that is not given follows from the other and the box."""
    across, down = parse_length(width, box[2]), parse_length(height, box[3])
    if "%" in width and "%" not in height:
        across = down * box[2] / box[3]
    if "%" in height and "%" not in width:
        down = across * box[3] / box[2]
    return down, across
