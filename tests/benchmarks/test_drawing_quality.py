import dataclasses
import math

import pytest
import torch

from benchmarks.drawing_quality.measure import mean_of, quality_of, turning_of
from benchmarks.drawing_quality.slits import slits_of
from runtime.vector.paths import Drawing, Kind, Layout
from runtime.vector.trace.shaded import trace_shaded
from tests.vector.shapes import disc, polygon


def drawing_of(*shapes: torch.Tensor) -> Drawing:
    layout = Layout((Kind.NONZERO,) * len(shapes), tuple((len(shape) // 3,) for shape in shapes))
    colours = torch.tensor([0.2, 0.4, 0.6, 1.0]).repeat(1, len(shapes), 1)
    points = torch.cat(shapes)[None].float()
    return Drawing(layout, points, colours, torch.ones(1, len(shapes)), torch.ones(1, 3), (100, 100))


def test_turning_is_one_for_what_is_convex_and_more_for_a_star() -> None:
    square = torch.tensor([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
    assert turning_of(square) == pytest.approx(1.0)
    # An L has five turns to the one side and one to the other, a quarter each.
    corner = torch.tensor([(0.0, 0.0), (2.0, 0.0), (2.0, 1.0), (1.0, 1.0), (1.0, 2.0), (0.0, 2.0)])
    assert turning_of(corner) == pytest.approx(6 / 4)
    angles = torch.arange(90) * (2 * math.pi / 90)
    assert turning_of(torch.stack((angles.cos(), angles.sin()), 1)) == pytest.approx(1.0, abs=1e-5)


def test_measures_of_a_drawing_that_is_known() -> None:
    band = polygon([(10, 80), (90, 80), (90, 80.5), (10, 80.5)])
    quality = quality_of(drawing_of(disc(50, 40, 10), disc(50, 40, 30), band), torch.ones(3, 100, 100))
    assert (quality.paths, quality.nodes, quality.colours) == (3, 20, 1)
    assert quality.slivers == pytest.approx(1 / 3)
    assert quality.hidden == pytest.approx(1 / 3)  # the small disc lies under the large one
    assert quality.turning == pytest.approx(1.0, abs=0.02)
    covered = (math.pi * 900 + 40) / 1e4
    assert quality.error == pytest.approx(covered * (0.8**2 + 0.6**2 + 0.4**2) / 3, rel=0.02)
    empty = quality_of(drawing_of(disc(50, 40, 10)).select([]))
    assert empty.paths == 0 and math.isnan(empty.error)
    both = mean_of([quality, quality_of(drawing_of(disc(50, 40, 10)), torch.ones(3, 100, 100))])
    assert (both.paths, both.nodes) == (2.0, 14.0)


def rectangles(left: float, right: float) -> Drawing:
    """Return two rectangles of 60 rows on a canvas of 128, one to x = left, the other from x = right."""
    shapes = [polygon([(a, 30), (b, 30), (b, 90), (a, 90)]) for a, b in ((20, left), (right, 108))]
    return dataclasses.replace(drawing_of(*shapes), size=(128, 128))


@pytest.mark.parametrize(
    ("left", "right", "area"),
    [
        (70.0, 60.0, 0.0),  # one reaches beneath the other
        (64.0, 64.0, 0.0),  # a seam on the edge of a pixel
        (64.125, 64.125, 59.0 / 16),  # one through the middle of a pixel of 1/4, of which each covers half
        (64.0, 65.0, 59.0),  # half a pixel at either end counts as the edge of the wide paper
        (64.0, 66.0, 118.0),
        (64.0, 68.0, 0.0),  # wide enough to be meant
    ],
)
def test_slits_between_two_rectangles(left: float, right: float, area: float) -> None:
    assert slits_of(rectangles(left, right)) == pytest.approx(area, rel=0.02, abs=1e-9)


def test_paper_around_a_disc_is_no_slit_and_two_areas_are_traced_without_one() -> None:
    assert slits_of(drawing_of(disc(50, 40, 30))) == 0.0
    picture = torch.ones(3, 128, 128)
    picture[:, 30:90, 20:64] = torch.tensor([0.8, 0.2, 0.1])[:, None, None]
    picture[:, 30:90, 64:108] = torch.tensor([0.1, 0.3, 0.8])[:, None, None]
    traced = trace_shaded(picture, 8, 2e-5)
    assert traced.layout.num_paths == 2
    # Beside the seam the two contours' corners are a little round.
    assert slits_of(traced) < 0.1
