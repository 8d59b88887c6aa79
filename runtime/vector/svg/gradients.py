"""Gradients as one colour: the mean over their length, which is exact where all stops have one colour."""

from collections.abc import Iterator, Mapping

import numpy as np

from runtime.vector.svg.context import style_at
from runtime.vector.svg.css import StyleSheet
from runtime.vector.svg.values import Colour, parse_colour, parse_opacity
from runtime.vector.svg.xml import Element, href_of

GRADIENTS = ("linearGradient", "radialGradient")

_MAX_LINKS = 16


def mean_colour(gradient: Element, by_id: Mapping[str, Element], sheet: StyleSheet) -> tuple[Colour, bool] | None:
    """Return a gradient's mean colour and whether it is the only one; None where it has no stops.

    Args:
        gradient: a linear or radial gradient.
        by_id: the file's elements, for the stops of another one that it refers to.
        sheet: the rules of the file.
    """
    stops = next((stops for link in _links(gradient, by_id) if (stops := _stops(link))), [])
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


def spans_box(gradient: Element, by_id: Mapping[str, Element]) -> bool:
    """Return whether a gradient is measured in the bounding box of what it fills, which may have no area."""
    units = (link.attributes.get("gradientUnits") for link in _links(gradient, by_id))
    return next((text for text in units if text is not None), "") != "userSpaceOnUse"


def _links(gradient: Element, by_id: Mapping[str, Element]) -> Iterator[Element]:
    """Yield a gradient and those that it takes its attributes and stops from."""
    # References may run in a circle, so that they are followed a bounded number of times.
    for _ in range(_MAX_LINKS):
        yield gradient
        reference = href_of(gradient)
        # "" is no reference, even where some element has an empty id.
        target = by_id.get(reference[1:]) if len(reference) > 1 and reference[0] == "#" else None
        if target is None or target.tag not in GRADIENTS:
            return
        gradient = target


def _stops(gradient: Element) -> list[Element]:
    return [child for child in gradient.children if child.tag == "stop"]


def _stop_colour(stop: Element, sheet: StyleSheet) -> Colour:
    """Return the straight RGBA of a stop."""
    style = style_at(stop, sheet)
    text = style["stop-color"]
    red, green, blue, alpha = parse_colour(style["color"] if text.lower() == "currentcolor" else text)
    return (red, green, blue, alpha * parse_opacity(style["stop-opacity"]))
