"""Coverage and compositing against closed forms and brute force."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from runtime.errors import UserError
from runtime.vector.paths import Drawing, Kind, Layout, random_circles, random_strokes
from runtime.vector.raster import rasterize
from tests.tolerance import FLOAT32_ROUNDING, RASTER_AREA, RASTER_PIXEL, RASTER_STROKE_PIXEL
from tests.vector.raster.stages import coverage
from tests.vector.shapes import (
    disc,
    disc_coverage,
    drawing_of,
    figure_eight,
    pentagram,
    polygon,
    polyline,
    random_blob,
    sample_curve,
    scan_coverage,
)

SIZE = (20, 24)
SHAPES = {
    "disc": [disc(11.3, 9.6, 7.2)],
    "clockwise disc": [disc(11.3, 9.6, 7.2).flip(0).roll(1, 0)],
    "tiny disc": [disc(11.3, 9.6, 0.2)],
    "disc over the corner": [disc(0.7, -0.4, 5.0)],
    "disc around the canvas": [disc(12, 10, 40.0)],
    "ring": [disc(11, 10, 8.0), disc(11.2, 9.8, 4.0).flip(0).roll(1, 0)],
    "two turns": [disc(11, 10, 8.0), disc(12.5, 9.8, 4.0)],
    "touching discs": [disc(6.1, 9.6, 4.0), disc(14.3, 10.2, 4.0)],
    "pentagram": [pentagram(12, 10, 9.0)],
    "figure eight": [figure_eight(12, 10, 5.0)],
    "needle": [polygon([(2.2, 3.1), (20.4, 9.7), (2.3, 3.3)])],
    "flat": [polygon([(2, 3.5), (20, 3.5), (9, 3.5)])],
    "there and back": [polygon([(2, 3.5), (20, 9.5)])],
    "one point": [polygon([(4, 5), (4, 5), (4, 5)])],
    "comb": [polygon([(1, 1), (1.3, 18), (1.5, 2), (1.8, 18), (2.0, 1.5), (2.3, 18), (2.6, 1)])],
    "grid corners": [polygon([(3, 2), (9, 2), (9, 8), (6, 5), (3, 8)])],
}


@pytest.mark.parametrize("kind", [Kind.NONZERO, Kind.EVENODD])
@pytest.mark.parametrize("name", SHAPES)
def test_fill_by_brute_force(name, kind):
    loops = SHAPES[name]
    mine = coverage(drawing_of([(kind, loops)], SIZE, dtype=torch.float32))[0, 0].numpy()
    theirs = scan_coverage([sample_curve(loop.numpy(), closed=True, per_segment=200) for loop in loops], kind, SIZE)
    assert np.isfinite(mine).all()
    assert np.abs(mine - theirs).max() < RASTER_PIXEL
    assert mine.min() >= -FLOAT32_ROUNDING
    assert mine.max() <= 1 + FLOAT32_ROUNDING


@pytest.mark.parametrize("kind", [Kind.NONZERO, Kind.EVENODD])
@pytest.mark.parametrize("seed", range(6))
def test_random_fill_by_brute_force(seed, kind):
    loops = [random_blob(torch.Generator().manual_seed(seed), SIZE, segments) for segments in (5, 2)]
    mine = coverage(drawing_of([(kind, loops)], SIZE, dtype=torch.float32))[0, 0].numpy()
    theirs = scan_coverage([sample_curve(loop.numpy(), closed=True, per_segment=200) for loop in loops], kind, SIZE)
    assert np.abs(mine - theirs).max() < RASTER_PIXEL


def test_polygons_are_exact():
    """Straight segments need no flattening: what is left is float32."""
    corners = [(2.25, 3.5), (17.75, 1.125), (20.5, 15.0), (9.0, 18.25)]
    mine = coverage(drawing_of([(Kind.NONZERO, [polygon(corners)])], SIZE, dtype=torch.float32))[0, 0].double()
    x, y = torch.tensor(corners, dtype=torch.float64).T
    area = 0.5 * (x * y.roll(-1) - y * x.roll(-1)).sum()
    assert abs(mine.sum() - area) < FLOAT32_ROUNDING * area
    theirs = scan_coverage([np.array(corners)], Kind.NONZERO, SIZE, lines=1024)
    assert np.abs(mine.numpy() - theirs).max() < 2e-4


@pytest.mark.parametrize("radius", [0.3, 2.0, 9.0, 60.0])
def test_area_of_a_disc(radius):
    size = (int(2 * radius) + 4,) * 2
    mine = coverage(drawing_of([(Kind.NONZERO, [disc(radius + 1.7, radius + 1.3, radius)])], size))
    assert abs(mine.sum() - math.pi * radius**2) < RASTER_AREA * 2 * math.pi * radius


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.5, 0.999])
def test_rectangle_at_sub_pixel_offsets(shift):
    box = torch.tensor([(2.0 + shift, 3.0 + shift / 2), (7.5 + shift, 9.25)])
    mine = coverage(drawing_of([(Kind.RECTANGLE, [box])], (12, 12)))[0, 0]
    cells = torch.arange(12.0)
    wide = (torch.minimum(box[1, 0], cells + 1) - torch.maximum(box[0, 0], cells)).clamp(0, 1)
    tall = (torch.minimum(box[1, 1], cells + 1) - torch.maximum(box[0, 1], cells)).clamp(0, 1)
    assert torch.allclose(mine, (tall[:, None] * wide).double(), atol=1e-6)
    swapped = coverage(drawing_of([(Kind.RECTANGLE, [box.flip(0)])], (12, 12)))[0, 0]
    assert torch.allclose(swapped, mine, atol=1e-12), "corners in any order"


def test_known_areas_of_crossing_paths():
    star, eight = pentagram(30, 30, 20.0), figure_eight(30, 30, 10.0)
    areas = {
        (name, kind): coverage(drawing_of([(kind, [shape])], (60, 60))).sum().item()
        for name, shape in (("star", star), ("eight", eight))
        for kind in (Kind.NONZERO, Kind.EVENODD)
    }
    tip = math.pi / 5
    outer = 5 * 20**2 * math.sin(tip) * math.sin(tip / 2) / math.sin(math.pi - 1.5 * tip)
    inner_radius = 20 * math.cos(2 * tip) / math.cos(tip)
    inner = 2.5 * inner_radius**2 * math.sin(2 * tip)
    assert areas["star", Kind.NONZERO] == pytest.approx(outer, rel=1e-6)
    assert areas["star", Kind.EVENODD] == pytest.approx(outer - inner, rel=1e-6)
    lobe = 3 / 20 * (2 * 10) * (4 * 10)
    assert areas["eight", Kind.NONZERO] == pytest.approx(2 * lobe, abs=RASTER_AREA * 160)
    assert areas["eight", Kind.EVENODD] == pytest.approx(2 * lobe, abs=RASTER_AREA * 160)


STROKES = {
    "line": polyline([(3.2, 4.1), (19.6, 15.3)]),
    "level line": polyline([(4.0, 8.0), (18.0, 8.0)]),
    "corner": polyline([(3.0, 15.0), (12.0, 4.0), (20.0, 16.0)]),
    "hairpin": polyline([(3.0, 9.0), (20.0, 9.0), (4.0, 9.5)]),
    "there and back": polyline([(3.0, 9.0), (18.0, 12.0), (3.0, 9.0)]),
    "dot": polyline([(9.3, 9.8), (9.3, 9.8)]),
    "bend": torch.tensor([(2.0, 3.0), (26.0, 2.0), (-3.0, 18.0), (21.0, 17.0)], dtype=torch.float64),
    "loop": torch.tensor([(4.0, 16.0), (34.0, -6.0), (-10.0, -6.0), (20.0, 16.0)], dtype=torch.float64),
    "cusp": torch.tensor([(4.0, 15.0), (20.0, 3.0), (4.0, 3.0), (20.0, 15.0)], dtype=torch.float64),
    "off the canvas": polyline([(-10.0, -4.0), (30.0, 26.0)]),
}


@pytest.mark.parametrize("width", [0.4, 3.0, 7.0])
@pytest.mark.parametrize("name", STROKES)
def test_stroke_by_brute_force(name, width):
    mine = coverage(drawing_of([(Kind.STROKE, [STROKES[name]])], SIZE, width=width, dtype=torch.float32))[0, 0].numpy()
    curve = sample_curve(STROKES[name].numpy(), closed=False, per_segment=800)
    theirs = disc_coverage(curve, width / 2, SIZE)
    assert np.abs(mine - theirs).max() < RASTER_STROKE_PIXEL


def test_area_of_a_stroke():
    mine = coverage(drawing_of([(Kind.STROKE, [polyline([(10, 12), (40, 22)])])], (40, 50), width=6.0)).sum()
    assert mine.item() == pytest.approx(6 * math.hypot(30, 10) + math.pi * 9, rel=1e-3)
    turn = disc(30, 30, 20.0, segments=4)
    half = torch.cat((turn[:6], turn[6:7]))
    mine = coverage(drawing_of([(Kind.STROKE, [half])], (60, 60), width=8.0)).sum()
    assert mine.item() == pytest.approx(math.pi / 2 * (24**2 - 16**2) + math.pi * 16, rel=1e-3)


def test_compositing_in_order_over_the_background():
    left, right = torch.tensor([(0.0, 0.0), (6.0, 4.0)]), torch.tensor([(2.0, 0.0), (8.0, 4.0)])
    drawing = drawing_of([(Kind.RECTANGLE, [left]), (Kind.RECTANGLE, [right])], (4, 8))
    colours = torch.tensor([[(1.0, 0.2, 0.0, 0.5), (0.0, 0.6, 1.0, 0.25)]], dtype=torch.float64)
    drawing = dataclasses.replace(drawing, colours=colours, background=torch.tensor([(0.4, 0.4, 0.8)]).double())
    row = rasterize(drawing)[0, :, 1].T
    below = 0.5 * torch.tensor((1.0, 0.2, 0.0)) + 0.5 * torch.tensor((0.4, 0.4, 0.8))
    above = torch.tensor((0.0, 0.6, 1.0))
    assert torch.allclose(row[0], below.double(), atol=1e-7)
    assert torch.allclose(row[4], (0.25 * above + 0.75 * below).double(), atol=1e-7)
    assert torch.allclose(row[7], (0.25 * above + 0.75 * torch.tensor((0.4, 0.4, 0.8))).double(), atol=1e-7)


def test_everything_off_the_canvas_leaves_the_background():
    far = [disc(x, y, 3.0) for x, y in ((-30, 5), (60, 5), (5, -30), (5, 60), (1e9, 1e9), (-1e9, 3))]
    drawing = drawing_of([(Kind.NONZERO, [loop]) for loop in far], SIZE)
    assert rasterize(drawing).abs().max() == 0


def test_huge_coordinates():
    """A square of a million pixels around the canvas covers it; half of one covers half of it."""
    whole = polygon([(-1e6, -1e6), (1e6, -1e6), (1e6, 1e6), (-1e6, 1e6)])
    half = polygon([(10.25, -1e6), (1e6, -1e6), (1e6, 1e6), (10.25, 1e6)])
    cover = coverage(drawing_of([(Kind.NONZERO, [whole]), (Kind.NONZERO, [half])], SIZE))[0]
    assert torch.allclose(cover[0], torch.ones_like(cover[0]))
    assert torch.allclose(cover[1].sum(), torch.tensor(20 * 13.75).double())


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (65, 3), (129, 33)])
def test_odd_sizes(size):
    radius = 0.45 * max(size)
    loops = [disc(size[1] / 2, size[0] / 2, radius)]
    mine = coverage(drawing_of([(Kind.NONZERO, loops)], size, dtype=torch.float32))[0, 0].numpy()
    theirs = scan_coverage([sample_curve(loops[0].numpy(), closed=True, per_segment=200)], Kind.NONZERO, size, lines=32)
    assert np.abs(mine - theirs).max() < 2 * RASTER_PIXEL


def test_size_scales_the_drawing():
    generator = torch.Generator().manual_seed(3)
    drawing = random_circles(5, radius=8.0, size=(32, 40), generator=generator)
    drawing = drawing.append(random_strokes(2, width=3, size=(32, 40), generator=generator))
    large = drawing.resized((64, 80))
    assert torch.allclose(rasterize(drawing, (64, 80)), rasterize(large), atol=FLOAT32_ROUNDING)
    pooled = torch.nn.functional.avg_pool2d(rasterize(large.select(range(1))), 2)
    assert torch.allclose(rasterize(large.select(range(1)), (32, 40)), pooled, atol=RASTER_PIXEL)


def test_stroke_in_an_uneven_picture_is_an_ellipse():
    dot = drawing_of([(Kind.STROKE, [polyline([(8, 8), (8, 8)])])], (16, 16), width=6.0)
    assert coverage(dot, (16, 32)).sum().item() == pytest.approx(math.pi * 3 * 6, rel=2e-3)


def test_batches_equal_singles():
    generator = torch.Generator().manual_seed(4)
    batch = random_circles(4, radius=9.0, size=(70, 50), generator=generator, batch=3)
    batch = batch.append(random_strokes(2, width=3, size=(70, 50), generator=generator, batch=3))
    together = rasterize(batch)
    for index in range(3):
        assert torch.equal(together[index : index + 1], rasterize(batch.scene(index)))


def test_errors_name_what_was_wrong():
    drawing = drawing_of([(Kind.NONZERO, [disc(5, 5, 2)])], (8, 8))
    with pytest.raises(UserError, match=r"picture size: expected .* from 1 to 16384, got \(0, 8\)"):
        rasterize(drawing, (0, 8))
    with pytest.raises(UserError, match="16384"):
        rasterize(drawing, (8, 20000))
    with pytest.raises(UserError, match="expected one of numba, torch, diffvg, cuda, got 'opengl'"):
        rasterize(drawing, backend="opengl")


def test_no_paths():
    layout = Layout((), ())
    empty = Drawing(layout, torch.zeros(2, 0, 2), torch.zeros(2, 0, 4), torch.zeros(2, 0), torch.rand(2, 3), (3, 4))
    assert torch.equal(rasterize(empty), empty.background[..., None, None].expand(2, 3, 3, 4))
