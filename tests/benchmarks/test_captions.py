"""Captions of a file, and some of them by their lines."""

from pathlib import Path

import pytest

from benchmarks.consistency.captions import chosen_rows, read_captions
from runtime.errors import UserError


def test_captions_are_those_of_a_file(tmp_path: Path) -> None:
    assert len(read_captions(None)) == 64
    file = tmp_path / "captions.txt"
    file.write_text("a cat\n\n a dog \n")
    assert read_captions(file) == ["a cat", "a dog"]
    file.write_text("a cat\na cat\n")
    with pytest.raises(UserError, match="'a cat' twice"):
        read_captions(file)
    with pytest.raises(UserError, match="expected a text file"):
        read_captions(tmp_path / "none.txt")


def test_lines_are_numbers_and_ranges_from_one() -> None:
    assert chosen_rows("1-3,9, 5", 9) == [0, 1, 2, 8, 4]
    assert chosen_rows("9", 9) == [8]


@pytest.mark.parametrize("lines", ["0", "10", "3-10", "4-2", "2,2", "1-3,3", "x", "1-", "-1", "1,,2", "9" * 20])
def test_other_lines_are_refused(lines: str) -> None:
    with pytest.raises(UserError, match="--lines: expected lines of 1 to 9, each once, such as 1-4,9, got"):
        chosen_rows(lines, 9)
