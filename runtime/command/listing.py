"""What commands a package has, by its files alone: nothing is imported, so that a listing comes at once."""

import ast
import inspect
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from runtime.command.program import program_name
from runtime.errors import UserError
from runtime.installing import HOUSE

GUARD = '__name__ == "__main__"'
"""Condition under which a module that is a command runs."""

USAGE = "usage: one of these, each with --help"
"""First line of a listing."""

PIPED_WIDTH = 160
"""Columns at most of a listing that goes to no terminal."""


def is_command(module: str) -> bool:
    """Return whether `python -m` runs a module of this project: a package with `__main__`, or a guarded module."""
    # By files and not by an import: whether `train.fit` is a command must not cost the loading of PyTorch.
    names = module.split(".")
    path = HOUSE.joinpath(*names)
    whole = all(name.isidentifier() for name in names)  # what a user typed may be anything, "../train" too
    return whole and ((path / "__main__.py").is_file() or _is_guarded(path.with_suffix(".py")))


def commands_of(package: str) -> dict[str, str]:
    """Return the commands below a package, by the name behind its own and in order, with what each does.

    Args:
        package: full name, such as "train". A package below it that only lists its own commands is left out.
    """
    root = HOUSE.joinpath(*package.split("."))
    commands = {}
    for path in sorted(root.rglob("*.py")):
        is_package = path.name == "__main__.py"
        if path == root / "__main__.py" or not _is_guarded(path) or (is_package and _only_lists(path)):
            continue
        name = path.parent if is_package else path.with_suffix("")
        # A package says what it is in `__init__`; its `__main__` is two lines that call it.
        described = path.with_name("__init__.py") if is_package else path
        commands[".".join(name.relative_to(root).parts)] = first_line(described)
    return commands


def first_line(path: Path) -> str:
    """Return the first line of a file's docstring, without its full stop; "" where it has none."""
    return _first_line(ast.get_docstring(ast.parse(path.read_text("utf-8"))))


def format_listing(usage: str, rows: Mapping[str, str]) -> str:
    """Return a listing: how to call, then a line for each command, as typed, with what it does.

    Args:
        usage: first line.
        rows: what each command does, by the words that run it.
    """
    column = max(map(len, rows), default=0) + 2
    width = shutil.get_terminal_size((PIPED_WIDTH, 24)).columns
    lines = []
    for typed, what in rows.items():
        text = textwrap.shorten(what, max(width - column - 2, 12), placeholder=" ...")
        lines.append(f"  {typed:{column}}{text}".rstrip())
    return "\n".join([usage, "", *lines])


def run_listing(package: str) -> Callable[[], int]:
    """Return the main function of a package that has commands and is none itself: it lists them.

    Raises:
        UserError: by that function, where arguments are given, which no command takes.
    """

    def main(arguments: Sequence[str] | None = None) -> int:
        given = sys.argv[1:] if arguments is None else list(arguments)
        rows = {program_name(f"{package}.{name}"): what for name, what in commands_of(package).items()}
        if given and given[0] not in {"-h", "--help"}:
            raise UserError(f"{program_name(package)}: expected one of {', '.join(rows)}; got {given[0]!r:.80}")
        print(format_listing(USAGE, rows))
        return 0

    return main


def subcommand_listing(module: str, subcommands: Mapping[str, type]) -> str:
    """Return a listing of a command's own subcommands.

    Args:
        module: the command, such as "export".
        subcommands: by name the dataclass of its options, whose docstring begins with what it does.
    """
    program = program_name(module)
    rows = {f"{program} {name}": _first_line(inspect.getdoc(kind)) for name, kind in subcommands.items()}
    return format_listing(USAGE, rows)


def _first_line(text: str | None) -> str:
    """Return the first line of a docstring without its full stop."""
    return (text or "").partition("\n")[0].rstrip(".")


def _is_guarded(path: Path) -> bool:
    return path.is_file() and f"\nif {GUARD}" in path.read_text("utf-8")


def _only_lists(path: Path) -> bool:
    return run_listing.__name__ in path.read_text("utf-8")
