"""Masks as levels: where a mask has one value, it is a clip path with an opacity."""

from runtime.vector.paths import Kind
from runtime.vector.svg.effects.clipping import clipped
from runtime.vector.svg.effects.groups import disjoint, faded
from runtime.vector.svg.geometry.contours import Contour, Paint
from runtime.vector.svg.geometry.skia import Area, Combiner, area_of
from runtime.vector.svg.values import Colour, linear_of

_FULL = 0.998
"""Value of a mask from which on it hides nothing that could be seen."""

Levels = list[tuple[float, Area]]
"""Values in (0, 1] and where a mask has them; the areas do not overlap."""


def levels_of(shapes: list[Paint], combiner: Combiner, *, luminance: bool = True, linear: bool = False) -> Levels:
    """Return the levels of a mask; elsewhere it is 0.

    Args:
        shapes: what is painted in the mask, the lowest first.
        combiner: what cuts the shapes.
        luminance: whether the luminance of colours counts, and not their alpha alone.
        linear: whether luminance is that of linear colours and not of those of sRGB.

    Raises:
        ValueError: where the shapes cannot be cut.
    """
    groups: dict[tuple[float, Kind], list[Contour]] = {}
    for shape in disjoint(shapes, combiner):
        value = round(_luminance(shape.colour, linear) * shape.colour[3] if luminance else shape.colour[3], 4)
        area = area_of(shape)
        if area.contours and value > 1 / 512:
            # Areas that do not overlap have the same windings together as alone.
            groups.setdefault((value, area.kind), []).extend(area.contours)
    return [(value, Area(contours, kind)) for (value, kind), contours in groups.items()]


def masked(shapes: list[Paint], levels: Levels, combiner: Combiner) -> list[Paint]:
    """Return shapes under a mask.

    Raises:
        ValueError: where the shapes cannot be cut.
    """
    result = []
    for value, area in levels:
        part = clipped(shapes, area, combiner)
        result += part if value >= _FULL else faded(part, value, combiner)
    return result


def outside(shapes: list[Paint], levels: Levels, combiner: Combiner) -> list[Paint]:
    """Return shapes under the inverse of a mask: whole where it is 0.

    Raises:
        ValueError: where the shapes cannot be cut.
    """
    result = []
    for shape in shapes:
        rest: Area | None = area_of(shape)
        for _, area in levels:
            rest = combiner.subtract(rest, area) if rest is not None and rest.contours else None
        if rest is not None and rest.contours:
            result.append(Paint(rest.kind, rest.contours, shape.colour))
    return result + masked(shapes, [(1 - value, area) for value, area in levels if value < _FULL], combiner)


def _luminance(colour: Colour, linear: bool) -> float:
    # CSS Masking 1, section 6.7.2: these weights, for either kind of colours.
    red, green, blue = (linear_of(channel) for channel in colour[:3]) if linear else colour[:3]
    return 0.2125 * red + 0.7154 * green + 0.0721 * blue
