"""Opacity of groups whose shapes overlap, beside resvg's."""

import time

import pytest
from numpy.random import RandomState

from tests.vector.svg.drawings import check_as_resvg, read

GROUPS = {
    "two": '<g opacity=".5"><circle cx="40" cy="40" r="25" fill="red"/><circle cx="60" cy="40" r="25"/></g>',
    "fill and stroke": '<rect x="20" y="20" width="50" height="40" fill="red" stroke="navy" stroke-width="12" '
    'opacity=".5"/>',
    "translucent inside": '<g opacity=".6"><circle cx="40" cy="40" r="25" fill="red" fill-opacity=".5"/>'
    '<circle cx="60" cy="40" r="25" fill="navy" fill-opacity=".5"/><circle cx="50" cy="50" r="20" fill="gold"/></g>',
    "nested": '<g opacity=".7"><rect width="60" height="80" fill="red"/><g opacity=".5">'
    '<circle cx="50" cy="40" r="25"/><path d="M40 10H90V70" fill="gold" stroke="navy" stroke-width="6"/></g></g>',
    "a group alone in a group": '<g opacity=".7"><g opacity=".9"><g opacity=".8">'
    '<circle cx="40" cy="40" r="25" fill="red"/><circle cx="60" cy="40" r="25" fill="navy" fill-opacity=".5"/>'
    '</g></g></g><circle cx="50" cy="60" r="9"/>',
    "hidden": '<g opacity="0"><text>no</text><circle cx="50" cy="40" r="9"/></g><circle cx="50" cy="40" r="30"/>',
    "use": '<defs><g id="g"><circle cx="40" cy="40" r="25" fill="red"/><circle cx="60" cy="40" r="25"/></g></defs>'
    '<use href="#g" opacity=".5"/>',
}


@pytest.mark.parametrize("body", GROUPS.values(), ids=GROUPS)
def test_as_resvg(body: str) -> None:
    check_as_resvg(body)


def test_twenty_translucent_circles_over_one_another() -> None:
    random = RandomState(0)
    circles = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" fill="hsl({h},80%,50%)" fill-opacity=".5"/>'
        for x, y, r, h in random.uniform([30, 25, 12, 0], [70, 55, 25, 360], (20, 4))
    )
    check_as_resvg(f'<g opacity=".6">{circles}</g>', scale=4)


def test_shapes_too_many_to_cut_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.vector.svg.geometry.skia.MAX_PAIRS", 5)
    notes: list[str] = []
    assert read(GROUPS["two"], report=notes.append).layout.num_paths == 2
    assert len(notes) == 1 and "opacity of several shapes" in notes[0]


@pytest.mark.parametrize("depth", [1, 10, 100, 200])
def test_many_shapes_and_deep_groups_take_no_longer_than_files_may(depth: int) -> None:
    shapes = "".join(f'<circle cx="{n % 97}" cy="{n % 71}" r="9"/>' for n in range(4000 // depth))
    seconds = []
    # What else runs on a core slows a process by its own seconds, too, and the first file may load libraries.
    while not seconds or (seconds[-1] >= 2 and len(seconds) < 3):
        begun = time.process_time()
        read('<g opacity=".9">' * depth + shapes + "</g>" * depth)
        seconds.append(time.process_time() - begun)
    assert seconds[-1] < 2


def test_the_shapes_of_a_group_alone_in_a_group_are_cut_once() -> None:
    inner = '<circle cx="40" cy="40" r="25" fill="red"/><circle cx="60" cy="40" r="25" fill-opacity=".5"/>'
    one, many = (read('<g opacity=".9">' * depth + inner + "</g>" * depth) for depth in (1, 9))
    assert many.layout == one.layout
    assert many.colours[..., 3].allclose(one.colours[..., 3] * 0.9**8)
