"""Where the seconds of text to SVG go, from start to file, and its peak memory, by part.

    python -m benchmarks.start [--before ../other-checkout] [--rounds 3] [--threads 2]

Each round runs the whole command once in a process of its own, and once more with the other checkout's runtime, in
turns. A part has the main thread's wall time and the seconds of the processor that all threads took meanwhile, those
among them in which a thread looks for work. Run it once before: the first run compiles kernels.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environment import describe_environment
from runtime.command.options import parse_options
from runtime.command.ranges import Count, Threads
from runtime.errors import UserError, run_main

CLOCK = Path(__file__).with_name("clock.py")
TREE = CLOCK.parents[2]
COMMAND = ("vectorfusion", "a red apple", "--quiet")


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure."""

    before: Path | None = None
    """Another checkout to compare with, in turns."""
    rounds: Count = 3
    """Runs of each; medians are printed."""
    threads: Threads = 2
    """Threads of kernels and engines."""


def measure_once(tree: Path, threads: int) -> dict[str, Any]:
    """Run the command with a checkout's runtime in a folder of its own; return what its clock says.

    Raises:
        UserError: it failed; the message ends with its last line.
    """
    variables = {**os.environ, "PYTHONPATH": str(tree.absolute())}
    variables |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    code = "import runpy, sys; runpy.run_path(sys.argv[1])['run'](sys.argv[2:])"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, str(CLOCK), *COMMAND],
            cwd=folder,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        drawn = any(path.suffix == ".svg" for path in Path(folder).iterdir())
    if done.returncode or not drawn:
        raise UserError(f"'{tree}': the command failed: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout.splitlines()[-1])


def medians(runs: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Return the median wall time and processor time of each part of some runs, and of the whole."""
    names = list(dict.fromkeys(name for run in runs for name in run["parts"]))
    columns = {name: [run["parts"].get(name, (0.0, 0.0)) for run in runs] for name in names}
    columns["whole"] = [(run["wall"], run["cpu"]) for run in runs]
    return {
        name: (statistics.median(wall for wall, _ in values), statistics.median(cpu for _, cpu in values))
        for name, values in columns.items()
    }


def table_of(results: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return the lines of a table: a row a part, wall and processor seconds of each checkout."""
    columns = {name: medians(runs) for name, runs in results.items()}
    parts = list(dict.fromkeys(part for column in columns.values() for part in column if part != "whole"))
    lines = ["| part | " + " | ".join(f"{name}: wall s | CPU s" for name in columns) + " |"]
    lines.append("|---|" + "---|---|" * len(columns))
    for part in (*parts, "whole"):
        pairs = (column.get(part, (0.0, 0.0)) for column in columns.values())
        cells = [f"{wall:.2f} | {cpu:.2f}" for wall, cpu in pairs]
        lines.append(f"| {part} | " + " | ".join(cells) + " |")
    peaks = [f"{statistics.median(run['peak_mib'] for run in runs):.0f} MiB | " for runs in results.values()]
    lines.append("| peak memory | " + " | ".join(peaks) + "|")
    return lines


def main() -> None:
    """Measure from a command line."""
    config = parse_options(Config, "benchmarks.start", description=__doc__)
    print(describe_environment(), flush=True)
    trees = {"here": TREE} if config.before is None else {"before": config.before, "here": TREE}
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in trees}
    for _ in range(config.rounds):
        for name, tree in trees.items():
            results[name].append(measure_once(tree, config.threads))
    print("\n".join(table_of(results)))


if __name__ == "__main__":
    run_main(main)
