"""Runs parts, each in a process of its own that is ended at its limit, and writes the file after each.

A child leaves its rows in a file line by line, so that what is measured stays when the child is ended or dies.
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.gpu.parts import Part, missing
from runtime.errors import UserError
from runtime.files import replace_file

GRACE = 3.0
"""Seconds that are kept for writing at the end."""


LOADED = ["torch", "runtime.engines.backends.eager", "diffusers.models.unets.unet_2d_condition"]
"""What the server of processes loads, where it is installed: it takes seconds, once instead of in each part."""


COMPILE = [
    sys.executable,
    "-c",
    "from benchmarks.gpu.cases.correctness import drawing; drawing(strokes=False)('cpu'); drawing(strokes=True)('cpu')",
]
"""Compiles the rasterizer's kernels for the CPU, a minute on a fresh machine, beside the parts that do without."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where and at what size a part measures."""

    device: str
    """PyTorch device."""
    tiny: bool
    """Whether sizes are those of a dry run."""
    seconds: float
    """About how long each row may be timed, seconds."""


@dataclass
class Result:
    """What has become of a part."""

    name: str
    status: str
    """`done`, `failed`, `cut` at its limit, or `skipped`."""
    seconds: float = 0.0
    """How long it took."""
    reason: str = ""
    """Why it failed or was left out."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """The figures."""


def run_parts(parts: Sequence[Part], out: Path, *, device: str, minutes: float, tiny: bool = False) -> Iterator[Result]:
    """Yield each part's result after it has been written.

    Args:
        parts: what to run, in this order.
        out: JSON file, replaced after each part.
        device: `cuda`, or `cpu` for a dry run.
        minutes: time for all of them.
        tiny: whether sizes are those of a dry run.

    Raises:
        UserError: there is no such device.
    """
    end = time.monotonic() + 60.0 * minutes - GRACE
    # A server that has loaded PyTorch forks a process for each part: loading it anew takes seconds. It never touches
    # the device, which no process may share with one that it is forked from.
    # To ask whether there is a device already counts as touching it, unless the driver's library is asked (NVML).
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    about = describe(device, context)
    compiling = None if tiny else subprocess.Popen(COMPILE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    setting = Setting(device=device, tiny=tiny, seconds=0.0 if tiny else 0.4)
    results: list[Result] = []

    def run(part: Part) -> Result:
        absent = missing(part.needs)
        left = end - time.monotonic()
        if absent:
            return Result(part.name, "skipped", reason=f"needs {', '.join(absent)}; see --wheels")
        if left < 2.0:
            return Result(part.name, "skipped", reason="no time was left")
        return run_part(context, part, setting, left)

    for timed, group in groupby(parts, key=lambda part: part.timed):
        # parts that measure no times share the device, the others have it for themselves
        several = list(group)
        with ThreadPoolExecutor(1 if timed or tiny else len(several)) as pool:
            for result in pool.map(run, several):
                results.append(result)
                document = {**about, "dry_run": tiny, "parts": [asdict(result) for result in results]}
                replace_file(out, json.dumps(document, indent=1))
                yield result
    if compiling is not None:
        compiling.kill()
        compiling.wait()


def describe(device: str, context: Any) -> dict[str, Any]:
    """Return what the figures are measured on; `context` starts the process that asks the device.

    Raises:
        UserError: there is no such device.
    """
    from benchmarks.environment import describe_environment

    if device == "cpu":
        return {"device": "cpu", "environment": describe_environment()}
    # in another process: one that has used CUDA cannot be forked
    with context.Pool(1) as pool:
        cards, version = pool.apply(_cards)
    if not cards:
        raise UserError("no CUDA device: expected a graphics card that PyTorch sees, got none; try --dry-run")
    return {"device": cards[0], "cuda": version, "environment": describe_environment()}


def _cards() -> tuple[list[str], str | None]:
    import torch

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return names, torch.version.cuda


def run_part(context: Any, part: Part, setting: Setting, left: float) -> Result:
    """Return what a part's process has measured until its end or its limit."""
    limit = min(part.seconds, left)
    with tempfile.TemporaryDirectory() as temporary:
        rows, log = Path(temporary) / "rows.jsonl", Path(temporary) / "log.txt"
        started = time.monotonic()
        process = context.Process(target=work, args=(part, setting, rows, log))
        process.start()
        process.join(limit)
        ended = process.is_alive()
        if ended:
            # what it has started, too: compilers and tests have processes of their own
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.join()
        seconds = round(time.monotonic() - started, 2)
        status = "cut" if ended else "done" if process.exitcode == 0 else "failed"
        reason = f"at its limit of {limit:.0f} s; {last_lines(log, 1000)}" if ended else ""
        reason = reason or ("" if status == "done" else last_lines(log))
        return Result(part.name, status, seconds, reason, read_rows(rows))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a file of rows."""
    lines = path.read_text("utf-8").split("\n")[:-1] if path.is_file() else []
    return [json.loads(line) for line in lines]


def last_lines(log: Path, length: int = 4000) -> str:
    """Return the end of a log."""
    return log.read_text("utf-8", errors="replace")[-length:].strip() if log.is_file() else "it left no log"


def work(part: Part, setting: Setting, rows: Path, log: Path) -> None:
    """Measure a part: the body of a child."""
    os.setsid()  # a group of its own, which is ended as a whole
    with log.open("w") as errors:
        # after the files: what a library prints goes to the log, and the table stays readable
        os.dup2(errors.fileno(), 1)
        os.dup2(errors.fileno(), 2)
        try:
            module = import_module(f"benchmarks.gpu.cases.{part.module}")
            with rows.open("a") as file:
                for row in module.measure(setting, part.case):
                    file.write(json.dumps(row) + "\n")
                    file.flush()
        except BaseException:
            errors.write(traceback.format_exc())
            errors.flush()
            os._exit(1)
    os._exit(0)  # nothing that a library registered may wait for the device here
