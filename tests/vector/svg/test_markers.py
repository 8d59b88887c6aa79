"""Markers: directions by hand, and drawings beside resvg's pictures."""

import math

import pytest

from runtime.errors import UserError
from runtime.vector.svg.geometry.path_data import parse_path_data
from runtime.vector.svg.markers import vertices_of
from tests.vector.svg.drawings import check_as_resvg, read


@pytest.mark.parametrize(
    ("data", "vertices"),
    [
        ("M0 0H9V9", [(0, 0, 0), (9, 0, 45), (9, 9, 90)]),
        # A closed one returns to its start, where the way in and the way out count.
        ("M0 0H9V9Z", [(0, 0, -67.5), (9, 0, 45), (9, 9, 157.5), (0, 0, -67.5)]),
        ("M0 0H9V9H0V0Z", [(0, 0, -45), (9, 0, 45), (9, 9, 135), (0, 9, 225), (0, 0, -90), (0, 0, -45)]),
        # An arc has one vertex, however many cubics draw it.
        ("M0 0A5 5 0 0 1 10 0", [(0, 0, -90), (10, 0, 90)]),
        ("M0 0H9M20 0V9", [(0, 0, 0), (9, 0, 0), (20, 0, 90), (20, 9, 90)]),
        ("M0 0C0 0 9 0 9 9", [(0, 0, 0), (9, 9, 90)]),
        ("M0 0H9H9V9", [(0, 0, 0), (9, 0, 0), (9, 0, 45), (9, 9, 90)]),
    ],
)
def test_places_and_directions(data: str, vertices: list) -> None:
    got = vertices_of(parse_path_data(data)[0])
    assert len(got) == len(vertices)
    for (x, y, angle), (right_x, right_y, degrees) in zip(got, vertices, strict=True):
        assert (x, y) == pytest.approx((right_x, right_y))
        assert math.remainder(angle - math.radians(degrees), math.tau) == pytest.approx(0, abs=1e-6)


ARROW = '<path d="M0 0L10 5L0 10Z" fill="red"/>'
MARKERS = {
    "all": '<marker id="a" orient="auto" refX="5" refY="5" viewBox="0 0 10 10" markerWidth="4" markerHeight="4">'
    f'{ARROW}</marker><path d="M15 60L40 20L70 40L85 15" fill="none" stroke="navy" stroke-width="3" '
    'style="marker:url(#a)"/>',
    "no stroke": '<marker id="a" markerUnits="userSpaceOnUse" markerWidth="10" markerHeight="10">'
    f'{ARROW}</marker><path d="M15 60L40 20L70 40" fill="none" marker-mid="url(#a)" marker-start="url(#a)"/>',
    "reverse": '<marker id="a" orient="auto-start-reverse" refX="5" refY="5" markerWidth="12" markerHeight="12">'
    f'{ARROW}</marker><path d="M20 60L80 30" stroke="navy" stroke-width="2" marker-start="url(#a)" '
    'marker-end="url(#a)"/>',
    "angle": '<marker id="a" orient=".125turn" markerWidth="10" markerHeight="8" refX="3">'
    f'{ARROW}</marker><polyline points="20,60 80,30" fill="none" stroke="navy" stroke-width="2" '
    'marker-end="url(#a)"/>',
    "overflow": f'<marker id="a" overflow="visible">{ARROW}</marker>'
    '<line x1="20" y1="20" x2="60" y2="50" stroke="navy" stroke-width="2" marker-end="url(#a)"/>',
    "polygon": f'<marker id="a" markerWidth="5" markerHeight="10">{ARROW}</marker>'
    '<polygon points="20,20 80,30 50,70" fill="gold" stroke="navy" stroke-width="2" marker-mid="url(#a)" '
    'marker-end="url(#a)"/>',
    "order": f'<marker id="a" refX="5" refY="5" markerWidth="10" markerHeight="10">{ARROW}</marker>'
    '<path d="M20 20L80 30L50 70Z" fill="gold" stroke="navy" stroke-width="3" style="marker:url(#a);'
    'paint-order:markers stroke"/>',
    "stretched box": f'<marker id="a" viewBox="2 2 6 8" preserveAspectRatio="none" refX="2" refY="6" markerWidth="12" '
    f'markerHeight="5" orient="auto">{ARROW}</marker><path d="M20 60L80 30" stroke="navy" stroke-width="2" '
    'marker-end="url(#a)"/>',
}


@pytest.mark.parametrize("body", MARKERS.values(), ids=MARKERS)
def test_as_resvg(body: str) -> None:
    check_as_resvg(body)


def test_markers_on_themselves_end() -> None:
    notes: list[str] = []
    marker = '<marker id="a"><path d="M0 0H1" stroke="red" marker-end="url(#a)"/></marker>'
    read(f'{marker}<path d="M9 9H30" stroke="red" marker-end="url(#a)"/>', report=notes.append)
    assert len(notes) == 1 and "on itself is left out" in notes[0]


def test_what_viewers_draw_otherwise_is_named() -> None:
    notes: list[str] = []
    marker = '<marker id="a" orient="auto"><circle r="1"/></marker>'
    read(
        f'{marker}<path d="M9 9H30V30Z" marker-end="url(#a)"/><circle r="9" marker-end="url(#a)"/>', report=notes.append
    )
    assert ["where a path closes" in notes[0], "markers of <circle>" in notes[1]] == [True, True]


def test_markers_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.vector.svg.markers.MAX_MARKERS", 5)
    path = '<marker id="a"><circle r="1"/></marker><path d="M0 0{}" marker-mid="url(#a)"/>'
    read(path.format(6 * "h1"))
    with pytest.raises(UserError, match="more than 5 markers"):
        read(path.format(7 * "h1"))
