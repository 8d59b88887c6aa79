"""What does Triton cost a loop, what do jobs side by side gain from it, and how fast does the gateway answer?

    python -m benchmarks.serving [--json] [--environment FOLDER]

A real tritonserver on this machine runs the networks of `icons`; its ONNX Runtime is the python backend that stands in
for NVIDIA's. Calls are guided pairs, as the loop makes them, one thread each. The gateway answers over real
connections, with a commit to the disk for each job that it takes.
"""

import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from benchmarks.environment import describe_environment
from benchmarks.serving.analyzer import analyze
from benchmarks.serving.gateway import time_gateway
from benchmarks.serving.jobs import count_jobs
from benchmarks.serving.steps import time_calls, time_steps
from runtime.command.options import parse_options
from runtime.command.ranges import Count, Duration
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError
from serving.repository import build_repository
from serving.triton.server import TritonServer, environment_folder

PARTS = ("calls", "steps", "jobs", "gateway", "analyzer")
"""What is timed, in this order."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to time."""

    environment: Path | None = None
    """Folder of the server's environment; by default that of python -m serving up."""
    seconds: Duration = 4.0
    """Time for each case of single calls, seconds."""
    steps: Count = 30
    """Steps of a drawing, for the time of a step."""
    rounds: Count = 3
    """How often each side draws, in turn."""
    jobs: Count = 8
    """Jobs that are timed side by side."""
    submissions: Count = 100
    """Jobs that are submitted to the gateway."""
    only: str = ""
    """Time only the parts whose names contain this: calls, steps, jobs, gateway, analyzer."""
    realtime: tyro.conf.FlagCreatePairsOff[bool] = False
    """Calls and steps go before all other work of the machine, where it is a busy one; needs root."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """One JSON object a line in place of the table."""


def measure(config: Config) -> Iterator[dict[str, Any]]:
    """Yield each line of the table."""
    names = [name for name in PARTS if config.only in name]
    if not names:
        raise UserError(f"--only: expected a part of {', '.join(PARTS)}, got {config.only!r:.40}")
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="tgm-serving-"))
    build_repository(folder / "repository", [DiffusionBundle.load("icons")], {})
    server = TritonServer(folder / "repository", folder / "work", config.environment or environment_folder())
    parts = {
        "calls": lambda: time_calls(server, config.seconds, realtime=config.realtime),
        "steps": lambda: time_steps(server, config.steps, config.rounds, realtime=config.realtime),
        "jobs": lambda: count_jobs(server, folder / "jobs", config.jobs),
        "gateway": lambda: time_gateway(folder / "store", config.submissions),
        "analyzer": lambda: analyze(server, folder),
    }
    try:
        server.start()
        for name in names:
            yield from parts[name]()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Measure and print."""
    config = parse_options(Config, "benchmarks.serving", description=__doc__)
    # The server is ended on the way out, which SIGTERM alone would not take.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    print(json.dumps({"environment": describe_environment()}) if config.json else describe_environment(), flush=True)
    for line in measure(config):
        figures = ", ".join(f"{name} {value}" for name, value in line.items() if name != "case")
        print(json.dumps(line) if config.json else f"{line['case']}: {figures}", flush=True)
    return 0
