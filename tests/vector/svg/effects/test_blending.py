"""Blend modes: every one by hand on two colours, and shapes beside resvg's pictures."""

import pytest

from runtime.vector.svg.effects.blending import MODES, blended_colour
from tests.vector.svg.drawings import check_as_resvg, pixel

BELOW, ABOVE = (0.8, 0.4, 0.2), (0.25, 0.5, 0.75)
EXPECTED = {
    "multiply": (0.2, 0.2, 0.15),
    "screen": (0.85, 0.7, 0.8),
    "overlay": (0.7, 0.4, 0.3),
    "darken": (0.25, 0.4, 0.2),
    "lighten": (0.8, 0.5, 0.75),
    "color-dodge": (1.0, 0.8, 0.8),
    "color-burn": (0.2, 0.0, 0.0),
    "hard-light": (0.4, 0.4, 0.6),
    "soft-light": (0.72, 0.4, 0.324),
    "difference": (0.55, 0.1, 0.55),
    "exclusion": (0.65, 0.5, 0.65),
    # Luminosities 0.498 and 0.4525, saturations 0.6 and 0.5. "hue" has the blues of the upper colour, 0 0.3 0.6.
    "hue": (0.255, 0.555, 0.855),
    "saturation": (0.498 + 0.5 - 0.248333, 0.498 + 0.5 / 3 - 0.248333, 0.498 - 0.248333),
    "color": (0.2955, 0.5455, 0.7955),
    "luminosity": (0.7545, 0.3545, 0.1545),
}


@pytest.mark.parametrize("mode", MODES)
def test_of_two_colours(mode: str) -> None:
    mixed = blended_colour((*ABOVE, 0.7), (*BELOW, 1.0), mode)
    assert mixed == pytest.approx((*EXPECTED[mode], 0.7), abs=1e-5)
    # Over nothing, a colour is its own; over half of one, halfway between.
    half = blended_colour((*ABOVE, 1.0), (*BELOW, 0.5), mode)
    assert half[:3] == pytest.approx([(a + b) / 2 for a, b in zip(ABOVE, EXPECTED[mode], strict=True)], abs=1e-5)


BODIES = {
    "opaque": '<circle cx="40" cy="40" r="25" fill="#c66"/><circle cx="60" cy="40" r="25" fill="#5bb" '
    'style="mix-blend-mode:{}"/>',
    "translucent": '<circle cx="40" cy="40" r="25" fill="red" fill-opacity=".5"/><circle cx="60" cy="40" r="25" '
    'fill="#08e" fill-opacity=".6" style="mix-blend-mode:{}"/>',
    "isolated": '<circle cx="40" cy="40" r="25" fill="gold"/><g style="isolation:isolate">'
    '<circle cx="60" cy="40" r="25" fill="#08e" style="mix-blend-mode:{}"/></g>',
    "group": '<circle cx="40" cy="40" r="25" fill="gold"/><g opacity=".7" style="mix-blend-mode:{}">'
    '<circle cx="60" cy="40" r="25" fill="#08e"/><circle cx="60" cy="60" r="18" fill="red"/></g>',
}


@pytest.mark.parametrize("mode", ["multiply", "soft-light", "hue"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_as_resvg(body: str, mode: str) -> None:
    check_as_resvg(body.format(mode), scale=4)


def test_nothing_lies_below_the_file() -> None:
    # The page is white, and yet no part of the picture: multiplied with nothing, a colour is its own.
    assert pixel('<rect width="50" height="80" fill="red" style="mix-blend-mode:difference"/>', 9, 9) == (1, 0, 0)
