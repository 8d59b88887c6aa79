"""Names for the paths of a drawing, as an editor's list of layers shows them."""

import math
from itertools import groupby

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.vector.paths import Drawing, path_areas
from runtime.vector.svg.write import Layer

GREYS = ((0.12, "black"), (0.35, "dark grey"), (0.65, "grey"), (0.92, "light grey"), (2.0, "white"))
"""Upper bounds of the lightness of colours without a hue."""

HUES = (
    (15, "red"),
    (40, "orange"),
    (68, "yellow"),
    (160, "green"),
    (195, "cyan"),
    (255, "blue"),
    (290, "purple"),
    (340, "pink"),
    (361, "red"),
)
"""Upper bounds of hues in degrees."""

GREY_CHROMA = 0.1
"""Largest minus smallest channel below which a colour has no hue."""


def colour_name(rgb: Float[Tensor, "3"]) -> str:
    """Return the everyday name of a colour, RGB in [0, 1], such as "dark green"."""
    red, green, blue = rgb.double().clamp(0, 1).tolist()
    largest, smallest = max(red, green, blue), min(red, green, blue)
    lightness, chroma = (largest + smallest) / 2, largest - smallest
    if chroma < GREY_CHROMA:
        return next(name for bound, name in GREYS if lightness < bound)
    # The hexagonal hue: which channel is largest, and how the other two stand.
    if largest == red:
        sixth = ((green - blue) / chroma) % 6
    elif largest == green:
        sixth = (blue - red) / chroma + 2
    else:
        sixth = (red - green) / chroma + 4
    hue = next(name for bound, name in HUES if 60 * sixth < bound)
    if hue == "orange" and lightness < 0.4:
        return "brown"
    shade = "dark " if lightness < 0.3 else "light " if lightness > 0.75 else ""
    return shade + hue


def layers_of(drawing: Drawing) -> list[Layer]:
    """Return groups of the paths that follow one another and have a colour of one name, from the bottom up.

    Only neighbours in the order of drawing are joined, so that the picture stays what it is. A name says where the
    group lies, its colour, and the share of the canvas that its paths cover: "2 dark green, 14 %".

    Args:
        drawing: one scene.
    """
    names = [colour_name(colour[:3]) for colour in drawing.colours[0]]
    areas = path_areas(drawing)[0].tolist()
    layers, first = [], 0
    for number, (name, members) in enumerate(groupby(names), 1):
        count = len(list(members))
        share = 100 * math.fsum(areas[first : first + count]) / math.prod(drawing.size)
        text = f"{number} {name}, {share:.0f} %" if share >= 1 else f"{number} {name}, small"
        layers.append(Layer(f"layer-{number}", text, first, count))
        first += count
    return layers


def is_white(drawing: Drawing, threshold: float = 0.98) -> bool:
    """Return whether the paper is white, so that it may be left out."""
    return bool((drawing.background >= torch.tensor(threshold)).all())
