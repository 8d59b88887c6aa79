"""Serve the methods, or ask a server for a drawing.

python -m serving studio
python -m serving build icons mnist --out repository
python -m serving up repository
python -m serving submit "a red apple" --preset icon --seeds 0-3 --wait
python -m serving batch prompts.txt --out drawings
"""

from collections.abc import Mapping, Sequence

from runtime.command.subcommands import Subcommand, run_subcommand
from runtime.errors import run_main
from serving.commands.batch import Batch, run_batch
from serving.commands.build import Build, run_build
from serving.commands.studio import Studio, run_studio
from serving.commands.submit import Submit, run_submit
from serving.commands.up import Up, run_up

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
    return run_subcommand("serving", SUBCOMMANDS, arguments)


if __name__ == "__main__":
    run_main(main)
