"""Commands with subcommands: one is run, none are listed, and an unknown one is refused in a line."""

from dataclasses import dataclass

import pytest

from runtime.command.subcommands import Subcommand, choose, run_subcommand
from runtime.errors import UserError


@dataclass(frozen=True)
class Draw:
    """Draw it.

    In colours.
    """

    count: int = 1
    """How many."""


TABLE = {"draw": Subcommand(Draw, lambda options: options.count), "erase": Subcommand(Draw, lambda options: 0)}


def test_the_named_one_runs_with_its_options_and_gives_the_exit_code() -> None:
    assert run_subcommand("room", TABLE, ["draw"]) == 1
    assert run_subcommand("room", TABLE, ["draw", "--count", "3"]) == 3


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"], ["--help", "draw"]])
def test_without_one_all_are_listed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_subcommand("room", TABLE, words) == 0
    out = capsys.readouterr().out
    assert "  python -m room draw   Draw it\n" in out and "  python -m room erase  Draw it\n" in out


def test_an_unknown_one_is_refused() -> None:
    with pytest.raises(UserError, match=r"^python -m room: expected one of draw, erase, got 'colour'$"):
        choose("room", {"draw": Draw, "erase": Draw}, ["colour"])


def test_words_behind_it_are_its_own() -> None:
    assert choose("room", {"draw": Draw}, ["draw", "--help"]) == "draw"
