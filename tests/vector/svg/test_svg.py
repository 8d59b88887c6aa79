import io
from xml.etree import ElementTree

import numpy as np
import pytest
import resvg_py
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from runtime.errors import UserError
from runtime.vector.paths import Drawing, Kind, Layout, pixel_grid, random_circles, random_strokes
from runtime.vector.raster import rasterize
from runtime.vector.svg import format_svg, parse_svg, read_svg, write_svg
from runtime.vector.svg import read as svg_read
from tests.tolerance import SVG_COLOUR, SVG_PICTURE_MEAN, SVG_POINTS

SVG = "{http://www.w3.org/2000/svg}"
HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


def read(body: str, attributes: str = 'width="100" height="80"', **options) -> Drawing:
    return parse_svg(f"{HEAD} {attributes}>{body}</svg>".encode(), name="drawing.svg", **options)


def contour(drawing: Drawing, path: int = 0) -> np.ndarray:
    return drawing.points[0, drawing.layout.path_slice(path)].numpy()


def every_kind() -> Drawing:
    """A drawing of all kinds of paths, with a hole, opacities and a coloured background."""
    generator = torch.Generator().manual_seed(1)
    size = (96, 120)
    fills = random_circles(6, radius=20, size=size, generator=generator)
    strokes = random_strokes(4, segments=3, width=5, size=size, generator=generator)
    squares = pixel_grid(4, size=size, generator=generator).select([0, 5, 15])
    ring = random_circles(2, radius=15, size=size, generator=generator)
    holed = Drawing(
        Layout((Kind.EVENODD,), ((4, 4),)),
        torch.cat([ring.points[:, :12], ring.points[:, :12] * 0.5 + 20], 1),
        ring.colours[:, :1],
        torch.ones(1, 1),
        ring.background,
        size,
    )
    drawing = fills.append(strokes).append(squares).append(holed)
    return Drawing(
        drawing.layout, *(drawing.points, drawing.colours, drawing.widths), torch.rand(1, 3, generator=generator), size
    )


def resvg_picture(text: str, **size: int) -> torch.Tensor:
    png = bytes(resvg_py.svg_to_bytes(svg_string=text, **size))
    rgb = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=np.float32)
    return torch.from_numpy(rgb).permute(2, 0, 1) / 255


def test_what_is_written_reads_back_as_the_same_drawing(tmp_path):
    drawing = every_kind()
    write_svg(tmp_path / "a.svg", drawing, metadata={"prompt": "a ring"})
    back = read_svg(tmp_path / "a.svg")
    assert back.layout == drawing.layout and back.size == drawing.size
    torch.testing.assert_close(back.points, drawing.points, rtol=0, atol=SVG_POINTS)
    torch.testing.assert_close(back.colours, drawing.colours, rtol=0, atol=SVG_COLOUR)
    torch.testing.assert_close(back.background, drawing.background, rtol=0, atol=SVG_COLOUR)
    strokes = [kind == Kind.STROKE for kind in drawing.layout.kinds]
    torch.testing.assert_close(back.widths[0, strokes], drawing.widths[0, strokes], rtol=0, atol=SVG_POINTS)
    assert format_svg(back) == format_svg(read_svg(tmp_path / "a.svg"))


def test_resvg_draws_what_we_draw():
    drawing = every_kind()
    ours, theirs = rasterize(drawing)[0], resvg_picture(format_svg(drawing))
    assert (ours - theirs).abs().mean() < SVG_PICTURE_MEAN
    difference = (ours - theirs).abs().amax(0)
    # away from edges, where a pixel and its neighbours are of one colour, only rounding is left
    around = torch.nn.functional.pad(ours[None], (1, 1, 1, 1), mode="replicate")[0].unfold(1, 3, 1).unfold(2, 3, 1)
    flat = (around.flatten(3).amax(3) - around.flatten(3).amin(3)).amax(0) < 1e-3
    assert flat.float().mean() > 0.2
    assert difference[flat].max() < 2.5 / 255


@pytest.mark.parametrize("zoom", [1.0, 1.37])
def test_squares_of_pixel_art_have_no_seams_at_any_zoom(zoom: float) -> None:
    """Opaque black squares over white paper: where edges were smoothed, each would let the paper through."""
    grid, side = pixel_grid(16, size=(64, 64), generator=torch.Generator()), round(64 * zoom)
    grid.colours[..., :3], grid.colours[..., 3] = 0.0, 1.0
    assert resvg_picture(format_svg(grid), width=side, height=side).max() == 0


def test_squares_between_pixels_keep_their_smooth_edges() -> None:
    """Each of nine squares on 64 pixels has a side at a third of a pixel."""
    assert "crispEdges" not in format_svg(pixel_grid(3, size=(64, 64), generator=torch.Generator()))


def test_a_file_is_plain_svg_with_one_path_a_path():
    drawing = every_kind()
    root = ElementTree.fromstring(format_svg(drawing, metadata={"prompt": "x", "seed": "3"}))
    assert root.tag == f"{SVG}svg"
    assert (root.get("width"), root.get("height"), root.get("viewBox")) == ("120", "96", "0 0 120 96")
    paths = root.findall(f"{SVG}path")
    assert len(paths) == drawing.layout.num_paths
    assert len({path.get("id") for path in paths}) == len(paths)
    assert root.find(f"{SVG}rect").get("id") == "background"
    for path, kind in zip(paths, drawing.layout.kinds, strict=True):
        if kind == Kind.STROKE:
            assert path.get("fill") == "none"
            assert path.get("stroke-linecap") == path.get("stroke-linejoin") == "round"
        assert (path.get("fill-rule") == "evenodd") == (kind == Kind.EVENODD)


def test_metadata_is_escaped_and_kept():
    prompt = 'a <cat> & a "dog"\x00\x1b ]]> é 🐈'
    root = ElementTree.fromstring(format_svg(every_kind(), metadata={"prompt": prompt, 'k"<': "v"}))
    expected = prompt.replace("\x00", "\ufffd").replace("\x1b", "\ufffd")
    assert root.find(f"{SVG}title").text == expected
    entries = {entry.get("name"): entry.text for entry in root.iter("{urn:tgm:drawing}entry")}
    assert entries == {"prompt": expected, 'k"<': "v"}


@given(st.floats(-1e5, 1e5))
def test_numbers_are_short_and_near(value):
    from runtime.vector.svg import _number

    text = _number(value)
    assert abs(float(text) - value) <= 0.5001e-3
    assert "e" not in text and text != "-0" and not text.endswith(".")
    assert len(text.partition(".")[2]) <= 3


def test_only_one_finite_scene_is_written(tmp_path):
    drawing = every_kind()
    two = drawing.map(lambda tensor: tensor.repeat(2, *[1] * (tensor.ndim - 1)))
    with pytest.raises(ValueError, match="B = 1, got 2"):
        format_svg(two)
    drawing.points[0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="points"):
        format_svg(drawing)
    with pytest.raises(UserError, match="cannot write"):
        write_svg(tmp_path / "missing" / "a.svg", random_circles(1, size=(8, 8), generator=torch.Generator()))
    assert list(tmp_path.iterdir()) == []


def test_path_commands_become_cubics():
    drawing = read('<path d="M10 20 L40 20 Q50 20 50 30 h-10 v10 c0 5-5 5-10 5 S20 50 10 40 T 5 30 z"/>')
    assert drawing.layout == Layout((Kind.NONZERO,), ((8,),))
    points = contour(drawing)
    on_curve = [(10, 20), (40, 20), (50, 30), (40, 30), (40, 40), (30, 45), (10, 40), (5, 30)]
    np.testing.assert_allclose(points[::3], on_curve, atol=1e-4)
    np.testing.assert_allclose(points[1:3], [(20, 20), (30, 20)], atol=1e-4)  # a line: thirds
    np.testing.assert_allclose(points[4:6], [(40 + 20 / 3, 20), (50, 20 + 10 / 3)], atol=1e-4)  # a quadratic
    np.testing.assert_allclose(points[16:18], [(25, 45 + 0), (20, 50)], atol=1e-4)  # S mirrors (35, 45) -> (25, 45)


def test_open_and_closed_contours_go_on_as_svg_says():
    drawing = read('<path d="M0 0H10V10z m20 0h5v5h-5" fill="none" stroke="red"/>')
    assert drawing.layout.kinds == (Kind.STROKE, Kind.STROKE)
    np.testing.assert_allclose(contour(drawing, 0)[::3], [(0, 0), (10, 0), (10, 10), (0, 0)], atol=1e-6)
    np.testing.assert_allclose(contour(drawing, 1)[::3], [(20, 0), (25, 0), (25, 5), (20, 5)], atol=1e-6)
    filled = read('<path d="M0 0H10V10z m20 0h5v5h-5"/>')
    assert filled.layout.contours == ((3, 4),)


@pytest.mark.parametrize("shape", ['<circle cx="50" cy="40" r="30"/>', '<ellipse cx="50" cy="40" rx="30" ry="15"/>'])
def test_round_shapes_are_four_quarter_arcs(shape):
    drawing = read(shape)
    assert drawing.layout.contours == ((4,),)
    from runtime.vector.trace.outlines import sample_closed

    along = sample_closed(contour(drawing).astype(float), 50) - [50, 40]
    radius = np.hypot(along[:, 0] / 30, along[:, 1] / (30 if "circle" in shape else 15))
    np.testing.assert_allclose(radius, 1, atol=3e-4)


def test_a_rounded_rectangle_has_lines_and_corners():
    drawing = read('<rect x="10" y="20" width="50" height="30" rx="5"/>')
    assert drawing.layout.contours == ((8,),)
    picture = rasterize(drawing)[0, 0]
    area = (1 - picture).sum().item()
    assert area == pytest.approx(50 * 30 - (4 - np.pi) * 25, abs=0.05)


def test_the_rest_of_the_basic_shapes():
    drawing = read(
        '<polygon points="0,0 10,0 10,10"/><polyline points="0 0 5 5 0 9" fill="none" stroke="#000"/>'
        '<line x1="1" y1="2" x2="50%" y2="50%" stroke="blue" stroke-width="3"/>'
    )
    assert drawing.layout == Layout((Kind.NONZERO, Kind.STROKE, Kind.STROKE), ((3,), (2,), (1,)))
    np.testing.assert_allclose(contour(drawing, 2)[[0, 3]], [(1, 2), (50, 40)])
    assert drawing.widths[0, 2] == 3


def test_transforms_nest_left_to_right():
    drawing = read(
        '<g transform="translate(10,20) scale(2)"><g transform="rotate(90 5 5)">'
        '<path d="M5 5L10 5L10 10z" transform="matrix(1 0 0 1 1 0) skewX(0)"/></g></g>'
    )

    def mapped(x, y):
        x = x + 1
        x, y = 5 - (y - 5), 5 + (x - 5)  # a quarter turn about (5, 5), clockwise on the screen
        return 10 + 2 * x, 20 + 2 * y

    np.testing.assert_allclose(contour(drawing)[::3], [mapped(5, 5), mapped(10, 5), mapped(10, 10)], atol=1e-5)


def test_stroke_widths_scale_with_the_transform():
    drawing = read('<path d="M0 0H9" transform="scale(2 8)" stroke="red" fill="none" stroke-width="3"/>')
    assert drawing.widths[0, 0] == pytest.approx(12)


def test_the_view_box_fits_the_canvas():
    box = 'viewBox="-10 0 40 20" width="100" height="100"'
    middle = read('<path d="M-10 0H30V20z"/>', box)  # xMidYMid meet: 2.5 pixels a unit, centred down
    np.testing.assert_allclose(contour(middle)[::3], [(0, 25), (100, 25), (100, 75)])
    stretched = read('<path d="M-10 0H30V20z"/>', box + ' preserveAspectRatio="none"')
    np.testing.assert_allclose(contour(stretched)[::3], [(0, 0), (100, 0), (100, 100)])
    slice_ = read('<path d="M-10 0H30V20z"/>', box + ' preserveAspectRatio="xMinYMin slice"')
    np.testing.assert_allclose(contour(slice_)[::3], [(0, 0), (200, 0), (200, 100)])


def test_size_rescales_points_and_widths():
    body = '<path d="M0 0H100V80" fill="none" stroke="red" stroke-width="4"/>'
    drawing = read(body, size=(160, 200))
    assert drawing.size == (160, 200)
    np.testing.assert_allclose(contour(drawing)[::3], [(0, 0), (200, 0), (200, 160)])
    assert drawing.widths[0, 0] == pytest.approx(8)


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ('width="2in" height="25.4mm"', (96, 192)),
        ('viewBox="0 0 30 40"', (40, 30)),
        ('width="60" viewBox="0 0 30 40"', (80, 60)),
        ('height="20pt" viewBox="0 0 40 40"', (27, 27)),
        ('width="100%" height="100%" viewBox="0 0 7 9"', (9, 7)),
    ],
)
def test_canvas_sizes(attributes, size):
    assert read('<circle r="5"/>', attributes).size == size


def test_colours_cascade_and_opacities_multiply():
    drawing = read(
        "<style>/* c */ .a, circle { fill: rgb(0, 50%, 0); } #b{fill:#00f} rect.a{fill:lime}</style>"
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
    ("first", "background"),
    [
        ('<rect width="100" height="80" fill="#102030"/>', (16, 32, 48)),
        ('<path d="M-5-5H110V90H-5z" fill="#102030"/>', (16, 32, 48)),
        ('<rect width="100" height="70" fill="#102030"/>', (255, 255, 255)),
        ('<rect width="100" height="80" fill="#102030" opacity=".5"/>', (255, 255, 255)),
    ],
)
def test_an_opaque_first_rectangle_over_everything_is_the_background(first, background):
    drawing = read(first + '<circle r="9"/>')
    np.testing.assert_allclose(drawing.background[0] * 255, background, atol=1e-3)
    assert drawing.layout.num_paths == (1 if background[0] == 16 else 2)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ('<text x="1">hi</text>', "<text> (line 2)"),
        ('<image href="a.png"/>', "<image>"),
        ("<foreignObject/>", "<foreignObject>"),
        ('<svg><circle r="1"/></svg>', "nested <svg>"),
        ('<linearGradient id="g"/><circle r="9" fill="url(#g)"/>', "fill by <linearGradient> 'url(#g)'"),
        ('<pattern id="g"/><circle r="9" stroke="url(#g) red"/>', "stroke by <pattern>"),
        ('<g clip-path="url(#c)"><circle r="9"/></g>', "clip path 'url(#c)'"),
        ('<circle r="9" style="mask:url(#m)"/>', "mask 'url(#m)'"),
        ('<circle r="9" filter="url(#f)"/>', "filter 'url(#f)'"),
        ('<circle r="9" style="mix-blend-mode:multiply"/>', "blend mode 'multiply'"),
        ('<path d="M0 0H9" stroke="red" stroke-dasharray="2 2"/>', "dashes '2 2'"),
        ('<path d="M0 0H9" stroke="red" marker-end="url(#a)"/>', "marker 'url(#a)'"),
        ('<symbol id="s"><circle r="9"/></symbol><use href="#s"/>', "<use> of <symbol> '#s'"),
        ('<use href="other.svg#a"/>', "<use> of 'other.svg#a'"),
        ("<style>g > path {fill: red}</style>", "style selector 'g > path'"),
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
        ('<path d="M0 0H9" stroke="red" fill="none"/>', "round ones"),
        (
            '<path d="M0 0H9" stroke="red" stroke-linecap="round" stroke-linejoin="round" transform="scale(1 3)"/>',
            "mean",
        ),
        ('<g opacity="0.5"><circle r="3"/><circle r="4"/></g>', "opacity of several shapes"),
        ('<circle r="3"/><script>x</script>', "<script> is left out"),
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
        '<path d="M0 0L5"/>',
        '<path d="M0 0 L 1e999 5 9 9"/>',
        '<path d="M0 0 L nan 5"/>',
        '<path d="M0 0 L 5 5 junk"/>',
        '<path d="L5 5"/>',
        '<path d="M0 0 A 1 1 0 0"/>',
        '<path d="M0 0 H5e7"/>',
        '<rect width="x" height="5"/>',
        '<rect width="5furlong" height="5"/>',
        '<rect width="1e999" height="5"/>',
        '<circle r="5" fill="reddish"/>',
        '<circle r="5" fill="#12345"/>',
        '<circle r="5" fill="rgb(1,2)"/>',
        '<circle r="5" opacity="x"/>',
        '<circle r="5" stroke="red" stroke-width="wide"/>',
        '<circle r="5" style="fill"/>',
        '<g transform="scale(a)"><circle r="5"/></g>',
        '<g transform="rotate(1,2)"><circle r="5"/></g>',
        '<g transform="scale(2"><circle r="5"/></g>',
        '<g transform="scale(1e400)"><circle r="5"/></g>',
        '<g transform="scale(1e7)"><g transform="scale(1e7)"><circle r="5"/></g></g>',
        '<g transform="nothing(1)"><circle r="5"/></g>',
        '<polygon points="0 0 1"/>',
        '<polygon points="0 0 a 1"/>',
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


ENTITIES = "".join(f"<!ENTITY {chr(98 + k)} '{10 * f'&{chr(97 + k)};'}'>" for k in range(9))
BOMB = f"<!DOCTYPE svg [<!ENTITY a 'aaaaaaaaaa'>{ENTITIES}]>"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (BOMB + f"{HEAD} width='5' height='5'><text>&j;</text></svg>", "entities"),
        ("<!DOCTYPE svg [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>" + f"{HEAD}><text>&x;</text></svg>", "entities"),
        ("<!DOCTYPE svg [<!ENTITY % x SYSTEM 'http://localhost/'> %x;]>" + f"{HEAD}/>", "entities"),
        (f"{HEAD} width='5' height='5'>" + "<g>" * 200 + "</g>" * 200 + "</svg>", "deeper"),
        (f"{HEAD} width='5' height='5'>" + "<g/>" * 50_001 + "</svg>", "more than 50000 elements"),
        (f"{HEAD} width='5' height='5'><g id='a'><use href='#a'/></g></svg>", "contains itself"),
        (" " * (16 * 2**20 + 1), "at most"),
    ],
)
def test_hostile_files_are_refused(data, message):
    with pytest.raises(UserError, match=message):
        parse_svg(data.encode(), name="drawing.svg")


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


def test_a_plain_doctype_is_no_attack():
    head = '<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://localhost/svg11.dtd">'
    data = head + f"{HEAD} width='5' height='5'><circle r='1'/></svg>"
    assert parse_svg(data.encode(), name="a").layout.num_paths == 1


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="MmLlHhVvCcSsQqTtAaZz0123456789.-+eE, \n", max_size=40))
def test_any_path_data_is_read_or_refused(text):
    try:
        drawing = read(f'<path d="{text}"/><circle r="4"/>')
    except UserError:
        return
    assert drawing.points.isfinite().all()


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
