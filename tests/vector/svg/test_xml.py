"""Files that are no SVG or an attack, entities, and compressed files."""

import gzip

import pytest
import torch

from runtime.errors import UserError
from runtime.vector.svg import parse_svg, read_svg
from tests.vector.svg.drawings import HEAD

ENTITIES = "".join(f"<!ENTITY {chr(98 + k)} '{10 * f'&{chr(97 + k)};'}'>" for k in range(9))
BOMB = f"<!DOCTYPE svg [<!ENTITY a 'aaaaaaaaaa'>{ENTITIES}]>"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (BOMB + f"{HEAD} width='5' height='5'><text>&j;</text></svg>", "entities"),
        ("<!DOCTYPE svg [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>" + f"{HEAD}><text>&x;</text></svg>", "entities"),
        ("<!DOCTYPE svg [<!ENTITY % x SYSTEM 'http://localhost/'> %x;]>" + f"{HEAD}/>", "entities"),
        (f"{HEAD} width='5' height='5'>" + "<g>" * 300 + "</g>" * 300 + "</svg>", "deeper"),
        (f"{HEAD} width='5' height='5'>" + "<g/>" * 50_001 + "</svg>", "more than 50000 elements"),
        (f"{HEAD} width='5' height='5'><g id='a'><use href='#a'/></g></svg>", "contains itself"),
        (" " * (16 * 2**20 + 1), "at most"),
    ],
)
def test_hostile_files_are_refused(data, message):
    with pytest.raises(UserError, match=message):
        parse_svg(data.encode(), name="drawing.svg")


def test_a_plain_doctype_is_no_attack():
    head = '<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://localhost/svg11.dtd">'
    data = head + f"{HEAD} width='5' height='5'><circle r='1'/></svg>"
    assert parse_svg(data.encode(), name="a").layout.num_paths == 1


def test_entities_of_plain_text_are_read_as_illustrator_writes_them() -> None:
    data = '<!DOCTYPE svg [<!ENTITY ns_svg "http://www.w3.org/2000/svg"><!ENTITY c "green">]>'
    data += "<svg xmlns='&ns_svg;' width='5' height='5'><circle r='1' fill='&c;'/></svg>"
    assert parse_svg(data.encode(), name="a").colours[0, 0].tolist() == pytest.approx([0, 128 / 255, 0, 1])


@pytest.mark.parametrize("value", ["<g/>", "&#38;lt;", "a" * 100_000])
def test_entities_that_could_multiply_are_refused(value: str) -> None:
    data = f"<!DOCTYPE svg [<!ENTITY x '{value}'>]>{HEAD} width='5' height='5'><desc>{'&x;' * 200}</desc></svg>"
    with pytest.raises(UserError, match="declares XML entities"):
        parse_svg(data.encode(), name="a")


def test_messages_are_not_wrapped_in_others() -> None:
    with pytest.raises(UserError) as caught:
        parse_svg(f"{HEAD}>{'<g/>' * 50_001}</svg>".encode(), name="a")
    assert "is not an SVG" not in str(caught.value)


def test_compressed_files_are_read_and_bombs_are_not(tmp_path) -> None:
    plain = f"{HEAD} width='5' height='5'><circle r='1'/></svg>".encode()
    (tmp_path / "a.svgz").write_bytes(gzip.compress(plain))
    assert torch.equal(read_svg(tmp_path / "a.svgz").points, parse_svg(plain, name="a").points)
    with pytest.raises(UserError, match="at most"):
        parse_svg(gzip.compress(b" " * (100 * 2**20)), name="a")
    for broken in (gzip.compress(plain)[:-9], b"\x1f\x8bjunk"):
        with pytest.raises(UserError, match="cannot be decompressed"):
            parse_svg(broken, name="a")


def test_style_sheets_in_other_files_are_named() -> None:
    notes: list[str] = []
    text = b'<?xml-stylesheet href="a.css"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect/>'
    parse_svg(text + b'<circle r="5"/></svg>', name="a.svg", report=notes.append)
    assert len(notes) == 1 and "style sheet 'href=\"a.css\"'" in notes[0]
