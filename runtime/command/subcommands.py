"""A command with subcommands: a table of them, of which the first word of the command line chooses one."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.command.listing import subcommand_listing
from runtime.command.options import parse_options
from runtime.command.program import program_name
from runtime.errors import UserError


@dataclass(frozen=True)
class Subcommand:
    """One line of the table."""

    options: type[Any]
    """Its options; the first line of their docstring says what it does."""
    run: Callable[[Any], int]
    """Runs it with its options; returns the exit code."""


def run_subcommand(module: str, table: Mapping[str, Subcommand], arguments: Sequence[str] | None = None) -> int:
    """Parse a command line, run the subcommand that it names and return the exit code; without one, list them.

    Args:
        module: the command, such as "export".
        table: the subcommands, by the word that a user types.
        arguments: words of the command line; by default this process's.

    Raises:
        UserError: there is no such subcommand.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    name = choose(module, {name: command.options for name, command in table.items()}, words)
    if name is None:
        return 0
    return table[name].run(parse_options(table[name].options, f"{module} {name}", arguments=words[1:]))


def choose(module: str, subcommands: Mapping[str, type], words: Sequence[str]) -> str | None:
    """Return the subcommand that the first word names; without a word, or for --help, print the list and return None.

    Args:
        module: the command, such as "export".
        subcommands: by name the dataclass of its options.
        words: of the command line.

    Raises:
        UserError: there is no such subcommand.
    """
    if not words or words[0] in ("-h", "--help"):
        print(subcommand_listing(module, subcommands))
        return None
    if words[0] not in subcommands:
        expected = ", ".join(subcommands)
        raise UserError(f"{program_name(module)}: expected one of {expected}, got {words[0]!r:.80}")
    return words[0]
