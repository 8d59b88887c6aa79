"""Serve the methods, or ask a server for a drawing.

python -m serving studio
python -m serving build icons mnist --out repository
python -m serving up repository
python -m serving submit "a red apple" --preset icon --seeds 0-3 --wait
python -m serving batch prompts.txt --out drawings
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.command.listing import subcommand_listing
from runtime.command.options import parse_options
from runtime.command.program import program_name
from runtime.errors import UserError, run_main
from serving.commands.batch import Batch, run_batch
from serving.commands.build import Build, run_build
from serving.commands.studio import Studio, run_studio
from serving.commands.submit import Submit, run_submit
from serving.commands.up import Up, run_up


@dataclass(frozen=True)
class Subcommand:
    """One line of the table."""

    options: type[Any]
    """Its options; the first line of their docstring says what it does."""
    run: Callable[[Any], int]
    """Runs it with its options; returns the exit code."""


SUBCOMMANDS: Mapping[str, Subcommand] = {
    "studio": Subcommand(Studio, run_studio),
    "batch": Subcommand(Batch, run_batch),
    "build": Subcommand(Build, run_build),
    "up": Subcommand(Up, run_up),
    "submit": Subcommand(Submit, run_submit),
}
"""What `python -m serving` does, by the word that a user types."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run one subcommand; without one list them."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if not given or given[0] in ("-h", "--help"):
        print(subcommand_listing("serving", {name: command.options for name, command in SUBCOMMANDS.items()}))
        return 0
    name = given[0]
    if name not in SUBCOMMANDS:
        raise UserError(f"{program_name('serving')}: expected one of {', '.join(SUBCOMMANDS)}; got {name!r:.80}")
    command = SUBCOMMANDS[name]
    return command.run(parse_options(command.options, f"serving {name}", arguments=given[1:]))


if __name__ == "__main__":
    run_main(main)
