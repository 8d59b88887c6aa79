"""Clip paths of every kind, beside resvg's."""

import pytest

from runtime.errors import UserError
from tests.vector.svg.drawings import check_as_resvg, read

CLIPS = {
    "circle": '<clipPath id="c"><circle cx="50" cy="40" r="30"/></clipPath>'
    '<path d="M0 0H100V40Z" fill="red" clip-path="url(#c)"/>',
    "several": '<clipPath id="c"><circle cx="30" cy="40" r="25"/><circle cx="60" cy="40" r="25"/></clipPath>'
    '<rect width="100" height="60" fill="red" clip-path="url(#c)"/>',
    "even-odd": '<clipPath id="c"><path d="M50 0L80 80L5 30H95L20 80Z" clip-rule="evenodd"/></clipPath>'
    '<rect width="100" height="70" fill="red" clip-path="url(#c)"/>',
    "box": '<clipPath id="c" clipPathUnits="objectBoundingBox"><circle cx=".5" cy=".5" r=".5"/></clipPath>'
    '<g clip-path="url(#c)"><rect x="10" y="10" width="30" height="50"/><rect x="50" y="20" width="40" height="50"/>'
    "</g>",
    "stroke": '<clipPath id="c"><circle cx="50" cy="40" r="30"/></clipPath>'
    '<path d="M0 40H100" stroke="red" stroke-width="30" clip-path="url(#c)"/>',
    "stroke by a square": '<clipPath id="c"><rect x="20" y="35" width="60" height="50"/></clipPath>'
    '<circle cx="50" cy="40" r="30" fill="none" stroke="red" stroke-width="9" clip-path="url(#c)"/>',
    "transform": '<clipPath id="c" transform="rotate(20 50 40)"><ellipse cx="50" cy="40" rx="40" ry="15"/></clipPath>'
    '<rect width="100" height="80" fill="red" clip-path="url(#c)"/>',
    "clip of a clip": '<clipPath id="a"><circle cx="30" cy="40" r="25"/></clipPath><clipPath id="c" '
    'clip-path="url(#a)"><circle cx="50" cy="40" r="25"/></clipPath><rect width="99" height="80" clip-path="url(#c)"/>',
    "clip in a clip": '<clipPath id="a"><circle cx="30" cy="40" r="25"/></clipPath><clipPath id="c">'
    '<circle cx="50" cy="40" r="25" clip-path="url(#a)"/></clipPath><rect width="99" height="80" clip-path="url(#c)"/>',
    "use": '<path id="p" d="M50 5L90 75H10Z"/><clipPath id="c"><use href="#p" x="5"/></clipPath>'
    '<circle cx="50" cy="40" r="30" fill="red" clip-path="url(#c)"/>',
}


@pytest.mark.parametrize("body", CLIPS.values(), ids=CLIPS)
def test_as_resvg(body: str) -> None:
    check_as_resvg(body)


def test_shapes_too_many_to_cut_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.vector.svg.geometry.skia.MAX_PAIRS", 5)
    with pytest.raises(UserError, match=r"clip path 'url\(#c\)'"):
        read(CLIPS["circle"])
