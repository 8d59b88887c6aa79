"""Filters of flat shapes beside resvg's pictures; those that blur, at deviations too small to show."""

import time

import pytest

from runtime.errors import UserError
from tests.vector.svg.drawings import check_as_resvg, pixel, read

SRGB = 'color-interpolation-filters="sRGB"'
HARD = '<feColorMatrix in="SourceAlpha" values="0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 127 0" result="hard"/>'
FILTERS = {
    "offset": '<feOffset dx="10" dy="5"/>',
    "shadow": f'<feFlood flood-opacity="0" result="none"/>{HARD}<feOffset dy="8"/><feComposite in2="hard" '
    'operator="out"/><feColorMatrix values="0 0 0 0 0.2 0 0 0 0 0 0 0 0 0 0.4 0 0 0 0.5 0"/><feBlend in2="none" '
    'result="shadow"/><feBlend in="SourceGraphic" in2="shadow"/>',
    "inner shadow": f'{HARD}<feOffset dx="6" dy="6"/><feComposite in2="hard" operator="arithmetic" k2="-1" k3="1"/>'
    '<feColorMatrix values="0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0.5 0"/><feBlend in2="SourceGraphic"/>',
    "merge": '<feOffset in="SourceAlpha" dx="6" dy="6" result="o"/><feMerge><feMergeNode in="o"/>'
    '<feMergeNode in="SourceGraphic"/></feMerge>',
    "drop shadow": '<feDropShadow dx="6" dy="5" stdDeviation="0" flood-color="navy" flood-opacity=".5"/>',
    "in": '<feFlood flood-color="navy" flood-opacity=".6"/><feComposite in2="SourceAlpha" operator="in"/>',
    "atop": '<feFlood flood-color="navy" x="30" y="20" width="30" height="30"/>'
    '<feComposite in2="SourceGraphic" operator="atop"/>',
    "xor": '<feFlood flood-color="navy" x="30" y="20" width="30" height="30"/>'
    '<feComposite in2="SourceGraphic" operator="xor"/>',
    "hue": '<feColorMatrix type="hueRotate" values="90"/>',
    "saturate": '<feColorMatrix type="saturate" values="0.3"/>',
    "luminance": '<feColorMatrix type="luminanceToAlpha"/>',
    "transfer": '<feComponentTransfer><feFuncR type="linear" slope=".5" intercept=".2"/><feFuncG type="table" '
    'tableValues="1 0 .5"/><feFuncB type="discrete" tableValues="0 .5 1"/><feFuncA type="gamma" amplitude=".8" '
    'exponent="2"/></feComponentTransfer>',
    "multiply": '<feOffset dx="15" result="o"/><feBlend in="SourceGraphic" in2="o" mode="multiply"/>',
    "subregion": '<feFlood flood-color="navy" x="0" y="0" width="40" height="40"/><feOffset dx="20" dy="20"/>',
}
# The usual region lies at whole pixels, to which resvg rounds it.
SHAPES = '<circle cx="45" cy="40" r="20" fill="#e74"/><rect x="45" y="40" width="20" height="20" fill="#4a2"/>'


@pytest.mark.parametrize("space", ["", SRGB], ids=["linear", "sRGB"])
@pytest.mark.parametrize("primitives", FILTERS.values(), ids=FILTERS)
def test_as_resvg(primitives: str, space: str) -> None:
    check_as_resvg(f'<filter id="f" {space}>{primitives}</filter><g filter="url(#f)">{SHAPES}</g>', scale=4)


@pytest.mark.parametrize(
    "attributes",
    [
        'filterUnits="userSpaceOnUse" x="30" y="20" width="30" height="30"',
        'x="0" y="0" width=".5" height="1"',
        'primitiveUnits="objectBoundingBox"',
    ],
)
def test_regions_as_resvg(attributes: str) -> None:
    move = '<feOffset dx=".2" dy="0"/>' if "primitive" in attributes else '<feOffset dx="5"/>'
    check_as_resvg(f'<filter id="f" {attributes}>{move}</filter><g filter="url(#f)">{SHAPES}</g>', scale=4)


def test_a_blur_is_a_sharp_edge_and_said_to_be() -> None:
    notes: list[str] = []
    blur = '<filter id="f"><feOffset in="SourceAlpha" dx="9"/><feGaussianBlur stdDeviation="3"/></filter>'
    drawing = read(f'{blur}<rect x="20" y="20" width="40" height="40" filter="url(#f)"/>', report=notes.append)
    assert drawing.layout.num_paths == 1 and drawing.points[0, :, 0].min() == 29
    assert len(notes) == 1 and "a blur is read as a sharp edge" in notes[0]


def test_colours_are_those_of_light_unless_the_filter_says_otherwise() -> None:
    # Half of the light of white is 188 of 255 in sRGB (IEC 61966-2-1), and half of its channel 128.
    half = '<feComponentTransfer><feFuncR type="linear" slope=".5"/></feComponentTransfer>'
    rect = '<rect width="100" height="80" fill="#fff" filter="url(#f)"/>'
    assert pixel(f'<filter id="f">{half}</filter>{rect}', 50, 40)[0] == pytest.approx(0.7354, abs=1e-3)
    assert pixel(f'<filter id="f" {SRGB}>{half}</filter>{rect}', 50, 40)[0] == pytest.approx(0.5, abs=1e-3)


def test_layers_that_double_are_refused_soon() -> None:
    double = '<feMerge><feMergeNode in="SourceGraphic"/><feMergeNode/></feMerge>'.replace(' in="SourceGraphic"', "")
    begun = time.process_time()
    with pytest.raises(UserError, match="filter 'url"):
        read(f'<filter id="f">{40 * double}</filter><circle r="9" filter="url(#f)"/>')
    assert time.process_time() - begun < 10
