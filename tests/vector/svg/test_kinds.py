"""Kinds of files that were once read wrong without a word, or refused though common: each with its right colours."""

import gzip

import pytest

from runtime.vector.raster import rasterize
from runtime.vector.svg import parse_svg
from tests.vector.svg.drawings import HEAD

WHITE, RED, GREEN, NAVY, GOLD = (
    (1.0, 1.0, 1.0),
    (1.0, 0.0, 0.0),
    (0.0, 128 / 255, 0.0),
    (0.0, 0.0, 128 / 255),
    (1.0, 215 / 255, 0.0),
)
BOX = '<rect x="10" y="10" width="40" height="40"'
GREEN_BOX = {(30, 30): GREEN, (12, 12): GREEN, (5, 30): WHITE, (55, 30): WHITE}

KINDS: dict[str, tuple[str, dict[tuple[int, int], tuple[float, ...]]]] = {
    "butt caps": ('<path d="M20 30H40" stroke="navy" stroke-width="20"/>', {(30, 38): NAVY, (17, 30): WHITE}),
    "corners of a square": (
        '<path d="M20 20H44V44H20Z" fill="none" stroke="navy" stroke-width="10"/>',
        {(15, 15): NAVY, (48, 48): NAVY, (32, 32): WHITE},
    ),
    "a square closed by hand": (
        '<path d="M20 20H44V44H20V20" fill="none" stroke="navy" stroke-width="10" stroke-linecap="butt" '
        'stroke-linejoin="miter"/>',
        {(16, 16): WHITE, (48, 48): NAVY, (48, 16): NAVY},
    ),
    "a stretched stroke": (
        '<path d="M2 5H10" transform="scale(5 2)" stroke="navy" stroke-width="4"/>',
        {(30, 7): NAVY, (30, 13): NAVY, (30, 4): WHITE, (8, 10): WHITE},
    ),
    "a mitre of a star": (
        '<path d="M10 50L30 10L50 50" fill="none" stroke="navy" stroke-width="6"/>',
        {(30, 7): NAVY, (30, 30): WHITE},
    ),
    "square dots": ('<path d="M30 30h0" stroke="navy" stroke-width="20" stroke-linecap="square"/>', {(21, 21): NAVY}),
    "butt dots": (f'{BOX} fill="gold"/><path d="M30 30h0" stroke="navy" stroke-width="20"/>', {(30, 30): GOLD}),
    "important": (f"<style>.a{{fill:green!important}}#b{{fill:red}}</style>{BOX} class='a' id='b'/>", GREEN_BOX),
    "initial": (f'<g fill="red">{BOX} style="fill:initial"/></g>', {(30, 30): (0.0, 0.0, 0.0)}),
    "keyframes": (
        f"<style>@keyframes k{{from{{opacity:0}}to{{opacity:1}}}}.a{{fill:green}}</style>{BOX} class='a'/>",
        GREEN_BOX,
    ),
    "media": (
        f"<style>@media (prefers-color-scheme: dark){{.a{{fill:red}}}}</style>{BOX} class='a' fill='green'/>",
        GREEN_BOX,
    ),
    "a comma at the end": (f"<style>.a,{{fill:red}}</style>{BOX} class='a' fill='green'/>", GREEN_BOX),
    "two classes": (f"<style>.a.b{{fill:green}}</style>{BOX} class='b a'/>", GREEN_BOX),
    "a semicolon in an address": (f'{BOX} style="cursor:url(data:a/b;base64,A),auto;fill:green"/>', GREEN_BOX),
    "currentColor inherited": (f'<g fill="currentColor" color="red"><g color="green">{BOX}/></g></g>', GREEN_BOX),
    "a frame of Figma": (
        f'<g clip-path="url(#c)"><rect width="60" height="60" fill="white"/>{BOX} fill="green"/></g>'
        '<defs><clipPath id="c"><rect width="60" height="60" fill="white"/></clipPath></defs>',
        GREEN_BOX,
    ),
    "a clip path": (
        f'<clipPath id="c"><rect x="10" y="10" width="20" height="60"/></clipPath>{BOX} fill="green" '
        'clip-path="url(#c)"/>',
        {(20, 30): GREEN, (35, 30): WHITE},
    ),
    "an unknown colour": (f'<g fill="green">{BOX} fill="nocolour"/></g>', GREEN_BOX),
    "a fill without opacity": (
        f'{BOX} fill="green"/><rect width="9" height="9" fill="url(#g)" fill-opacity="0"/>',
        GREEN_BOX,
    ),
    "opacity of a group": (
        '<g opacity=".5"><circle cx="25" cy="30" r="15" fill="red"/><circle cx="40" cy="30" r="15" fill="navy"/></g>',
        {(32, 30): (0.5, 0.5, 0.5 + 64 / 255), (15, 30): (1.0, 0.5, 0.5)},
    ),
    "opacity inherited": (f'<g opacity=".5">{BOX} opacity="inherit" fill="red"/></g>', {(30, 30): (1.0, 0.75, 0.75)}),
    "a marker on nothing but a fill": (
        '<marker id="m" markerWidth="10" markerHeight="10" refX="5" refY="5" markerUnits="userSpaceOnUse">'
        '<circle cx="5" cy="5" r="5" fill="red"/></marker>'
        '<path d="M10 10H50V50H10Z" fill="green" style="marker:url(#m)"/>',
        {(10, 10): RED, (50, 13): RED, (10, 53): RED, (30, 30): GREEN},
    ),
    "a nested svg": (
        '<svg x="10" y="10" width="40" height="40" viewBox="0 0 5 5"><rect width="9" height="9" fill="green"/></svg>',
        GREEN_BOX,
    ),
    "a symbol": (
        '<symbol id="s" viewBox="0 0 5 5"><rect width="5" height="5" fill="green"/></symbol>'
        '<use href="#s" x="10" y="10" width="40" height="40"/>',
        GREEN_BOX,
    ),
    "a switch": (f'<switch><text systemLanguage="ru">a</text><g>{BOX} fill="green"/></g></switch>', GREEN_BOX),
    "a language": (f'{BOX} fill="green"/><rect width="60" height="30" fill="red" systemLanguage="ru"/>', GREEN_BOX),
    "an invisible text": (f'<text y="30" visibility="hidden">a</text>{BOX} fill="green"/>', GREEN_BOX),
    "numbers that end with a dot": ('<path d="M10. 10.L50. 10. 50. 50.L10. 50.Z" fill="green"/>', GREEN_BOX),
    "numbers without a gap": (
        '<g transform="matrix(1 0-0 1 5-5)"><rect x="5" y="15" width="40" height="40" fill="green"/></g>',
        GREEN_BOX,
    ),
    "junk behind a path": ('<path d="M10 10H50V50H10Z X" fill="green"/>', GREEN_BOX),
    "paint order": (
        '<circle cx="30" cy="30" r="15" fill="green" stroke="gold" stroke-width="14" paint-order="stroke"/>',
        {(30, 18): GREEN, (30, 11): GOLD},
    ),
    "a negative radius": (f'{BOX} rx="-5" ry="20" fill="green"/>', {(30, 30): GREEN, (12, 12): WHITE}),
    "a radius without a value": ('<ellipse cx="30" cy="30" rx="20" ry="" fill="green"/>', {(30, 12): GREEN}),
    "smooth after smooth": (
        '<path d="M10 10T20 50S50 50 50 10" fill="none" stroke="navy" stroke-width="4"/>',
        {(15, 30): NAVY, (50, 11): NAVY, (30, 30): WHITE},
    ),
    "a translucent stroke that crosses itself": (
        '<path d="M10 30H50M30 10V50" stroke="red" stroke-width="8" stroke-opacity=".5"/>',
        {(30, 30): (1.0, 0.5, 0.5), (15, 30): (1.0, 0.5, 0.5)},
    ),
    "transform-origin": (
        f'{BOX} transform="rotate(45)" transform-origin="30 30" fill="green"/>',
        {(30, 5): GREEN, (12, 12): WHITE},
    ),
    "translateX": ('<rect y="10" width="40" height="40" style="transform:translateX(10px)" fill="green"/>', GREEN_BOX),
    "turns": (
        f'{BOX} style="transform:rotate(.125turn);transform-origin:30px 30px" fill="green"/>',
        {(30, 5): GREEN, (12, 12): WHITE},
    ),
    "transform-box": (
        f'{BOX} style="transform:rotate(45deg);transform-origin:center;transform-box:fill-box" fill="green"/>',
        {(30, 5): GREEN, (12, 12): WHITE},
    ),
    "an empty fill": (f'<g fill="green">{BOX} fill="" style="fill:"/></g>', GREEN_BOX),
    "a stray brace": (f"<style>b{{}}}} rect{{fill:red}}</style>{BOX} fill='green'/>", GREEN_BOX),
    "rules inside of a rule": (f"<style>rect{{fill:green; g{{fill:red}}}} #a{{fill:red}}</style>{BOX}/>", GREEN_BOX),
    "a sheet for printers": (f"<style media='print'>rect{{fill:red}}</style>{BOX} fill='green'/>", GREEN_BOX),
    "links": (f"<style>a:link>rect{{fill:green}}</style><a href='#b'>{BOX}/></a>", GREEN_BOX),
    "a copy is a tree of its own": (
        f"<style>defs rect{{fill:red}}rect:first-child{{fill:green}}</style><defs><g/>{BOX} id='a'/></defs>"
        "<use href='#a'/>",
        GREEN_BOX,
    ),
    "geometry by a sheet": (
        "<style>rect{x:10px;y:10px;width:40px;height:40px}path{d:path('M0 0H9V9')}</style>"
        '<rect x="30" fill="green"/><path fill="gold"/>',
        {**GREEN_BOX, (7, 2): GOLD},
    ),
    "variables": (f"<g style='--c:green'>{BOX} fill='var(--c, red)' stroke='var(--d,none)'/></g>", GREEN_BOX),
    "turned by properties": (
        f'{BOX} style="rotate:45deg;transform-origin:30px 30px" fill="green"/>'
        '<rect width="4" height="10" style="translate:56px;scale:2" fill="gold"/>',
        {(30, 5): GREEN, (12, 12): WHITE, (60, 15): GOLD},
    ),
    "an origin that is none": (
        f'{BOX} transform="rotate(90) translate(0 -60)" transform-origin="10 left" fill="green"/>',
        GREEN_BOX,
    ),
    "angles without units in a sheet": (f'{BOX} style="transform:rotate(45)" fill="green"/>', GREEN_BOX),
    "stops of the colour around": (
        '<g color="green"><linearGradient id="g"><stop stop-color="currentColor"/></linearGradient></g>'
        f'{BOX} fill="url(#g)"/>',
        GREEN_BOX,
    ),
    "stops that inherit": (
        f'<linearGradient id="g" stop-color="green"><stop stop-color="inherit"/></linearGradient>{BOX} '
        'fill="url(#g)"/>',
        GREEN_BOX,
    ),
    "a gradient along a line": (
        f'{BOX} fill="green"/><linearGradient id="g"><stop/><stop offset="1"/></linearGradient>'
        '<path d="M10 30H50" stroke="url(#g)" stroke-width="9"/>',
        GREEN_BOX,
    ),
    "no extensions": (f'{BOX} fill="green"/><rect width="30" height="30" requiredExtensions=""/>', GREEN_BOX),
    "another namespace": (f'{BOX} fill="green"/><g xmlns=""><rect width="30" height="30"/></g>', GREEN_BOX),
    "an opaque marker of half opacity": (
        '<marker id="m" markerWidth="20" markerHeight="20" refX="10" refY="10" markerUnits="userSpaceOnUse" '
        'opacity=".5"><rect width="20" height="20" fill="red"/><rect width="20" height="20" fill="red"/></marker>'
        '<path d="M20 30H40" marker-start="url(#m)"/>',
        {(15, 30): (1.0, 0.5, 0.5)},
    ),
    "the paint of the marked": (
        '<marker id="m" markerWidth="20" markerHeight="20" markerUnits="userSpaceOnUse">'
        '<rect width="20" height="20" fill="context-stroke"/></marker>'
        '<path d="M20 30H40" stroke="currentColor" color="green" marker-start="url(#m)"/>',
        {(25, 40): GREEN},
    ),
    "the paint of the copy": (
        '<defs><g id="a"><rect x="10" y="10" width="40" height="40" fill="context-fill"/></g></defs>'
        '<use href="#a" fill="green"/>',
        GREEN_BOX,
    ),
    "a point of a polygon": (
        '<polygon points="30,30" stroke="navy" stroke-width="20" stroke-linecap="square"/>',
        {(22, 22): NAVY},
    ),
    "a symbol with a place": (
        '<symbol id="s" x="5" y="5" width="40" height="40"><rect width="50" height="50" fill="green"/></symbol>'
        '<use href="#s" x="5" y="5"/>',
        GREEN_BOX,
    ),
    "a viewport in em": (
        '<g font-size="20"><svg x=".5em" y=".5em" width="2em" height="2em"><rect width="99" height="99" '
        'fill="green"/></svg></g>',
        GREEN_BOX,
    ),
    "words in capitals": (
        '<path d="M30 30H40" stroke="navy" stroke-width="20" style="stroke-linecap:SQUARE"/>',
        {(22, 22): NAVY},
    ),
    "a font in short": (
        '<g style="font:italic 20px/1.5 serif"><rect x=".5em" y=".5em" width="2em" height="2em" fill="green"/></g>',
        GREEN_BOX,
    ),
    "a mask": (
        f'<mask id="m"><circle cx="30" cy="30" r="20" fill="#fff"/></mask>{BOX} fill="green" mask="url(#m)"/>',
        {(30, 12): GREEN, (12, 12): WHITE},
    ),
}


@pytest.mark.parametrize(("body", "colours"), KINDS.values(), ids=KINDS)
def test_colours(body: str, colours: dict[tuple[int, int], tuple[float, ...]]) -> None:
    picture = rasterize(parse_svg(f'{HEAD} width="64" height="60">{body}</svg>'.encode(), name="a.svg"))[0]
    for (x, y), colour in colours.items():
        assert picture[:, y, x].tolist() == pytest.approx(colour, abs=2e-3), (x, y)


@pytest.mark.parametrize(
    "data",
    [
        b'<!DOCTYPE svg [<!ENTITY n "http://www.w3.org/2000/svg">]><svg xmlns="&n;" width="64" height="60">'
        b'<rect x="10" y="10" width="40" height="40" fill="green"/></svg>',
        gzip.compress(f'{HEAD} width="64" height="60">{BOX} fill="green"/></svg>'.encode()),
        f'{HEAD} width="4em" height="60px">{BOX} fill="green"/></svg>'.encode(),
    ],
    ids=["entity", "gzip", "em"],
)
def test_files(data: bytes) -> None:
    picture = rasterize(parse_svg(data, name="a.svg"))[0]
    assert picture.shape[1:] == (60, 64)
    assert picture[:, 30, 30].tolist() == pytest.approx(GREEN, abs=2e-3)


def test_the_root_is_turned_about_its_centre() -> None:
    text = f'{HEAD} viewBox="0 0 6 6" width="60" height="60" transform="scale(.5)"><rect width="6" height="6"/></svg>'
    picture = rasterize(parse_svg(text.encode(), name="a.svg"))[0]
    assert picture[:, 17, 43].tolist() == [0, 0, 0] and picture[:, 13, 30].tolist() == [1, 1, 1]


def test_a_circle_that_touches_the_sides() -> None:
    stripes = '<path fill="gold" d="m0 256.1 252.2-33.3L512 256v122.4H0z"/>'
    stripes += '<path fill="navy" d="M0 133.7 249.7 97 512 133.7v122.4H0z"/>'
    text = f'{HEAD} width="512" height="512"><mask id="a"><circle cx="256" cy="256" r="256" fill="#fff"/></mask>'
    picture = rasterize(parse_svg(f'{text}<g mask="url(#a)">{stripes}</g></svg>'.encode(), name="a.svg"))[0]
    for y, colour in ((180, NAVY), (300, GOLD), (450, WHITE)):
        assert picture[:, y, 256].tolist() == pytest.approx(colour, abs=2e-3)


def test_bars_beside_the_view_box_are_white() -> None:
    text = f'{HEAD} width="64" height="64" viewBox="0 0 64 32"><rect width="64" height="32" fill="gold"/></svg>'
    picture = rasterize(parse_svg(text.encode(), name="a.svg"))[0]
    assert picture[:, 32, 32].tolist() == pytest.approx(GOLD, abs=2e-3) and picture[:, 5, 32].tolist() == [1, 1, 1]
