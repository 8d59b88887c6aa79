"""Areas of a shaded picture: where they are divided, which are united, and the drawing of their contours."""

import numpy as np
import torch
from scipy import ndimage

from runtime.loop.optimize import optimize
from runtime.vector.paths import Drawing, random_circles
from runtime.vector.raster import rasterize
from runtime.vector.trace.flat.refine import refining_stage, structure_of
from runtime.vector.trace.shaded import EDGE, STEEP, divided, slope_of, trace_shaded, united


def scene() -> Drawing:
    """Three discs, one inside another, and one beside it that the first one touches."""
    drawing = random_circles(3, size=(64, 64), radius=10.0, generator=torch.Generator().manual_seed(0))
    points = drawing.points.reshape(3, -1, 2)
    points = points - points.mean(1, keepdim=True)
    scales, places = torch.tensor([1.8, 0.7, 0.8]), torch.tensor([[24.0, 30.0], [20.0, 27.0], [48.0, 40.0]])
    points = points * scales[:, None, None] + places[:, None]
    colours = torch.tensor([[[0.8, 0.1, 0.1, 1.0], [0.9, 0.8, 0.3, 1.0], [0.1, 0.3, 0.7, 1.0]]])
    return Drawing(
        drawing.layout, points.reshape(1, -1, 2), colours, drawing.widths, torch.ones(1, 3), size=drawing.size
    )


def test_discs_are_three_smooth_paths_of_their_colours() -> None:
    picture = rasterize(scene())[0]
    drawing = trace_shaded(picture, 16, 2e-5)
    assert drawing.layout.num_paths == 3
    assert drawing.background[0].tolist() == [1, 1, 1]
    colours = {tuple((10 * c).round().int().tolist()) for c in drawing.colours[0, :, :3]}
    assert colours == {tuple((10 * c).round().int().tolist()) for c in scene().colours[0, :, :3]}
    # 170 pixels of outlines, at most 0.45 off before they are refined.
    assert (rasterize(drawing)[0] - picture).square().mean() < 5e-4
    refined = optimize([refining_stage(drawing, picture, None, 40, ("points", "colours"))], seed=0).drawing()
    assert (rasterize(refined)[0] - picture).square().mean() < 1e-4
    ends = sum(n for path in drawing.layout.contours for n in path)
    assert ends <= 24 and len(structure_of(drawing).smooth) >= ends // 2


def test_a_gradient_is_divided_into_as_many_areas_as_paths() -> None:
    ramp = torch.linspace(0, 1, 64).expand(3, 64, 64).contiguous()
    errors = []
    for paths in (1, 3, 7):
        drawing = trace_shaded(ramp, paths, 2e-5)
        assert drawing.layout.num_paths <= paths
        errors.append(float((rasterize(drawing)[0] - ramp).square().mean()))
    # n even steps leave 1 / (12 n^2).
    assert errors[0] > errors[1] > errors[2]
    assert errors[1] < 1.5 / (12 * 4**2)


def test_a_picture_of_one_colour_has_no_paths() -> None:
    assert trace_shaded(torch.full((3, 32, 32), 0.4), 8, 2e-5).layout.num_paths == 0


def test_what_an_edge_mixes_is_no_area() -> None:
    """A narrow stripe of the mean of two sides is what antialiasing leaves; a black outline of two pixels stays."""
    for mixed, width, count in ((0.5, 2, 2), (0.0, 6, 3)):
        pixels = np.ones((48, 96, 3))
        pixels[:, 48:] = np.array([0.9, 0.1, 0.1])
        pixels[:, 47 : 47 + width] = mixed * pixels[:, :1] + mixed * pixels[:, -1:]
        blurred = ndimage.uniform_filter1d(pixels, 3, axis=1)
        weights = 1 / (1 + (slope_of(blurred) / STEEP) ** 2)
        labels = united(divided(blurred), blurred, EDGE, 0.0, 100, weights)
        assert len(np.unique(labels)) == count


def test_weights_count_pixels() -> None:
    pixels = np.repeat(np.repeat(np.array([0.2, 0.5]), 10)[None, :, None], 12, 0) * np.ones(3)
    start = np.repeat(np.repeat(np.arange(2), 10)[None], 12, 0)
    weights = np.where(start == 0, 0.5, 0.25).astype(float)
    n, m = 120 * 0.5, 120 * 0.25
    cost = n * m / (n + m) * 3 * 0.3**2
    assert len(np.unique(united(start, pixels, 0.0, cost * 0.999, 2, weights))) == 2
    assert len(np.unique(united(start, pixels, 0.0, cost * 1.001, 1, weights))) == 1


def test_specks_and_weak_edges_are_united_and_strong_ones_stay() -> None:
    pixels = np.ones((60, 60, 3))
    pixels[10:50, 10:30] = 0.5
    pixels[10:50, 30:50] = 0.48
    pixels[4:6, 4:6] = 0.9
    labels = united(divided(pixels), pixels, 0.02, 0.5, 100)
    names = np.unique(labels)
    assert len(names) == 2
    assert labels[30, 20] == labels[30, 40] != labels[2, 2] == labels[5, 5]


def test_the_pair_that_costs_least_is_united_first() -> None:
    # Three stripes: the two on the left differ by 0.1, those on the right by 0.3.
    pixels = np.repeat(np.repeat(np.array([0.2, 0.3, 0.6]), 10)[None, :, None], 12, 0) * np.ones(3)
    start = np.repeat(np.repeat(np.arange(3), 10)[None], 12, 0)
    labels = united(start, pixels, 0.0, 0.0, 2)
    assert labels[0, 0] == labels[0, 10] != labels[0, 20]
    # Uniting n and m pixels costs n m / (n + m) of the squared distance, over channels.
    cost = 120 * 120 / 240 * 3 * 0.1**2
    assert len(np.unique(united(start, pixels, 0.0, cost * 0.999, 3))) == 3
    assert len(np.unique(united(start, pixels, 0.0, cost * 1.001, 3))) == 2
    assert len(np.unique(united(start, pixels, cost / 12 * 0.999, 0.0, 3))) == 3
    assert len(np.unique(united(start, pixels, cost / 12 * 1.001, 0.0, 3))) == 2


def test_noise_is_divided_in_not_too_many_basins_and_edges_stay() -> None:
    generator = np.random.default_rng(0)
    pixels = 0.2 * generator.random((300, 300, 3))
    pixels[:, 150:] += 0.7
    labels = divided(pixels)
    assert 1 <= labels.max() < 4000
    halves = united(labels, pixels, 0.0, 0.0, 2)
    assert (halves[:, :140] == halves[0, 0]).all() and (halves[:, 160:] == halves[0, -1]).all()
    assert halves[0, 0] != halves[0, -1]
