"""Command lines from dataclasses: names, wrapped help, exit codes."""

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Annotated, Generic, TypeVar

import pytest
import tyro
from annotated_types import Interval

from runtime.command.options import dataclasses_in, describe_fields, parse_options
from runtime.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Inner:
    """What lies inside."""

    depth: int = 1
    """How deep, which takes several lines to say, since every one of them that follows the first used to be broken
    8 columns early; tyro keeps such breaks."""


@dataclass(frozen=True, kw_only=True)
class Outer:
    """Draw something."""

    inner: tyro.conf.OmitArgPrefixes[Inner] = Inner()
    name: str = "x"
    """Its name."""
    bare: int = 0


DESCRIPTION = """Draw something whose description is longer than a narrow terminal is wide, so it has to be wrapped.

    python -m room.draw --name a-name-that-is-long --depth 1000000000 --bare 12345678

And a last paragraph.
"""


def help_of(capsys: pytest.CaptureFixture[str], kind: object = Outer, *words: str) -> str:
    with pytest.raises(SystemExit) as end:
        parse_options(kind, "room.draw", description=DESCRIPTION, arguments=[*words, "--help"])  # type: ignore
    assert end.value.code == 0
    return capsys.readouterr().out


def test_options_are_parsed() -> None:
    options = parse_options(Outer, "room.draw", arguments=["--depth", "3", "--name", "y"])
    assert options == Outer(inner=Inner(depth=3), name="y")


def test_a_default_is_passed_on() -> None:
    assert parse_options(Outer, "room.draw", arguments=[], default=Outer(name="z")).name == "z"


def test_a_wrong_option_names_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse_options(Outer, "room.draw", arguments=["--wrong"])
    assert end.value.code == 2
    assert "python -m room.draw --help" in capsys.readouterr().err


def test_help_wraps_at_the_terminals_width(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    lines = help_of(capsys).splitlines()
    assert max(map(len, lines)) <= 60
    assert "Draw something whose description is longer than a narrow" in lines
    assert not any(before == after == "" for before, after in pairwise(lines))


def test_an_example_can_still_be_pasted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    text = help_of(capsys)
    assert "    python -m room.draw --name a-name-that-is-long \\\n        --depth 1000000000 --bare 12345678\n" in text


def test_field_docstrings_are_paragraphs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    words = " ".join(help_of(capsys).replace("│", " ").split())
    assert "used to be broken 8 columns early; tyro keeps such breaks." in words
    describe_fields(Inner)
    (depth,) = fields(Inner)
    assert "\n" not in depth.metadata["help"]


@dataclass(frozen=True, kw_only=True)
class Extra:
    """What a frame adds."""

    again: bool = False
    """Draw anew."""


@dataclass(frozen=True, kw_only=True)
class Frame(Generic[T]):
    """Options of any kind in a frame."""

    config: tyro.conf.OmitArgPrefixes[T]
    extra: tyro.conf.OmitArgPrefixes[Extra] = Extra()


def test_a_generic_frame_is_looked_into() -> None:
    assert list(dataclasses_in(Frame[Outer])) == [Frame, Extra, Outer, Inner]
    options = parse_options(Frame[Outer], "room.draw", arguments=["--name", "y"], default=Frame(config=Outer()))
    assert options.config.name == "y"


def test_subcommands_are_described_too(capsys: pytest.CaptureFixture[str]) -> None:
    kinds = Annotated[Outer, tyro.conf.subcommand("outer")] | Annotated[Inner, tyro.conf.subcommand("inner")]
    words = " ".join(help_of(capsys, kinds, "inner").replace("│", " ").split())
    assert words.startswith("usage: python -m room.draw inner")
    assert "broken 8 columns early" in words


@dataclass(frozen=True, kw_only=True)
class Ranged:
    """A number with a range."""

    count: Annotated[int, Interval(ge=1, le=9)] = 1
    """How many."""


def test_a_number_out_of_its_range_is_refused_for_every_command() -> None:
    assert parse_options(Ranged, "room.draw", arguments=["--count", "9"]).count == 9
    with pytest.raises(UserError, match=r"--count: expected 1 to 9, got 10"):
        parse_options(Ranged, "room.draw", arguments=["--count", "10"])
