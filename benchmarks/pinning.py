"""What PyTorch's one thread costs: whole commands with it and with all of PyTorch's threads, in pairs.

    python -m benchmarks.pinning [--threads 2] [--pairs 2] [--only vectorize] [--json]

While a method draws, PyTorch's own operators run on one thread, for the same bytes on any number of cores, and kernels
and engines on all (`runtime.threads`). Each pair runs one command so, and once more with all threads for PyTorch, from
start to file. Only seconds of the processor are taken, so that other work on the machine counts little: those of the
main thread, which is what a quiet machine would wait for, and those of all others, among them the seconds in which a
thread looks for work.
"""

import contextlib
import json
import os
import resource
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environment import describe_environment
from runtime.command.options import parse_options
from runtime.command.ranges import Count, Threads
from runtime.errors import UserError, run_main

HERE = Path(__file__).parent

COMMANDS: dict[str, list[str]] = {
    "vectorfusion, by tracing": ["vectorfusion", "a red apple"],
    "vectorfusion, from scratch": ["vectorfusion", "a red apple", "--route", "scratch"],
    "vectorize, LIVE": ["vectorize", str(HERE / "capture" / "images" / "00.png"), "--no-contours"],
    "ddpm sample": ["ddpm", "sample"],
    "lmconv sample": ["lmconv", "sample"],
    "pixelnerf": ["pixelnerf", str(HERE / "capture" / "images" / "00.png"), "--as-it-is"],
    "clipdraw, 60 steps": ["clipdraw", "a red apple", "--steps", "60"],
    "lift": ["lift", "a red apple"],
    "dreamfields, 60 steps": ["dreamfields", "a red apple", "--steps", "60"],
}
"""What is run, by the row's name."""

FREE = "TGM_BENCHMARK_ALL_THREADS"
"""Environment variable of the process that gives PyTorch all threads."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure."""

    threads: Threads = 2
    """Threads of kernels and engines, and of PyTorch where it has all."""
    pairs: Count = 2
    """Pairs of each command; medians are printed."""
    only: str = ""
    """Measure only the commands whose name contains this."""
    json: bool = False
    """Print a JSON object a line in place of the table."""


@dataclass(frozen=True)
class Seconds:
    """Seconds of the processor that a command took."""

    main: float
    """Of the main thread."""
    others: float
    """Of all other threads."""


def run_here(words: list[str]) -> Seconds:
    """Run a command in this process, quietly; with `FREE` set, PyTorch keeps all its threads."""
    if os.environ.get(FREE):
        import runtime.threads

        runtime.threads.one_torch_thread = contextlib.nullcontext
    sys.argv = [f"runtime.{words[0]}", *words[1:], "--quiet"]
    with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(SystemExit):
        runpy.run_module(sys.argv[0], run_name="__main__")
    usage = resource.getrusage(resource.RUSAGE_SELF)
    main = time.thread_time()
    return Seconds(main, max(0.0, usage.ru_utime + usage.ru_stime - main))


def measure_once(words: list[str], threads: int, *, free: bool) -> Seconds:
    """Run a command in a process of its own, in a folder of its own.

    Raises:
        UserError: it failed; the message ends with its last line.
    """
    # PyTorch lets the latter overrule the former.
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    variables = {**os.environ, **counts, "PYTHONPATH": str(HERE.parent)}
    variables |= {FREE: "1"} if free else {}
    code = "import json, sys; from benchmarks.pinning import run_here; print(json.dumps(vars(run_here(sys.argv[1:]))))"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", code, *words], cwd=folder, env=variables, capture_output=True, text=True, check=False
        )
        if done.returncode or not any(path.is_file() for path in Path(folder).iterdir()):
            raise UserError(f"{' '.join(words)} failed: {done.stderr.strip().splitlines()[-1:]}")
    return Seconds(**json.loads(done.stdout.splitlines()[-1]))


def measure(config: Config) -> Iterator[dict[str, Any]]:
    """Yield a row for each command.

    Raises:
        UserError: no command has such a name, or one fails.
    """
    names = [name for name in COMMANDS if config.only in name]
    if not names:
        raise UserError(f"--only: expected a part of {', '.join(COMMANDS)}, got {config.only!r:.60}")
    for name in names:
        pairs = []
        for number in range(config.pairs):
            # In turns, so that what grows or falls over minutes, such as the processor's clock, is in both.
            order = (False, True) if number % 2 == 0 else (True, False)
            pair = {free: measure_once(COMMANDS[name], config.threads, free=free) for free in order}
            pairs.append((pair[False], pair[True]))
        yield {
            "command": name,
            "main_one": round(statistics.median(one.main for one, _ in pairs), 2),
            "main_all": round(statistics.median(all_.main for _, all_ in pairs), 2),
            "others_one": round(statistics.median(one.others for one, _ in pairs), 2),
            "others_all": round(statistics.median(all_.others for _, all_ in pairs), 2),
            "costs": [round(one.main / all_.main - 1.0, 3) for one, all_ in pairs],
        }


def main() -> None:
    """Measure from a command line."""
    config = parse_options(Config, "benchmarks.pinning", description=__doc__)
    print(json.dumps({"environment": describe_environment()}) if config.json else describe_environment(), flush=True)
    for row in measure(config):
        if config.json:
            print(json.dumps(row), flush=True)
        else:
            costs = ", ".join(f"{cost:+.1%}" for cost in row["costs"])
            print(
                f"{row['command']}: main thread {row['main_one']} s with one, {row['main_all']} s with all ({costs}); "
                f"others {row['others_one']} and {row['others_all']} s",
                flush=True,
            )


if __name__ == "__main__":
    run_main(main)
