"""The command: its options, and what it prints while parts are done.

The options are read by the standard library alone: a bare machine may lack what the other commands take.
"""

import argparse
import platform
from collections.abc import Sequence
from pathlib import Path

import benchmarks.gpu
from benchmarks.gpu.parts import PARTS, WHEELS, Part, advice, missing
from runtime.errors import UserError

DRY_SECONDS = 20.0
"""Limit of a part of a dry run."""


def chosen(only: str) -> list[Part]:
    """Return the parts that `--only` names, all where it is empty.

    Raises:
        UserError: there is no part of such a name.
    """
    names = [name.strip() for name in only.split(",") if name.strip()]
    unknown = set(names) - {part.name for part in PARTS}
    if unknown:
        expected = ", ".join(part.name for part in PARTS)
        raise UserError(f"--only: expected parts out of {expected}, got {', '.join(sorted(unknown))}")
    return [part for part in PARTS if not names or part.name in names]


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of a command line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.gpu", description=benchmarks.gpu.__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="JSON file to write, gpu.json")
    parser.add_argument("--minutes", type=float, default=6.0, help="time for all parts, minutes, 6")
    parser.add_argument("--only", default="", help=f"parts, with commas, out of {', '.join(p.name for p in PARTS)}")
    parser.add_argument("--dry-run", action="store_true", help="run everything on the CPU at tiny sizes")
    parser.add_argument("--wheels", action="store_true", help="list what is missing here and how to carry it")
    version = ".".join(platform.python_version_tuple()[:2])
    parser.add_argument("--python", default=version, help=f"Python that wheels are for, {version}")
    options = parser.parse_args(arguments)
    if not 0.05 <= options.minutes <= 600:
        raise UserError(f"--minutes: expected 0.05 to 600, got {options.minutes:g}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts, and print each one's rows as it ends."""
    asked = options(arguments)
    if asked.wheels:
        print(advice(missing(list(WHEELS)), asked.python))
        return
    parts = chosen(asked.only)
    from benchmarks.gpu.run import run_parts
    from benchmarks.gpu.tables import part_table

    device = "cpu" if asked.dry_run else "cuda"
    for result in run_parts(parts, asked.out, device=device, minutes=asked.minutes, tiny=asked.dry_run):
        print(part_table(result), flush=True)
    print(f"written: {asked.out}")
