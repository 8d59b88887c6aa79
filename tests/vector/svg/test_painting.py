"""Strokes of every kind beside resvg's."""

import pytest

from runtime.vector.paths import Kind
from runtime.vector.raster import rasterize
from tests.vector.svg.drawings import check_as_resvg, read

STROKES = {
    "butt": '<path d="M10 40H90V70" stroke="navy" fill="none" stroke-width="14"/>',
    "square": '<path d="M20 40L80 30" stroke="navy" stroke-width="24" stroke-linecap="square"/>',
    "bevel": '<path d="M10 70L50 10L90 70" stroke="navy" fill="none" stroke-width="18" stroke-linejoin="bevel"/>',
    "miter limit": '<path d="M10 70L50 10L90 70L50 30Z" stroke="navy" fill="none" stroke-width="9" '
    'stroke-miterlimit="2"/>',
    "curve": '<path d="M10 70C10 0 90 0 90 70S50 20 50 60" stroke="navy" fill="none" stroke-width="11"/>',
    "stretched": '<ellipse cx="10" cy="10" rx="7" ry="6" transform="matrix(4 .5 1 2 5 5)" stroke="navy" fill="gold"/>',
    "skewed": '<rect x="30" y="20" width="30" height="30" transform="skewX(20)" stroke="navy" stroke-width="8"/>',
    "dashes": '<path d="M5 40C30 -20 70 90 95 30" stroke="navy" fill="none" stroke-width="6" '
    'stroke-dasharray="9 5 2" stroke-dashoffset="3"/>',
    "dots": '<path d="M12 40H80" stroke="navy" stroke-width="8" stroke-dasharray="0,16" stroke-linecap="round"/>',
    "translucent": '<path d="M10 10L90 70M10 70L90 10M50 0V80" stroke="navy" stroke-width="9" stroke-opacity=".5" '
    'stroke-linecap="round"/>',
    "one that turns back": '<path d="M20 40H80H40" stroke="navy" stroke-width="9" fill="none"/>',
}


@pytest.mark.parametrize("body", STROKES.values(), ids=STROKES)
def test_as_resvg(body: str) -> None:
    check_as_resvg(body)


def test_strokes_that_are_not_round_are_outlines_and_the_others_stay_strokes() -> None:
    notes: list[str] = []
    smooth = '<circle r="9" stroke="red"/><path d="M0 0C5 0 5 5 0 5" stroke="red" stroke-linecap="round" fill="none"/>'
    assert read(smooth, report=notes.append).layout.kinds == (Kind.NONZERO, Kind.STROKE, Kind.STROKE)
    corners = '<rect width="9" height="9" stroke="red"/><path d="M0 0C5 0 5 5 0 5" stroke="red" fill="none"/>'
    assert read(corners, report=notes.append).layout.kinds == (Kind.NONZERO, Kind.NONZERO, Kind.NONZERO)
    assert notes == []


@pytest.mark.parametrize(
    ("body", "same"),
    [
        (
            '<path d="M10 40H90" stroke="navy" stroke-width="8" pathLength="10" stroke-dasharray="1"/>',
            '<path d="M10 40H90" stroke="navy" stroke-width="8" stroke-dasharray="8"/>',
        ),
        (
            '<path d="M3 5H20V15" stroke="navy" fill="none" stroke-width="6" transform="scale(4 2)" '
            'vector-effect="non-scaling-stroke"/>',
            '<path d="M12 10H80V30" stroke="navy" fill="none" stroke-width="6"/>',
        ),
    ],
)
def test_strokes_that_are_the_same(body: str, same: str) -> None:
    error = (rasterize(read(body)) - rasterize(read(same))).abs()
    assert error.max() < 2e-3
