import math

import pytest
import torch

from benchmarks.drawing_quality.measure import mean_of, quality_of, turning_of
from runtime.vector.paths import Drawing, Kind, Layout
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
