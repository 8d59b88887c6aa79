"""What is written is plain, is what resvg draws, and reads back."""

from xml.etree import ElementTree

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import UserError
from runtime.vector.paths import Kind, pixel_grid, random_circles, random_strokes
from runtime.vector.raster import rasterize
from runtime.vector.svg import format_svg, read_svg, write_svg
from runtime.vector.svg.write import _number
from tests.tolerance import SVG_COLOUR, SVG_PICTURE_MEAN, SVG_POINTS
from tests.vector.svg.drawings import every_kind, resvg_picture

SVG = "{http://www.w3.org/2000/svg}"


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


def test_a_stroke_of_negative_width_is_not_written() -> None:
    drawing = random_strokes(1, size=(8, 8), generator=torch.Generator().manual_seed(0))
    drawing.widths[:] = -1
    with pytest.raises(ValueError, match="widths"):
        format_svg(drawing)
    fills = random_circles(1, size=(8, 8), generator=torch.Generator().manual_seed(0))
    fills.widths[:] = -1  # which fills ignore
    assert "<path" in format_svg(fills)
