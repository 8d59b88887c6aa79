"""Masks: by luminance and alpha, of several levels, in every unit, beside closed forms and resvg's pictures."""

import time

import pytest

from runtime.errors import UserError
from tests.vector.svg.drawings import check_as_resvg, pixel, read

MASKS = {
    "circle": '<mask id="m"><circle cx="50" cy="40" r="30" fill="#fff"/></mask>'
    '<g mask="url(#m)"><rect width="100" height="80" fill="red"/><rect y="40" width="100" height="40"/></g>',
    "hole": '<mask id="m"><rect width="100" height="80" fill="#fff"/><circle cx="50" cy="40" r="20"/></mask>'
    '<rect x="10" y="10" width="80" height="60" fill="red" mask="url(#m)"/>',
    "levels": '<mask id="m"><rect width="50" height="80" fill="#fff"/><rect x="50" width="50" height="80" fill="#888"/>'
    '<circle cx="50" cy="40" r="20" fill="red" fill-opacity=".5"/></mask>'
    '<g mask="url(#m)"><circle cx="40" cy="40" r="30" fill="navy"/><circle cx="65" cy="40" r="30" fill="gold"/></g>',
    "alpha": '<mask id="m" style="mask-type:alpha"><circle cx="50" cy="40" r="30" fill-opacity=".6"/></mask>'
    '<rect width="100" height="80" fill="red" mask="url(#m)"/>',
    "content box": '<mask id="m" maskContentUnits="objectBoundingBox"><circle cx=".5" cy=".5" r=".4" fill="#fff"/>'
    '</mask><rect x="10" y="20" width="80" height="50" fill="red" mask="url(#m)"/>',
    "region": '<mask id="m" maskUnits="userSpaceOnUse" x="20" y="10" width="50" height="40">'
    '<rect width="100" height="80" fill="#fff"/></mask><circle cx="50" cy="40" r="35" mask="url(#m)"/>',
    "usual region": '<mask id="m"><rect width="100" height="80" fill="#fff"/></mask>'
    '<path d="M30 40H70" stroke="red" stroke-width="40" mask="url(#m)"/>',
    "mask of a mask": '<mask id="a"><circle cx="35" cy="40" r="25" fill="#fff"/></mask><mask id="m" mask="url(#a)">'
    '<circle cx="60" cy="40" r="25" fill="#fff"/></mask><rect width="100" height="80" mask="url(#m)"/>',
    "opacity": '<mask id="m"><circle cx="50" cy="40" r="30" fill="#fff" opacity=".5"/></mask>'
    '<rect width="100" height="80" fill="red" mask="url(#m)" opacity=".5"/>',
    "transform": '<mask id="m"><rect x="10" y="10" width="30" height="20" fill="#fff"/></mask>'
    '<rect width="100" height="80" fill="red" mask="url(#m)" transform="rotate(20) scale(1.5)"/>',
    "nothing": '<mask id="m"/><circle cx="20" cy="40" r="9"/><circle cx="50" cy="40" r="30" mask="url(#m)"/>',
}


@pytest.mark.parametrize("body", MASKS.values(), ids=MASKS)
def test_as_resvg(body: str) -> None:
    check_as_resvg(body)


def test_masks_of_masks_do_not_multiply_without_end() -> None:
    shapes = "".join(f'<circle cx="{30 + 9 * x}" cy="40" r="25" fill="#fff" mask="url(#m{{0}})"/>' for x in range(3))
    masks = "".join(f'<mask id="m{n}" mask="url(#m{n + 1})">{shapes.format(n + 1)}</mask>' for n in range(12))
    begun = time.process_time()
    with pytest.raises(UserError, match="mask 'url"):
        read(f'{masks}<circle r="9" mask="url(#m0)"/>')
    assert time.process_time() - begun < 10


def test_levels_are_luminance_times_alpha() -> None:
    # CSS Masking 1, section 6.7.2: 0.7154 of green, at half the alpha, leaves 0.3577 of black on white.
    body = '<mask id="m"><rect width="100" height="80" fill="lime" fill-opacity=".5"/></mask>'
    body += '<rect width="100" height="80" mask="url(#m)"/>'
    assert pixel(body, 50, 40) == pytest.approx((1 - 0.3577,) * 3, abs=1e-4)


def test_luminance_of_light() -> None:
    # sRGB's 188 is half of the light (IEC 61966-2-1), which resvg does not ask for in masks, and browsers do.
    body = '<mask id="m" color-interpolation="linearRGB"><rect width="100" height="80" fill="#bcbcbc"/></mask>'
    body += '<rect width="100" height="80" mask="url(#m)"/>'
    assert pixel(body, 50, 40) == pytest.approx((0.5,) * 3, abs=3e-3)
