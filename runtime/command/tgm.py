"""The console script `tgm`: what `python -m` runs, without the working directory before the package.

    tgm vectorfusion "a red apple"
    tgm train lmconv --data mnist --out runs/mnist
    tgm export sd --weights random:sd15 --out bundles/sd15

`python -m` looks into the working directory first, where a file of another project, such as its `train.py`, would run
instead of ours.
"""

import runpy
import sys

from runtime.command.listing import commands_of, first_line, format_listing, is_command
from runtime.command.program import STARTED_BY_TGM, program_name
from runtime.errors import UserError, run_main
from runtime.installing import HOUSE
from runtime.version import __version__

ROOMS = ("export", "train", "serving", "benchmarks")
"""Packages beside `runtime` that have commands; one that is not here, as benchmarks in a wheel, is not offered."""


def listing() -> str:
    """Return what there is: the methods, then the rooms that are installed."""
    rows = {program_name(f"runtime.{name}"): what for name, what in methods().items()}
    for room in rooms():
        rows[program_name(room)] = first_line(HOUSE / room / "__init__.py")
    return format_listing("usage: tgm COMMAND ..., each with --help; one of", rows)


def methods() -> dict[str, str]:
    """Return the methods of the runtime with what each makes: packages that are commands."""
    return commands_of("runtime")


def rooms() -> list[str]:
    """Return the rooms that are installed beside the runtime."""
    return [room for room in ROOMS if is_command(room)]


def module_of(words: list[str]) -> tuple[str, list[str]]:
    """Return the module that a command line names, and the arguments that are left to it.

    Raises:
        UserError: it names none.
    """
    name, rest = words[0], words[1:]
    if is_command(f"runtime.{name}"):
        return f"runtime.{name}", rest
    if name not in rooms():
        raise UserError(f"tgm: expected one of {', '.join([*methods(), *rooms()])}; got {name!r:.80}")
    if rest and is_command(f"{name}.{rest[0]}"):
        return f"{name}.{rest[0]}", rest[1:]
    return name, rest  # a room with subcommands of its own, or one that lists what it has


def main() -> int:
    """Run what the command line names.

    Raises:
        UserError: it names nothing that is there.
    """
    STARTED_BY_TGM.set(True)
    words = sys.argv[1:]
    if not words or words[0] in {"-h", "--help"}:
        print(listing())
        return 0
    if words[0] == "--version":
        print(f"tgm {__version__}")
        return 0
    module, sys.argv[1:] = module_of(words)
    # A clone that is installed with `pip install -e` offers its packages one by one, and benchmarks are none of them.
    if str(HOUSE) not in sys.path:
        sys.path.insert(0, str(HOUSE))
    # By name, at the call: the runtime imports neither export nor train, which a deployment may leave out.
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


def run() -> None:
    """Run the command and end the process with its exit code: the entry point."""
    run_main(main)
