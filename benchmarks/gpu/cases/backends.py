"""A step of text to SVG by every backend, and by the peers' recipe: Stable Diffusion 1.5 exported on this machine.

The weights are random and of the published sizes. `python -m benchmarks.step` draws the rows; its own table has them
by the parts of a step.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.gpu.clock import Row
from benchmarks.gpu.run import Setting

ROOT = Path(__file__).parents[3]

SECONDS = 15.0
"""Spent on all rows."""


def measure(setting: Setting, case: str) -> Iterator[Row]:
    """Yield the seconds of the export, and a row for each backend, each provider of gradients, and the recipe.

    Raises:
        RuntimeError: a command failed; the message is the end of what it printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        bundle = "icons"
        # In a dry run the bundle that is there: to export takes as long as all other parts.
        if not setting.tiny:
            bundle, begun = str(Path(folder) / "sd15"), time.perf_counter()
            run("export", "sd", "--weights", "random:sd15", "--out", bundle)
            yield {"case": "export sd --weights random:sd15", "seconds": time.perf_counter() - begun}
        options = ["--bundle", bundle, "--device", setting.device, "--baseline", "--json"]
        options += ["--seconds", "0.1" if setting.tiny else str(SECONDS), *(["--no-error"] if setting.tiny else [])]
        for line in run("benchmarks.step", *options).splitlines():
            if line.startswith("{"):
                yield row_of(json.loads(line))


def run(module: str, *options: str) -> str:
    """Return what a command prints."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
    command = [sys.executable, "-m", module, *options]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[2:])}: {(done.stderr or done.stdout)[-1500:]}")
    return done.stdout


def row_of(entry: dict[str, Any]) -> Row:
    """Return a row of the benchmark of steps as the other parts have theirs."""
    parts = entry["parts_ms"]
    row: Row = {"case": "step of text to SVG", "way": entry["variant"], "ms": entry["step_ms"]}
    row["quartiles_ms"] = entry["quartiles_ms"]
    row |= {f"{name} ms": parts[name] for name in ("encode", "denoise", "backward") if name in parts}
    return row | ({"cosine": round(entry["cosine"], 7)} if "cosine" in entry else {})
