"""What a file draws, what it is refused for, and what is reported."""

import contextlib
import math
import time

import numpy as np
import pytest
import torch

from runtime.errors import UserError
from runtime.vector.paths import Kind, Layout
from runtime.vector.raster import rasterize
from runtime.vector.svg import parse_svg, read_svg
from runtime.vector.svg import read as svg_read
from tests.tolerance import SVG_PICTURE_MEAN
from tests.vector.svg.drawings import HEAD, contour, read, resvg_picture


def test_fill_and_stroke_of_one_element_are_two_paths_in_order():
    drawing = read('<circle cx="9" cy="9" r="5" fill="red" stroke="#fff" stroke-width="2" fill-rule="evenodd"/>')
    assert drawing.layout == Layout((Kind.EVENODD, Kind.STROKE), ((4,), (4,)))
    np.testing.assert_allclose(contour(drawing, 1)[0], contour(drawing, 1)[-1], atol=1e-5)


def test_what_is_hidden_is_not_drawn():
    drawing = read(
        '<defs><path id="p" d="M0 0H9V9"/></defs><g display="none"><path d="M0 0H9V9"/><text>no</text></g>'
        '<path d="M0 0H9V9" visibility="hidden"/><path d="M0 0H9V9" fill="none"/><path d="M0 0H9V9" fill-opacity="0"/>'
        '<rect width="0" height="5"/><circle r="0"/><path d=""/><path d="M5 5"/><path d="M0 0H9V9" fill="#123456"/>'
    )
    assert drawing.layout.num_paths == 1


def test_uses_are_drawn_where_they_stand():
    drawing = read(
        '<defs><g id="g" fill="red"><path d="M0 0H9V9"/></g></defs>'
        '<use href="#g" x="10" y="20"/><use xlink:href="#g" transform="scale(2)" fill="blue"/>'
    )
    np.testing.assert_allclose(contour(drawing, 0)[::3], [(10, 20), (19, 20), (19, 29)])
    np.testing.assert_allclose(contour(drawing, 1)[::3], [(0, 0), (18, 0), (18, 18)])
    assert drawing.colours[0, 1, 0] == 1


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ('<text x="1">hi</text>', "<text> (line 2)"),
        ('<image href="a.png"/>', "<image>"),
        ("<foreignObject/>", "<foreignObject>"),
        ('<pattern id="g"/><circle r="9" stroke="url(#g) red"/>', "stroke by <pattern>"),
        ('<circle r="9" clip-path="circle(4px)"/>', "clip path 'circle(4px)'"),
        ('<clipPath id="c"><text/></clipPath><circle r="9" clip-path="url(#c)"/>', "<text>"),
        (
            '<clipPath id="c"><circle r="5" clip-path="url(#c)"/></clipPath><circle r="9" clip-path="url(#c)"/>',
            "url(#c)",
        ),
        ('<filter id="f"><feFlood/></filter><g filter="url(#f)"/>', "filter 'url(#f)'"),
        ('<circle r="9" style="transform:scale(2);transform-box:stroke-box"/>', "transform-box 'stroke-box'"),
        ('<rect id="m"/><circle r="9" style="mask:url(#m)"/>', "mask 'url(#m)'"),
        ('<mask id="m"><circle r="5" mask="url(#m)"/></mask><circle r="9" mask="url(#m)"/>', "refers to itself"),
        ('<mask id="m"><text>a</text></mask><circle r="9" mask="url(#m)"/>', "<text>"),
        ('<circle r="9" filter="url(#f)"/>', "filter 'url(#f)'"),
        ('<circle r="9" style="mix-blend-mode:plus-lighter"/>', "blend mode 'plus-lighter'"),
        ('<filter id="f"><feTurbulence/></filter><circle r="9" filter="url(#f)"/>', "with <feTurbulence>"),
        ('<filter id="f"><feOffset in="FillPaint"/></filter><circle r="9" filter="url(#f)"/>', "of FillPaint"),
        ('<circle r="9" filter="blur(2px)"/>', "filter 'blur(2px)'"),
        ('<marker id="a"><text>a</text></marker><path d="M0 0H9" marker-end="url(#a)"/>', "<text>"),
        ('<use href="other.svg#a"/>', "<use> of 'other.svg#a'"),
    ],
)
def test_what_is_not_read_is_named(body, named):
    with pytest.raises(UserError, match="holds what is not read") as caught:
        read('\n<circle r="3"/>' + body)
    assert named in str(caught.value)
    assert "drawing.svg" in str(caught.value) and "save again" in str(caught.value)


def test_everything_that_is_not_read_is_named_at_once():
    with pytest.raises(UserError) as caught:
        read('<text/><image/><circle r="4" filter="url(#f)"/>' + "<a><foreignObject/></a>")
    assert all(name in str(caught.value) for name in ("<text>", "<image>", "filter", "<foreignObject>"))


@pytest.mark.parametrize(
    ("body", "note"),
    [
        ('<path d="M0 0H9V9" stroke="red" stroke-linejoin="arcs"/>', "stroke-linejoin 'arcs' is read as miter"),
        ('<path d="M0 0H9" stroke="red" stroke-dasharray="2 -2"/>', "stroke-dasharray '2 -2' is not understood"),
        ('<path d="M0 0H9" stroke="red" stroke-miterlimit="-1"/>', "stroke-miterlimit '-1' is not understood"),
        ('<circle r="5" fill="rgb(0, 50%, 0)"/>', "fill 'rgb(0, 50%, 0)' is not understood"),
        ('<clipPath id="c"><g/><circle r="5"/></clipPath><circle r="9" clip-path="url(#c)"/>', "<g> in a clip path"),
        (
            '<linearGradient id="g"><stop stop-color="red"/><stop/></linearGradient><circle r="3" fill="url(#g)"/>',
            "mean colour",
        ),
        ('<path d="M0 0H9V9 L5 5 junk"/>', "up to its error at 'junk'"),
        ('<circle r="5" fill="reddish"/>', "fill 'reddish' is not understood"),
        ('<circle r="5" fill="#12345"/>', "fill '#12345' is not understood"),
        ('<circle r="5" fill="rgb(1,2)"/>', "fill 'rgb(1,2)' is not understood"),
        ('<circle r="5" opacity="x"/>', "opacity 'x' is not understood"),
        ('<circle r="5" stroke="red" stroke-width="-2"/>', "stroke-width '-2' is not understood"),
        ('<circle r="5"/><use href="#a"/>', "<use> of '#a', which does not exist"),
        ('<circle r="5" stroke="url(#a)"/>', "stroke 'url(#a)' is no colour or gradient"),
        ('<circle r="5" clip-path="url(#a)"/>', "clip path 'url(#a)' does not exist"),
        ('<circle r="5" mask="url(#a)"/>', "mask 'url(#a)' does not exist"),
        ('<circle r="5" shape-rendering="crispEdges"/>', "edges are smooth"),
        ('<circle r="5" paint-order="stroke stroke"/>', "paint-order 'stroke stroke' is not understood"),
        ('<circle r="5"/><linearGradient id="g"/><circle r="5" fill="url(#g) red"/>', "some viewers show 'red'"),
        ('<rect width="5ch" height="5"/>', "half the size of the font"),
        ('<symbol id="s" transform="scale(2)"><circle r="5"/></symbol><use href="#s"/>', "transform of <symbol>"),
        ('<circle r="3"/><path d="M0 0H9" marker-end="url(#a)"/>', "marker 'url(#a)' does not exist"),
        (
            '<filter id="f"><feGaussianBlur stdDeviation="2"/></filter><circle r="5" filter="url(#f)"/>',
            "a blur is read",
        ),
        ('<circle r="5" id="a"/><circle r="5" fill="url(#a)"/>', "fill 'url(#a)' is no colour or gradient"),
        ('<circle r="3"/><script>x</script>', "<script> is left out"),
        ('<style>@import "a.css";</style><circle r="3"/>', "'@import \"a.css\"' is left out"),
        ('<style>circle{fill:red;g{fill:red}}</style><circle r="3"/>', "rules inside of a rule"),
        ('<circle r="3" style="mask-image:linear-gradient(red,blue)"/>', "mask-image 'linear-gradient(red,blue)'"),
        ('<circle r="3" style="all:unset"/>', "all 'unset' is left out"),
        ('<style>svg{border:1px solid red}</style><circle r="3"/>', "border '1px solid red' is left out"),
        ('<circle r="3" style="transform:rotate(5)"/>', "transform 'rotate(5)' has no units"),
        ('<circle r="3" transform-origin="1 left"/>', "transform-origin '1 left' is not understood"),
        ('<circle r="3"/><use/>', "<use> of ''"),
        ('<circle style="r:3px"/>', "lengths in style sheets count"),
        ('<linearGradient id="g"/><circle r="3"/><use href="#g"/>', "which is <linearGradient>, shows nothing"),
        ('<switch><desc>a</desc><circle r="3"/></switch>', "<switch> shows <circle>"),
        ('<circle r="3"/><g xmlns=""/>', "<g> is not in SVG's namespace"),
        (
            '<circle r="3"/><marker id="m" refX="center"><circle r="1"/></marker><path d="M0 0H9" '
            'marker-end="url(#m)"/>',
            "refX 'center' is read",
        ),
        ('<circle r="3"><animate/></circle>', "<animate> is left out"),
    ],
)
def test_what_is_read_nearly_is_reported(body, note):
    notes = []
    read(body, report=notes.append)
    assert len(notes) == 1 and note in notes[0] and "drawing.svg" in notes[0]


def test_editors_leftovers_are_passed_over_in_silence():
    notes = []
    drawing = read(
        '<title>t</title><desc>d</desc><metadata><x xmlns="urn:y"><text/></x></metadata>'
        '<sodipodi:namedview xmlns:sodipodi="urn:s" id="v"/><circle r="3"><title>t</title></circle>',
        report=notes.append,
    )
    assert drawing.layout.num_paths == 1 and notes == []


@pytest.mark.parametrize(
    "body",
    [
        '<path d="M0 0 L 1e999 5 9 9"/>',
        '<path d="M0 0 H5e7"/>',
        '<rect width="x" height="5"/>',
        '<rect width="5furlong" height="5"/>',
        '<rect width="1e999" height="5"/>',
        '<circle r="5" stroke="red" stroke-width="wide"/>',
        '<circle r="5" stroke="red" stroke-width="1e308"/>',
        '<g transform="scale(a)"><circle r="5"/></g>',
        '<g transform="rotate(1,2)"><circle r="5"/></g>',
        '<g transform="scale(2"><circle r="5"/></g>',
        '<g transform="scale(1e400)"><circle r="5"/></g>',
        '<g transform="scale(1e7)"><g transform="scale(1e7)"><circle r="5"/></g></g>',
        '<g transform="nothing(1)"><circle r="5"/></g>',
    ],
)
def test_values_that_cannot_be_read_are_named_with_their_line(body):
    with pytest.raises(UserError, match=r"'drawing.svg' line 2: <\w+>"):
        read("\n" + body)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an SVG"),
        (b"GIF89a", "not an SVG"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not an SVG"),
        (b"<svg", "not an SVG"),
        (b"<html/>", "its root is <html>"),
        (b'<?xml version="1.0" encoding="klingon"?><svg/>', "not an SVG"),
        (f"{HEAD} width='5' height='5'/>".encode(), "draws nothing"),
        (f"{HEAD}><circle r='5'/></svg>".encode(), "size"),
        (f"{HEAD} width='0' height='5'/>".encode(), "size"),
        (f"{HEAD} width='99999' height='5'/>".encode(), "size"),
        (f"{HEAD} width='5' height='5' viewBox='0 0 0 1'/>".encode(), "viewBox"),
        (f"{HEAD} height='64' viewBox='0 0 1e308 64'/>".encode(), "its size"),
        (f"{HEAD} width='5' height='5' viewBox='1e300 0 5 5'/>".encode(), "its size"),
        (f"{HEAD} width='-5' height='5' viewBox='0 0 5 5'/>".encode(), "its size"),
        (f"{HEAD} width='5' height='5' viewBox='0 0 nan 1'/>".encode(), "length 'nan'"),
    ],
)
def test_files_that_are_no_drawings(data, message):
    with pytest.raises(UserError, match=message):
        parse_svg(data, name="drawing.svg")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"missing\.svg"):
        read_svg(tmp_path / "missing.svg")
    with pytest.raises(UserError, match="cannot read"):
        read_svg(tmp_path)


def test_too_many_paths_or_points_are_refused(monkeypatch):
    monkeypatch.setattr(svg_read, "MAX_PATHS", 10)
    read("<circle r='1'/>" * 10)
    with pytest.raises(UserError, match="more than 10 paths"):
        read("<circle r='1'/>" * 12)
    monkeypatch.setattr(svg_read, "MAX_POINTS", 50)
    with pytest.raises(UserError, match="50 points"):
        read("<path d='M0 0" + "h1v1" * 10 + "' fill='none'/><circle r='1'/>")


def test_uses_of_uses_do_not_multiply_without_end(monkeypatch):
    monkeypatch.setattr(svg_read, "MAX_ELEMENTS", 2000)
    levels = "".join(f"<g id='g{k + 1}'>" + 10 * f"<use href='#g{k}'/>" + "</g>" for k in range(9))
    with pytest.raises(UserError, match="simplify"):
        read(f"<defs><path id='g0' d='M0 0H9V9' fill='none'/>{levels}</defs><use href='#g9'/>")


def test_our_reading_of_a_foreign_drawing_looks_like_resvgs():
    text = f"""{HEAD} viewBox="-10 -10 120 100" width="240" height="200">
    <rect x="-10" y="-10" width="120" height="100" fill="rgb(250,250,240)"/>
    <g transform="translate(10 5) rotate(10)"><rect fill="red" opacity=".5" width="30" height="20" rx="4"/></g>
    <circle cx="60" cy="30" r="20" style="fill:yellow;fill-opacity:50%"/>
    <g stroke-linecap="round" stroke-linejoin="round" fill="none">
    <ellipse cx="20" cy="60" rx="15" ry="10" stroke="green" stroke-width="3"/>
    <polyline points="90 0 95 10 100 0 105 10" stroke="#123"/><line y1="85" x2="100" y2="85" stroke="black"/></g>
    <path d="M50 60q10-20 20 0t20 0v20a10 5 30 0 1-20 5L50 80z M60 65h10v10h-10z" fill-rule="evenodd" fill="purple"/>
    <polygon points="0,0 10,0 5,8"/></svg>"""
    ours = rasterize(parse_svg(text.encode(), name="a"))[0]
    assert (ours - resvg_picture(text)).abs().mean() < SVG_PICTURE_MEAN


def test_a_language_is_chosen_as_for_an_english_reader() -> None:
    drawing = read(
        '<circle r="1" systemLanguage="ru"/><circle r="2" systemLanguage="de, en-GB"/><circle r="3" systemLanguage=""/>'
        '<circle r="4" requiredExtensions="http://example.com"/>'
    )
    assert drawing.layout.num_paths == 1 and contour(drawing)[0, 0] == 2


def test_a_switch_draws_its_first_child_that_is_meant() -> None:
    body = '<circle r="1" systemLanguage="ru"/><g><circle r="2"/></g><circle r="3"/>'
    drawing = read(f'<switch><foreignObject requiredExtensions="x"/>{body}</switch>')
    assert [contour(drawing, path)[0, 0] for path in range(drawing.layout.num_paths)] == [2]


def test_paint_order_puts_the_stroke_below() -> None:
    body = '<circle r="9" fill="red" stroke="blue" paint-order="{}"/>'
    kinds = {
        order: read(body.format(order)).layout.kinds for order in ("normal", "stroke", "markers stroke", "fill stroke")
    }
    above, below = (Kind.NONZERO, Kind.STROKE), (Kind.STROKE, Kind.NONZERO)
    assert kinds == {"normal": above, "stroke": below, "markers stroke": below, "fill stroke": above}


def test_symbols_and_nested_files_are_fitted_into_their_viewports() -> None:
    square = '<rect width="8" height="8" fill="green"/>'
    bodies = [
        f'<svg x="10" y="20" width="48" height="24" viewBox="0 0 8 8">{square}</svg>',
        f'<symbol id="s" viewBox="0 0 8 8">{square}</symbol><use href="#s" x="10" y="20" width="48" height="24"/>',
        f'<defs><svg id="s" width="5" height="5" viewBox="0 0 8 8">{square}</svg></defs>'
        '<use href="#s" x="10" y="20" width="48" height="24"/>',
    ]
    for body in bodies:
        drawing = read(body)
        points = contour(drawing)
        np.testing.assert_allclose([points.min(0), points.max(0)], [(22, 20), (46, 44)], atol=1e-5)


def test_a_viewport_cuts_what_stands_out_unless_it_may() -> None:
    body = '<svg x="10" y="10" width="20" height="20" {}><rect width="60" height="10"/></svg>'
    for overflow, right in (
        ("", 30),
        ('overflow="visible"', 70),
        ('style="overflow:auto"', 70),
        ('overflow="hidden"', 30),
    ):
        assert contour(read(body.format(overflow)))[:, 0].max() == pytest.approx(right, abs=1e-4)


def test_percentages_are_of_the_nearest_viewport() -> None:
    drawing = read('<svg width="40" height="20" viewBox="0 0 8 4"><rect width="50%" height="50%"/></svg>')
    np.testing.assert_allclose(contour(drawing).max(0), (20, 10), atol=1e-5)


def test_a_clip_path_that_cuts_nothing_changes_nothing() -> None:
    frame = '<clipPath id="c"><rect width="100" height="80" fill="white"/></clipPath>'
    inside = '<rect width="100" height="80" fill="gold"/><path d="M8 8H56V56H8Z" fill="green"/>'
    drawing = read(f'<g clip-path="url(#c)">{inside}</g><defs>{frame}</defs>')
    assert drawing.layout == read(inside).layout and torch.equal(drawing.points, read(inside).points)
    disc = '<clipPath id="c"><circle cx="50" cy="40" r="40"/></clipPath>'
    strokes = '<g clip-path="url(#c)"><path d="M30 30H60" stroke="red" stroke-width="4"/></g>'
    assert read(disc + strokes).layout.num_paths == 2


def test_a_clip_path_in_user_units_of_a_turned_group() -> None:
    body = (
        '<clipPath id="c"><rect x="8" y="8" width="24" height="48"/></clipPath>'
        '<g transform="translate(30 5) rotate(20)"><circle cx="32" cy="32" r="24" fill="red" clip-path="url(#c)"/></g>'
    )
    text = f'{HEAD} width="100" height="80">{body}</svg>'
    ours = rasterize(parse_svg(text.encode(), name="a"))[0]
    assert (
        ours - resvg_picture(text.replace("<clipPath", '<rect width="100" height="80" fill="#fff"/><clipPath', 1))
    ).abs().mean() < SVG_PICTURE_MEAN


def test_nothing_is_left_of_what_an_empty_clip_path_holds() -> None:
    drawing = read('<clipPath id="c"/><circle r="9" clip-path="url(#c)"/><circle r="3"/>')
    assert drawing.layout.num_paths == 1


def test_what_cannot_be_seen_need_not_be_read() -> None:
    drawing = read(
        '<text visibility="hidden">a</text><text opacity="0">a</text><text fill="none">a</text><image display="none"/>'
        '<linearGradient id="g"><stop/><stop offset="1"/></linearGradient><pattern id="p"/>'
        '<rect width="9" height="9" fill="url(#p)" fill-opacity="0"/><g mask="url(#m)"/><circle r="3"/>'
    )
    assert drawing.layout.num_paths == 1


def test_gradients_are_read_as_their_mean_colour() -> None:
    stops = '<stop offset=".5" stop-color="red"/><stop offset="1" stop-color="blue" stop-opacity="0"/>'
    drawing = read(
        f'<linearGradient id="a">{stops}</linearGradient><radialGradient id="b" xlink:href="#a"/>'
        '<linearGradient id="c"><stop style="stop-color:lime"/></linearGradient><linearGradient id="d"/>'
        '<circle r="9" fill="url(#a)"/><circle r="9" fill="url(#b)" opacity=".5"/><circle r="9" fill="url(#c)"/>'
        '<circle r="9" fill="url(#d)"/>'
    )
    # red up to the middle, then ever less of it: three quarters in all, the rest is nothing
    np.testing.assert_allclose(drawing.colours[0, 0, 3], 0.75)
    np.testing.assert_allclose(drawing.colours[0, :2, 3], [0.75, 0.375])
    np.testing.assert_allclose(drawing.colours[0, 2], (0, 1, 0, 1))
    assert drawing.layout.num_paths == 3


def test_strokes_of_no_length_show_their_caps() -> None:
    dot = '<path d="M32 32h0" stroke="navy" stroke-width="30" fill="none" stroke-linecap="{}"/><circle r="1"/>'
    areas = {}
    for cap in ("butt", "round", "square"):
        picture = rasterize(read(dot.format(cap)))[0, 0, 10:60, 10:60]
        areas[cap] = (1 - picture).sum().item()
    assert areas == pytest.approx({"butt": 0, "round": math.pi * 225, "square": 900}, abs=2)


def test_the_background_of_the_root_covers_the_canvas() -> None:
    size = 'width="40" height="20" viewBox="0 0 9 9"'
    body = f'<svg xmlns="http://www.w3.org/2000/svg" {size} style="{{}}"><circle r="1"/></svg>'
    for style in ("background: #ff0000", "background-color:red", "color:red;background-color:currentColor"):
        drawing = parse_svg(body.format(style).encode(), name="drawing.svg")
        assert drawing.layout.num_paths == 1 and drawing.background[0].tolist() == [1, 0, 0]
    notes: list[str] = []
    parse_svg(body.format("background:url(a.png) red").encode(), name="drawing.svg", report=notes.append)
    assert len(notes) == 1 and "background" in notes[0]


def test_sheets_in_other_languages_are_none() -> None:
    body = '<style type="text/x">.a{fill:red}</style><rect class="a" width="9" height="9" fill="blue"/>'
    assert read(body).colours[0, 0].tolist() == [0, 0, 1, 1]


def test_rem_is_named_where_the_root_has_another_font() -> None:
    notes: list[str] = []
    read('<rect width="1rem" height="9"/>', 'width="9" height="9" font-size="32"', report=notes.append)
    assert len(notes) == 1 and "rem" in notes[0]


def test_deep_groups_are_read() -> None:
    assert read("<g>" * 250 + '<circle r="3"/>' + "</g>" * 250).layout.num_paths == 1


H = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">'
R = '<rect width="5" height="5"/>'
GROWING = {
    "style attribute of comments": lambda n: f'<rect width="5" height="5" style="{"/*" * n}"/>',
    "style sheet of comments": lambda n: f"<style>{'/*' * n}</style>{R}",
    "style sheet of braces": lambda n: f"<style>{'@a{' * n}</style>{R}",
    "style sheet of brackets": lambda n: f"<style>a{{b:{'(' * n}}}</style>{R}",
    "selector of spaces": lambda n: f"<style>a{' ' * n}! {{b:c}}</style>{R}",
    "selector of attributes": lambda n: f"<style>{'[a ' * n}{{b:c}}</style>{R}",
    "colour of spaces": lambda n: f'<rect width="5" height="5" fill="rgb({" " * n}"/>',
    "length of digits": lambda n: f'<rect width="{"1" * n}!" height="5"/>{R}',
    "transform of letters": lambda n: f'<rect width="5" height="5" transform="{"a" * n}"/>{R}',
    "transform of brackets": lambda n: f'<rect width="5" height="5" transform="{"a(" * n}"/>{R}',
    "rules and elements": lambda n: f"<style>{'*{fill:red}' * n}</style>{R * min(n, 1000)}",
    "text between elements": lambda n: ("x" * 30 + "<g/>") * n + R,
    "closes": lambda n: f'<path d="M0 0{"z" * n}"/>{R}',
    "uses of closes": lambda n: (
        f'<defs><path id="p" d="M0 0{"z" * n}"/></defs>{"<use href=" + chr(34) + "#p" + chr(34) + "/>"}' * 5 + R
    ),
    "lines": lambda n: f'<path d="M0 0{"l1 1" * n}"/>',
    "points of digits": lambda n: f'<polygon points="{"1" * n}x"/>{R}',
    "points": lambda n: f'<polygon points="{"1 2 " * n}"/>',
    "classes": lambda n: f'<rect width="5" height="5" class="{"a " * n}"/>',
    "languages": lambda n: f'<rect width="5" height="5" systemLanguage="{"a," * n}en"/>',
    "view box": lambda n: f'<svg viewBox="{" " * n}"/>{R}',
}
"""Bodies that a quadratic reader takes long for, by a length."""


@pytest.mark.parametrize("name", GROWING)
def test_twice_the_file_takes_no_more_than_about_twice_the_time(name: str) -> None:
    def seconds(length: int) -> float:
        data = (H + GROWING[name](length) + "</svg>").encode()
        times = []
        for _ in range(3):
            begin = time.process_time()
            with contextlib.suppress(UserError):
                parse_svg(data, name="x")
            times.append(time.process_time() - begin)
        return min(times)

    # Four times the length: 4 for what is linear, 16 for what is quadratic; what takes next to no time is not judged.
    assert seconds(20_000) < 8 * seconds(5_000) + 0.05


def test_a_shape_that_is_used_twice_has_the_lengths_of_each_place() -> None:
    """In em by the font of the place, in percent by the viewport."""
    body = """
    <defs><rect id="a" width="1em" height="50%"/></defs>
    <use href="#a" font-size="10"/><use href="#a" font-size="20"/>
    <svg x="0" y="0" width="40" height="20"><use href="#a" font-size="10"/></svg>
    """
    drawing = read(body)
    sizes = [np.ptp(contour(drawing, path), axis=0).tolist() for path in range(3)]
    np.testing.assert_allclose(sizes, [[10, 40], [20, 40], [10, 10]], atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "named"),
    [
        ('<path d="M8. 8H20V20Z"/>', True),
        ('<path d="M.5.5H20V20.5.5Z"/>', False),
        ('<circle cx="30." cy="30" r="9"/>', True),
        ('<polygon points="0,0 9.,0 9,9"/>', True),
        ('<rect width="9.5" height="9"/>', False),
    ],
)
def test_numbers_that_end_on_their_dot_are_named(shape: str, named: bool) -> None:
    notes: list[str] = []
    assert read(shape, report=notes.append).layout.num_paths == 1
    assert any("ends on its dot" in note for note in notes) == named
