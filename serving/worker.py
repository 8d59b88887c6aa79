"""A process that does jobs, one after the other: orders come on stdin, reports go to stdout, a line of JSON each.

    {"do": "draw", "task": {...}}     {"do": "stop"}
    {"kind": "step", "data": {...}}   {"kind": "done", "data": {...}}   {"kind": "stopped"}   {"kind": "failed", ...}

When stdin ends, the server has gone, killed perhaps: the run stops between two steps with its state saved, and the
process ends. So a worker never outlives its server by more than a step.
"""

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

from runtime.command.threads import limit_spinning
from runtime.errors import UserError
from serving.previews import Previews
from serving.work import Task, perform


def main() -> None:
    """Do jobs until stdin ends."""
    limit_spinning()
    # Ctrl-C in a terminal reaches every process of the group; the server decides what becomes of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # What a library prints must not end up between the lines of the protocol.
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    Worker(sys.stdin, reports).work()


class Worker:
    """One end of the protocol.

    Args:
        orders: where orders come from.
        reports: where reports go.
    """

    def __init__(self, orders: IO[str], reports: IO[str]) -> None:
        self.orders, self.reports = orders, reports
        self.stop = threading.Event()
        self.tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()

    def work(self) -> None:
        """Do what is ordered until the orders end."""
        threading.Thread(target=self.listen, daemon=True).start()
        self.send("ready", {})
        while (task := self.tasks.get()) is not None:
            self.draw(task)

    def listen(self) -> None:
        """Take orders, while a job is done in the main thread."""
        for line in self.orders:
            order = json.loads(line)
            if order["do"] == "draw":
                self.stop.clear()
                self.tasks.put(Task(**order["task"]))
            elif order["do"] == "stop":
                self.stop.set()
        self.stop.set()
        self.tasks.put(None)

    def draw(self, task: Task) -> None:
        """Do a job and report how it ended."""
        from runtime.loop.signals import StoppedRun

        began = time.monotonic()
        try:
            load = None
            if task.networks:
                from serving.triton.remote import load_remote as load
            previews = Previews(Path(task.folder) / "preview", self.send)
            manifest = perform(task, report=previews, stop=self.stop, load=load)
            self.send("done", {**manifest, "seconds": round(time.monotonic() - began, 3)})
        except StoppedRun:
            self.send("stopped", {})
        except (UserError, FloatingPointError, OSError) as error:
            self.send("failed", {"message": str(error)})
        # Whatever else a method raises is its mistake; the worker takes the next job.
        except Exception as error:
            self.send("failed", {"message": f"{type(error).__name__}: {error}"[:500]})
            import traceback

            traceback.print_exc()

    def send(self, kind: str, data: dict[str, Any]) -> None:
        """Report something; where nobody listens any more, the end of stdin will stop the run."""
        with contextlib.suppress(BrokenPipeError):
            self.reports.write(json.dumps({"kind": kind, "data": data}) + "\n")
            self.reports.flush()


if __name__ == "__main__":
    main()
