"""The cascade, inheritance, and values that are skipped."""

import numpy as np
import pytest

from runtime.errors import UserError
from tests.vector.svg.drawings import read


def test_colours_cascade_and_opacities_multiply():
    drawing = read(
        "<style>/* c */ .a, circle { fill: rgb(0%, 50%, 0%); } #b{fill:#00f} rect.a{fill:lime}</style>"
        '<g fill="red" opacity="0.5"><path class="a" d="M0 0H9V9"/></g>'
        '<rect class="a" id="c" width="5" height="5" fill-opacity="50%" style="opacity:.5"/>'
        '<circle id="b" r="4"/>'
        '<path d="M0 0H9V9" fill="red" style="fill: hsl(240, 100%, 50%)"/>'
        '<g color="#0f0"><path d="M0 0H9V9" fill="currentColor"/></g>'
        '<path d="M0 0H9V9" fill="#f008"/>'
        '<path d="M0 0H9V9" fill="rgba(255 128 0 / 0.25)"/>'
        '<g fill="teal"><path d="M0 0H9V9" style="fill: inherit"/></g>',
    )
    expected = [
        (0, 0.5, 0, 0.5),
        (0, 1, 0, 0.25),
        (0, 0, 1, 1),
        (0, 0, 1, 1),
        (0, 1, 0, 1),
        (1, 0, 0, 0x88 / 255),
        (1, 128 / 255, 0, 0.25),
        (0, 128 / 255, 128 / 255, 1),
    ]
    np.testing.assert_allclose(drawing.colours[0], expected, atol=1e-6)


def colour_of(body: str) -> list[float]:
    return read(body + '<rect width="0" height="0"/>').colours[0, -1].tolist()


RED, GREEN, GOLD, BLACK = [1, 0, 0, 1], [0, 128 / 255, 0, 1], [1, 215 / 255, 0, 1], [0, 0, 0, 1]
RECT = '<rect width="9" height="9" class="a" id="b" fill="red" {}/>'


@pytest.mark.parametrize(
    ("sheet", "expected"),
    [
        (".a{fill:green!important}#b{fill:red}", GREEN),
        (".a{fill:green ! important}#b{fill:red!important}", RED),
        (".a{fill:green}.a{fill:gold}", GOLD),
        ("#b{fill:green}.a{fill:gold}rect{fill:gold}", GREEN),
        (".a,{fill:green}", RED),
        ("@media (prefers-color-scheme: dark){.a{fill:green}}", RED),
        ("@media print{.a{fill:gold}} .a{fill:green}", GREEN),
        ("@media screen{.a{fill:green}}", GREEN),
        ("@keyframes k{from{opacity:0}to{opacity:1}}.a{fill:green}", GREEN),
        ("@charset 'utf-8';@import url(x.css);.a{fill:green}", GREEN),
        ("@font-face{font-family:x;src:url(data:font/woff;base64,AA==)}.a{fill:green}", GREEN),
        (".a:hover{fill:gold}.a{fill:green}", GREEN),
        (".a{fill:green}.a:hover{fill:gold}rect::before{fill:gold}", GREEN),
        ("svg .a{fill:green}", GREEN),
        ("svg>rect{fill:green}", GREEN),
        ("g rect, g>rect{fill:gold}", RED),
        ("rect.a#b{fill:green}", GREEN),
        (".a.c{fill:gold}", RED),
        ("[id=b]{fill:green}", GREEN),
        ("rect[id^='b'][class]{fill:green}", GREEN),
        ("[id='c']{fill:gold}", RED),
        ("style + rect{fill:green}", GREEN),
        (":root{color:green}.a{fill:currentColor}", GREEN),
        ("/* a{ */ .a{/* x */fill:green}/*", GREEN),
        (".a{fill:green;;cursor:url(data:a;base64,x)}", GREEN),
        (".a{fill:notacolour}", RED),
        ("<!-- .a{fill:green} -->", GREEN),
    ],
)
def test_style_sheets(sheet: str, expected: list[float]) -> None:
    assert colour_of(f"<style>{sheet.replace('<', '&lt;')}</style>{RECT.format('')}") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('<g fill="currentColor"><g color="green"><rect width="9" height="9"/></g></g>', GREEN),
        ('<g color="green"><rect width="9" height="9" fill="currentColor" color="currentColor"/></g>', GREEN),
        ('<g fill="red"><rect width="9" height="9" style="fill:initial"/></g>', BLACK),
        ('<g fill="green"><rect width="9" height="9" style="fill:unset"/></g>', GREEN),
        ('<g opacity=".5"><rect width="9" height="9" fill="red" opacity="inherit"/></g>', [1, 0, 0, 0.25]),
        ('<rect width="9" height="9" style="fill:green;cursor:url(data:image/png;base64,AAAA),auto"/>', GREEN),
        ('<rect width="9" height="9" style="fill:green!important" fill="red"/>', GREEN),
        ('<rect width="9" height="9" fill="notacolour"/>', BLACK),
        ('<g fill="green"><rect width="9" height="9" fill="notacolour"/></g>', GREEN),
        ('<rect width="9" height="9" fill="url(#missing) green"/>', GREEN),
        ('<rect width="9" height="9" fill="green" style="fill"/>', GREEN),
        ('<rect width="9" height="9" fill="hsl(.3333333333turn 100% 25.098%)"/>', GREEN),
    ],
)
def test_values_and_inheritance(body: str, expected: list[float]) -> None:
    assert colour_of(body) == pytest.approx(expected, abs=1e-3)


def test_rules_that_are_not_read_are_reported() -> None:
    notes: list[str] = []
    sheet = "rect:nth-child(2){fill:red}a ~ b{fill:red}@media (min-width: 9px){a{fill:red}}@supports (a:b){c{d:e}}"
    read(f"<style>{sheet}</style><circle r='3'/>", report=notes.append)
    assert [
        word for word in ("nth-child", "a ~ b", "min-width", "@supports") if not any(word in note for note in notes)
    ] == []


def test_descendants_are_matched_however_deep() -> None:
    sheet = "<style>.x > g .y rect{fill:green}</style>"
    inner = '<g><g class="y"><g><rect width="9" height="9" fill="red"/></g></g></g>'
    assert colour_of(f'{sheet}<g class="x"><g>{inner}</g></g>') == pytest.approx(GREEN)
    assert colour_of(f'{sheet}<g class="y">{inner}</g>') == pytest.approx(RED)


def test_a_style_sheet_that_asks_for_too_much_is_refused() -> None:
    rules = "".join(f"g .a{k},.a{k}[x]{{fill:red}}" for k in range(600))
    classes = " ".join(f"a{k}" for k in range(600))
    with pytest.raises(UserError, match="too many rules"):
        read(f"<style>{rules}</style><g>" + f'<circle r="1" class="{classes}"/>' * 600 + "</g>")
