"""Prompts on a command line."""

import pytest

from runtime.command.prompts import check_prompt, stem_of
from runtime.errors import UserError


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a red apple", "a-red-apple"),
        ("  A Cat's   house! ", "a-cat-s-house"),
        ("../../etc/passwd", "etc-passwd"),
        ("ein grüner Käfer", "ein-grüner-käfer"),
        ("🍎", "drawing"),
        ("x" * 200, "x" * 60),
    ],
)
def test_names_of_files(prompt: str, name: str) -> None:
    assert stem_of(prompt, "drawing") == name


def test_names_without_an_article() -> None:
    assert [stem_of(text, "object", article=False) for text in ("a red apple", "The cat", "a", "an", "")] == [
        "red-apple",
        "cat",
        "a",
        "an",
        "object",
    ]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (" ", "--text: expected a few words"),
        ("a" * 501, "--text: expected at most 500 characters, got 501"),
        ("a\x1b[31m", "--text: expected one line of printable text"),
        ("two\nlines", "--text: expected one line"),
    ],
)
def test_what_is_no_prompt_is_refused(prompt: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_prompt(prompt, "--text")


def test_spaces_around_a_prompt_are_taken_away() -> None:
    assert check_prompt("  a red apple ") == "a red apple"
