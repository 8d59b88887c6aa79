"""Listings name what there is, as typed, and no line of theirs needs an import."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from runtime.command import listing
from runtime.command.listing import commands_of, format_listing, is_command, run_listing, subcommand_listing
from runtime.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a house with a room of two commands, a module and a package that only lists."""
    room = tmp_path / "room"
    guard = 'if __name__ == "__main__":\n    pass\n'
    files = {
        "__init__.py": '"""A room."""\n',
        "__main__.py": f'"""Lists."""\n\n{guard}',
        "plain.py": '"""No command."""\n',
        "single.py": f'"""Do one thing.\n\nMore."""\n\n{guard}',
        "many/__init__.py": '"""Do many things."""\n',
        "many/__main__.py": f'"""`python -m room.many`."""\n\n{guard}',
        "many/other.py": f"{guard}",
        "group/__init__.py": '"""A group."""\n',
        "group/__main__.py": f"import run_listing\n\n{guard}",
    }
    for name, text in files.items():
        file = room / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("" if text == guard else text)
    (room / "many" / "other.py").write_text(f"\n{guard}")
    monkeypatch.setattr(listing, "HOUSE", tmp_path)
    return tmp_path


def test_commands_are_found_with_what_they_do(house: Path) -> None:
    assert commands_of("room") == {"many": "Do many things", "many.other": "", "single": "Do one thing"}
    assert commands_of("room.many") == {"other": ""}


@pytest.mark.parametrize("module", ["room", "room.single", "room.many", "room.group"])
def test_commands_are_known(house: Path, module: str) -> None:
    assert is_command(module)


@pytest.mark.parametrize("module", ["room.plain", "room.nothing", "../room", "room/single", "", "room."])
def test_others_are_none(house: Path, module: str) -> None:
    assert not is_command(module)


def test_lines_fit_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = format_listing("usage", {"tgm a": "short", "tgm longer": "one two three four five six seven eight"})
    assert text.splitlines() == ["usage", "", "  tgm a       short", "  tgm longer  one two three four ..."]


def test_a_package_lists_its_commands(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_listing("room")([]) == 0
    out = capsys.readouterr().out
    assert "  python -m room.many        Do many things\n" in out
    assert "group" not in out


def test_a_package_takes_no_arguments(house: Path) -> None:
    with pytest.raises(UserError, match=r"python -m room: expected one of python -m room.many, .*; got 'x'"):
        run_listing("room")(["x"])


def test_subcommands_are_listed_with_their_docstrings() -> None:
    @dataclass
    class Draw:
        """Draw it.

        In colours.
        """

    assert "  python -m room draw  Draw it\n" in subcommand_listing("room", {"draw": Draw}) + "\n"


@pytest.mark.parametrize(
    ("package", "some"),
    [
        ("runtime", "python -m runtime.vectorfusion "),
        ("train", "python -m train.latent_diffusion.denoiser "),
        ("train.latent_diffusion", "python -m train.latent_diffusion.denoiser "),
        ("export", "python -m export sd "),
        ("benchmarks", "python -m benchmarks.raster "),
    ],
)
def test_every_room_lists_what_it_has(package: str, some: str) -> None:
    done = subprocess.run([sys.executable, "-m", package], capture_output=True, text=True, cwd=ROOT, check=True)
    lines = done.stdout.splitlines()
    assert any(line.startswith(f"  {some}") for line in lines)
    assert all(len(line.split("  ")[-1]) > 20 for line in lines[2:])  # each says what it does
