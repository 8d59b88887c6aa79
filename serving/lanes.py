"""A lane does one job at a time; this one is a process of this machine. See `serving.triton.lanes` for another kind."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Protocol

from runtime.installing import HOUSE
from serving.work import Task

Report = tuple[str, dict[str, Any]]
"""Kind and data of what a worker says; the kinds of the end are `done`, `stopped`, `failed` and `died`."""

ENDS = ("done", "stopped", "failed", "died")
"""Kinds that are the last of a job."""


class Lane(Protocol):
    """What does jobs, one at a time."""

    name: str
    """For logs and metrics."""

    def run(self, task: Task) -> Iterator[Report]:
        """Do a job and yield its reports; the last one is of a kind of `ENDS`."""
        ...

    def stop(self) -> None:
        """Let the job end between two steps, its state saved; from any thread."""
        ...

    def kill(self) -> None:
        """End at once what does the job; from any thread."""
        ...

    def missing(self) -> list[str]:
        """Return what it needs and has not: names of processes that have died, not yet replaced."""
        ...

    def heal(self) -> None:
        """Start again what is missing; called now and then while no job is under way."""
        ...

    def close(self) -> None:
        """End; no job is under way."""
        ...


class ProcessLane:
    """A worker process of this machine, started when it is first needed and again when it has died.

    Args:
        name: for logs.
        environment: added to that of this process.
    """

    def __init__(self, name: str, environment: dict[str, str] | None = None) -> None:
        self.name = name
        self.environment = environment or {}
        self._process: subprocess.Popen[str] | None = None
        self._access = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Id of the process, where there is one."""
        return self._process.pid if self._process else None

    def warm(self) -> None:
        """Start the process before the first job comes."""
        self._started()

    def run(self, task: Task) -> Iterator[Report]:
        """Do a job; see `Lane.run`."""
        process = self._started()
        self._order(process, {"do": "draw", "task": asdict(task)})
        assert process.stdout is not None
        for line in process.stdout:
            report = json.loads(line)
            if report["kind"] == "ready":
                continue
            yield report["kind"], report["data"]
            if report["kind"] in ENDS:
                return
        code = process.wait()
        self._forget(process)
        yield "died", {"reason": f"its process ended with code {code}"}

    def stop(self) -> None:
        """Let the job end between two steps."""
        if self._process is not None:
            self._order(self._process, {"do": "stop"})

    def kill(self) -> None:
        """Kill the process."""
        if self._process is not None:
            self._process.kill()

    def missing(self) -> list[str]:
        """Return nothing: a process is started when it is needed."""
        return []

    def heal(self) -> None:
        """Do nothing; see `missing`."""

    def close(self) -> None:
        """End the process: it leaves when its orders end."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.close()
            process.wait(timeout=1.0)
        except (OSError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
        process.stdout.close()
        self._process = None

    def _started(self) -> subprocess.Popen[str]:
        with self._access:
            if self._process is None or self._process.poll() is not None:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "serving.worker"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
                    env={**os.environ, **_path(), **self.environment},
                )  # fmt: skip
            return self._process

    def _forget(self, process: subprocess.Popen[str]) -> None:
        for stream in (process.stdin, process.stdout):
            try:
                if stream is not None:
                    stream.close()
            except OSError:  # what was still to be written to a process that has died
                pass
        with self._access:
            if self._process is process:
                self._process = None

    def _order(self, process: subprocess.Popen[str], order: dict[str, Any]) -> None:
        assert process.stdin is not None
        try:
            with self._access:
                process.stdin.write(json.dumps(order) + "\n")
                process.stdin.flush()
        except (BrokenPipeError, ValueError):  # it has died, which the end of its reports says
            pass


def _path() -> dict[str, str]:
    """Return the variable that lets a worker find these packages, whatever the working directory holds."""
    # PYTHONSAFEPATH: `python -m` would look into the working directory first, where files of another project may lie.
    others = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    return {"PYTHONPATH": os.pathsep.join(dict.fromkeys([str(HOUSE), *others])), "PYTHONSAFEPATH": "1"}
