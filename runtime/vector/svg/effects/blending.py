"""Blend modes: a shape in parts, one for each colour below it, each in the colour that blending gives."""

from collections.abc import Callable
from dataclasses import replace

from runtime.vector.svg.effects.clipping import clipped
from runtime.vector.svg.effects.groups import OPAQUE, disjoint
from runtime.vector.svg.geometry.contours import Paint, box_of
from runtime.vector.svg.geometry.skia import Area, Combiner, Relation, area_of, relation_of
from runtime.vector.svg.values import Colour

Rgb = tuple[float, float, float]


def _soft_light(below: float, above: float) -> float:
    if above <= 0.5:
        return below - (1 - 2 * above) * below * (1 - below)
    root = ((16 * below - 12) * below + 4) * below if below <= 0.25 else below**0.5
    return below + (2 * above - 1) * (root - below)


def _hard_light(below: float, above: float) -> float:
    return 2 * below * above if above <= 0.5 else 1 - 2 * (1 - below) * (1 - above)


def _dodge(below: float, above: float) -> float:
    return 0.0 if below == 0 else 1.0 if above >= 1 else min(1.0, below / (1 - above))


def _burn(below: float, above: float) -> float:
    return 1.0 if below >= 1 else 0.0 if above <= 0 else 1 - min(1.0, (1 - below) / above)


_SEPARABLE: dict[str, Callable[[float, float], float]] = {
    "multiply": lambda below, above: below * above,
    "screen": lambda below, above: below + above - below * above,
    "overlay": lambda below, above: _hard_light(above, below),
    "darken": min,
    "lighten": max,
    "color-dodge": _dodge,
    "color-burn": _burn,
    "hard-light": _hard_light,
    "soft-light": _soft_light,
    "difference": lambda below, above: abs(below - above),
    "exclusion": lambda below, above: below + above - 2 * below * above,
}
"""Compositing and Blending 1, section 9.1: of a channel below and one above."""

_WHOLE: dict[str, Callable[[Rgb, Rgb], Rgb]] = {
    "hue": lambda below, above: _with_luminosity(_with_saturation(above, _saturation(below)), _luminosity(below)),
    "saturation": lambda below, above: _with_luminosity(
        _with_saturation(below, _saturation(above)), _luminosity(below)
    ),
    "color": lambda below, above: _with_luminosity(above, _luminosity(below)),
    "luminosity": lambda below, above: _with_luminosity(below, _luminosity(above)),
}
"""Section 9.2: of whole colours."""

MODES = (*_SEPARABLE, *_WHOLE)
"""Modes besides "normal"."""


def blended(shapes: list[Paint], backdrop: list[Paint], mode: str, combiner: Combiner) -> list[Paint]:
    """Return shapes that look over a backdrop as the others blended with it.

    Args:
        shapes: what is blended as a whole, the lowest first.
        backdrop: what lies below, the lowest first.
        mode: one of `MODES`.
        combiner: what cuts the shapes.

    Raises:
        ValueError: where they cannot be cut.
    """
    result = []
    # Nothing is seen through what is opaque: its shapes may stay as they are.
    opaque = all(shape.colour[3] >= OPAQUE for shape in shapes)
    for shape in shapes if opaque else disjoint(shapes, combiner):
        area = area_of(shape)
        base, above = _behind(area, backdrop, combiner) if area.contours else (None, [])
        below = clipped(above, area, combiner)
        if base is not None and all(part.colour[3] >= OPAQUE for part in [shape, *below]):
            # The parts lie on the whole shape as the backdrop's lie on one another: edges are as smooth as they were.
            result.append(replace(shape, colour=blended_colour(shape.colour, base, mode)))
            rest = None
        else:
            below = disjoint(clipped(backdrop, area, combiner), combiner)
            rest = _without(area, below, combiner)
        # The backdrop stays. So a part is painted over it, with the alpha of the shape.
        for part in below:
            result.append(replace(_filled(part), colour=blended_colour(shape.colour, part.colour, mode)))
        if rest is not None and rest.contours:
            result.append(Paint(rest.kind, rest.contours, shape.colour) if below else shape)
    return result


def _behind(area: Area, backdrop: list[Paint], combiner: Combiner) -> tuple[Colour | None, list[Paint]]:
    """Return the one colour that lies behind all of an area, and what lies over that.

    It is that of the highest opaque shape around the area, nothing where there is none, and None where a shape is
    translucent.
    """
    if any(shape.colour[3] < OPAQUE for shape in backdrop):
        return None, backdrop
    for index in range(len(backdrop) - 1, -1, -1):
        combiner.spend(1)
        low, high = box_of(backdrop[index])
        if (low <= area.box[0]).all() and (high >= area.box[1]).all():
            combiner.spend(4)
            if relation_of(area, area_of(backdrop[index])) == Relation.INSIDE:
                return backdrop[index].colour, backdrop[index + 1 :]
    return (0.0, 0.0, 0.0, 0.0), backdrop


def _without(area: Area, parts: list[Paint], combiner: Combiner) -> Area | None:
    """Return an area without some parts of it; None where nothing is left."""
    rest: Area | None = area
    for part in parts:
        under = area_of(part)
        rest = combiner.subtract(rest, under) if rest is not None and rest.contours and under.contours else rest
    return rest


def _filled(part: Paint) -> Paint:
    """Return a path as a fill, which may get an alpha."""
    area = area_of(part)
    return Paint(area.kind, area.contours, part.colour)


def blended_colour(above: Colour, below: Colour, mode: str) -> Colour:
    """Return the straight RGBA that, painted over a colour, gives what blending with it gives."""
    if mode in _WHOLE:
        mixed = _WHOLE[mode](below[:3], above[:3])
    else:
        mixed = tuple(_SEPARABLE[mode](*channels) for channels in zip(below[:3], above[:3], strict=True))
    # Section 5: where the backdrop is translucent, the shape's own colour counts for the rest.
    red, green, blue = ((1 - below[3]) * own + below[3] * blend for own, blend in zip(above[:3], mixed, strict=True))
    return (red, green, blue, above[3])


def _luminosity(colour: Rgb) -> float:
    return 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]


def _saturation(colour: Rgb) -> float:
    return max(colour) - min(colour)


def _with_luminosity(colour: Rgb, luminosity: float) -> Rgb:
    shift = luminosity - _luminosity(colour)
    channels = [channel + shift for channel in colour]
    low, high = min(channels), max(channels)
    # "ClipColor": towards grey of the same luminosity, as far as channels leave the range.
    if low < 0:
        channels = [luminosity + (one - luminosity) * luminosity / (luminosity - low) for one in channels]
    if high > 1:
        channels = [luminosity + (one - luminosity) * (1 - luminosity) / (high - luminosity) for one in channels]
    return (channels[0], channels[1], channels[2])


def _with_saturation(colour: Rgb, saturation: float) -> Rgb:
    low, high = min(colour), max(colour)
    if high <= low:
        return (0.0, 0.0, 0.0)
    red, green, blue = ((channel - low) * saturation / (high - low) for channel in colour)
    return (red, green, blue)
