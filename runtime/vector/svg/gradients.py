"""Gradients as one colour: the mean over their length, which is exact where all stops have one colour."""

from collections.abc import Mapping

import numpy as np

from runtime.vector.svg.css import StyleSheet
from runtime.vector.svg.style import style_of
from runtime.vector.svg.values import Colour, parse_colour, parse_opacity
from runtime.vector.svg.xml import Element

GRADIENTS = ("linearGradient", "radialGradient")

_HREFS = ("href", "{http://www.w3.org/1999/xlink}href")
_MAX_LINKS = 16


def href_of(element: Element) -> str:
    """Return what an element refers to, with its "#"; "" where to nothing."""
    return next((element.attributes[name] for name in _HREFS if name in element.attributes), "")


def mean_colour(gradient: Element, by_id: Mapping[str, Element], sheet: StyleSheet) -> tuple[Colour, bool] | None:
    """Return a gradient's mean colour and whether it is the only one; None where it has no stops.

    Args:
        gradient: a linear or radial gradient.
        by_id: the file's elements, for the stops of another one that it refers to.
        sheet: the rules of the file.
    """
    stops: list[Element] = []
    # References may run in a circle, so that they are followed a bounded number of times.
    for _ in range(_MAX_LINKS):
        stops = [child for child in gradient.children if child.tag == "stop"]
        reference = href_of(gradient)
        # "" is no reference, even where some element has an empty id.
        target = by_id.get(reference[1:]) if len(reference) > 1 and reference[0] == "#" else None
        if stops or target is None or target.tag not in GRADIENTS:
            break
        gradient = target
    if not stops:
        return None
    offsets, colours = [], []
    for stop in stops:
        try:
            offset = parse_opacity(stop.attributes.get("offset", "0"))
        except ValueError:  # as browsers take it
            offset = 0.0
        # SVG 1.1, section 13.2.4: an offset below the one before is raised to it.
        offsets.append(max(offset, offsets[-1] if offsets else 0.0))
        colours.append(_stop_colour(stop, sheet))
    table = np.array(colours)
    # Beyond the outer stops their own colours last to 0 and 1; between stops, colours change evenly.
    places = np.array([0.0, *offsets, 1.0])
    values = np.concatenate([table[:1], table, table[-1:]])
    # Colours count by their alpha: a stop that cannot be seen must not tint the mean.
    values[:, :3] *= values[:, 3:]
    mean = (np.diff(places)[:, None] * (values[1:] + values[:-1]) / 2).sum(axis=0)
    alpha = float(mean[3])
    red, green, blue = mean[:3] / alpha if alpha > 0 else table[0, :3]
    return (float(red), float(green), float(blue), alpha), bool((table == table[0]).all())


def _stop_colour(stop: Element, sheet: StyleSheet) -> Colour:
    """Return the straight RGBA of a stop."""
    style = style_of(stop, {}, sheet, lambda _: None)
    text = style["stop-color"]
    red, green, blue, alpha = parse_colour(style["color"] if text.lower() == "currentcolor" else text)
    return (red, green, blue, alpha * parse_opacity(style["stop-opacity"]))
