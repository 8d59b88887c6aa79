"""Outlines of strokes beside closed forms, and areas combined beside windings at many points."""

import math

import numpy as np
import pytest
from numpy.random import RandomState

from runtime.vector.paths import Kind
from runtime.vector.raster import rasterize
from runtime.vector.svg.geometry import skia
from runtime.vector.svg.geometry.contours import Contour, Paint, assemble
from runtime.vector.svg.geometry.path_data import parse_path_data
from runtime.vector.svg.geometry.skia import Area, Combiner, Pen, stroke_outline

EYE = np.eye(2)


def coverage(contours: list[Contour], kind: Kind = Kind.NONZERO) -> np.ndarray:
    if not contours:
        return np.zeros((64, 64))
    drawing = assemble([Paint(kind, contours, (0.0, 0.0, 0.0, 1.0))], (1.0, 1.0, 1.0), (64, 64))
    return 1 - rasterize(drawing)[0, 0].numpy()


def stroked_area(data: str, **pen: object) -> float:
    outline = stroke_outline(parse_path_data(data)[0], Pen(**{"linear": EYE, **pen}))
    return float(coverage(outline).sum())


@pytest.mark.parametrize(
    ("data", "pen", "area"),
    [
        ("M16 32H48", {"width": 24.0, "cap": "butt"}, 32 * 24),
        ("M16 32H48", {"width": 24.0, "cap": "square"}, 56 * 24),
        ("M16 32H48", {"width": 24.0}, 32 * 24 + math.pi * 144),
        ("M32 32h0", {"width": 30.0, "cap": "square"}, 900),
        ("M32 32h0", {"width": 30.0}, math.pi * 225),
        ("M32 32h0", {"width": 30.0, "cap": "butt"}, 0),
        ("M16 16H48V48H16Z", {"width": 12.0, "join": "miter"}, 44**2 - 20**2),
        ("M16 16H48V48H16Z", {"width": 12.0, "join": "bevel"}, 44**2 - 20**2 - 4 * 18),
        ("M16 16H48V48H16Z", {"width": 12.0}, 44**2 - 20**2 - (4 - math.pi) * 36),
        # A right angle's miter is 1.41 widths long.
        ("M16 16H48V48", {"width": 8.0, "cap": "butt", "join": "miter", "limit": 1.4}, 64 * 8 - 16 + 8),
        ("M16 16H48V48", {"width": 8.0, "cap": "butt", "join": "miter", "limit": 1.5}, 64 * 8),
        ("M8 32H56", {"width": 4.0, "cap": "butt", "dashes": (4.0, 4.0)}, 6 * 16),
        ("M8 32H56", {"width": 4.0, "cap": "butt", "dashes": (4.0, 4.0), "offset": 2.0}, 6 * 16),
        ("M10 32H54", {"width": 4.0, "dashes": (0.0, 8.0)}, 6 * math.pi * 4),
        # Strokes that cross, in either direction, cover what they cross once.
        ("M8 8L56 56M56 8L8 56", {"width": 12.0}, 2 * (48 * math.sqrt(2) * 12 + math.pi * 36) - 144),
        ("M56 56L8 8M56 8L8 56", {"width": 12.0}, 2 * (48 * math.sqrt(2) * 12 + math.pi * 36) - 144),
        ("M8 32H56M32 32h0", {"width": 6.0, "cap": "square"}, 54 * 6),
        ("M8 32H40", {"width": 6.0, "cap": "butt", "linear": np.diag([2.0, 0.5])}, 32 * 3),
        ("M32 8V40", {"width": 6.0, "cap": "square", "linear": np.diag([2.0, 0.5])}, (32 + 3) * 12),
        ("M32 32h0", {"width": 6.0, "linear": np.array([[2.0, 1.0], [0.0, 0.5]])}, math.pi * 9),
    ],
)
def test_areas_of_strokes(data: str, pen: dict, area: float) -> None:
    assert stroked_area(data, **pen) == pytest.approx(area, rel=2e-4, abs=1e-6)


def test_a_circle_of_any_width() -> None:
    circle = "M44 32A12 12 0 1 1 20 32A12 12 0 1 1 44 32Z"
    for width in (1.0, 8.0, 24.0):
        outer, inner = 12 + width / 2, 12 - width / 2
        assert stroked_area(circle, width=width) == pytest.approx(math.pi * (outer**2 - inner**2), rel=5e-4)


def test_pens_without_an_area_and_dashes_without_end() -> None:
    line = parse_path_data("M0 0H9")[0]
    assert stroke_outline(line, Pen(width=0.0, linear=EYE)) == []
    assert stroke_outline(line, Pen(width=3.0, linear=np.diag([1.0, 0.0]))) == []
    with pytest.raises(ValueError, match="dashes"):
        stroke_outline(line, Pen(width=1.0, linear=EYE, dashes=(1e-4, 1e-4)))


def blob(random: RandomState, segments: int = 4) -> Area:
    points = random.uniform(4, 60, (3 * segments + 1, 2))
    points[-1] = points[0]
    return Area([Contour(points, True)], Kind(int(random.randint(2))))


def test_combined_areas_cover_what_logic_says() -> None:
    random = RandomState(0)
    combiner = Combiner()
    for _ in range(25):
        one, two = blob(random), blob(random)
        first, second = coverage(one.contours, one.kind), coverage(two.contours, two.kind)
        # Pixels that neither outline passes through are all or nothing in both.
        whole = ((first < 1e-4) | (first > 1 - 1e-4)) & ((second < 1e-4) | (second > 1 - 1e-4))
        for result, expected in (
            (combiner.intersect(one, two), first * second),
            (combiner.subtract(one, two), first * (1 - second)),
            (combiner.unite([one, two]), 1 - (1 - first) * (1 - second)),
        ):
            covered = coverage(result.contours, result.kind) if result else np.zeros((64, 64))
            assert np.abs(covered - expected)[whole].max() < 0.01


def test_areas_that_are_apart_stay_as_they_are() -> None:
    combiner = Combiner()
    one, two = (Area(parse_path_data(data)[0], Kind.NONZERO) for data in ("M0 0H9V9H0Z", "M20 0H29V9H20Z"))
    assert combiner.intersect(one, two) is None and combiner.subtract(one, two) is one
    assert combiner.left == skia.MAX_PAIRS


def test_work_has_a_limit_and_what_skia_gets_wrong_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    import pathops

    random = RandomState(1)
    with pytest.raises(ValueError, match="too many"):
        Combiner().intersect(blob(random, 400), blob(random, 400))
    one, two = (Area(parse_path_data(data)[0], Kind.NONZERO) for data in ("M0 0H30V30H0Z", "M9 9H29V29H9Z"))
    monkeypatch.setattr(pathops, "op", lambda *_, **__: pathops.Path())
    with pytest.raises(ValueError, match="Skia"):
        Combiner().intersect(one, two)
