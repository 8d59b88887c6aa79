"""Precedence over all other work of the machine, so that a busy one can be timed on, too."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime.errors import UserError
from serving.triton.server import TritonServer

PRIORITY = 5
"""Of real-time threads, which go before all that are not."""


@contextmanager
def precedence(server: TritonServer, *, realtime: bool) -> Iterator[None]:
    """Let this process, a server and the processes of its models go first, where asked.

    Other work still takes its share of the caches and of a core's second thread, of all sides alike.

    Raises:
        UserError: the machine does not allow it.
    """
    if not realtime:
        yield
        return
    assert server.process is not None
    pids = [os.getpid(), server.process.pid, *children_of(server.process.pid)]
    schedule(pids, os.SCHED_FIFO, PRIORITY)
    try:
        yield
    finally:
        schedule(pids, os.SCHED_OTHER, 0)


def schedule(pids: Sequence[int], policy: int, priority: int) -> None:
    """Set the scheduling of all threads of some processes; those that they start later inherit it."""
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                with suppress(ProcessLookupError):
                    os.sched_setscheduler(int(task.name), policy, os.sched_param(priority))
            except PermissionError:
                raise UserError("--realtime: expected to be allowed real-time threads; run it as root") from None


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text().split()]
