"""A gateway on a port of its own, in this process or in one that can be killed."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from serving.client import parse_stream
from serving.gateway.server import Address, RunningServer, Setup
from serving.jobs import Limits
from serving.lanes import Lane, Report
from serving.methods import served_methods
from serving.previews import Previews
from serving.work import Task, perform
from tests.serving.conftest import until

ROOT = Path(__file__).parents[2]


class ThreadLane:
    """Does jobs in this process: no other Python has to start."""

    name = "thread"

    def __init__(self) -> None:
        self.halt = threading.Event()

    def run(self, task: Task) -> Iterator[Report]:
        from runtime.loop.signals import StoppedRun

        self.halt.clear()
        reports: list[Report] = []
        done = threading.Event()

        def work() -> None:
            previews = Previews(Path(task.folder) / "preview", lambda kind, data: reports.append((kind, data)))
            try:
                reports.append(("done", perform(task, report=previews, stop=self.halt)))
            except StoppedRun:
                reports.append(("stopped", {}))
            except Exception as error:
                reports.append(("failed", {"message": str(error)}))
            done.set()

        threading.Thread(target=work, daemon=True).start()
        while not done.is_set() or reports:
            if reports:
                yield reports.pop(0)
            else:
                done.wait(0.005)

    def stop(self) -> None:
        self.halt.set()

    def kill(self) -> None:
        self.halt.set()

    def missing(self) -> list[str]:
        return []

    def heal(self) -> None:
        pass

    def close(self) -> None:
        pass


@contextmanager
def gateway(
    folder: Path, lanes: int = 1, modules: tuple[str, ...] = ("tests.serving.toy",), use: Any = None, **address: Any
):
    """Yield a server in this process, and a client of it."""
    limits = Limits(queue=address.pop("queue", 256), upload=1 << 20)
    threads: list[Lane] = [ThreadLane() for _ in range(lanes)] if use is None else use
    setup = Setup(
        store=folder,
        served=served_methods(modules),
        lanes=threads,
        address=Address(**{"port": 0, **address}),
        limits=limits,
    )
    server, ready = RunningServer(setup), threading.Event()
    thread = threading.Thread(target=server.run, args=(lambda url: ready.set(),), daemon=True)
    thread.start()
    ready.wait()
    with httpx.Client(base_url=server.url, trust_env=False, timeout=20.0) as client:
        until(lambda: _answers(client))
        yield server, client
    server.stop()
    thread.join(10.0)
    assert not thread.is_alive()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/v1/health/live").status_code == 200
    except httpx.HTTPError:
        return False


CODE = """
import sys
from pathlib import Path
from serving.gateway.server import Address, Setup, serve
from serving.lanes import ProcessLane
from serving.methods import served_methods
from runtime.errors import run_main
store, lanes, modules, port = sys.argv[1:]
lanes = [ProcessLane(f"lane-{n}", {"OMP_NUM_THREADS": "1"}) for n in range(int(lanes))]
served, address = served_methods(modules.split(",")), Address(port=int(port))
setup = Setup(store=Path(store), served=served, lanes=lanes, address=address)
run_main(lambda: serve(setup, lambda url: print(url, flush=True)))
"""


class Server:
    """A server in a process of its own, with worker processes, to be killed."""

    def __init__(self, folder: Path, lanes: int = 1, modules: str = "tests.serving.toy", port: int = 0) -> None:
        words = [sys.executable, "-c", CODE, str(folder), str(lanes), modules, str(port)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder.parent)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url, "the server did not start"
        self.client = httpx.Client(base_url=self.url, trust_env=False, timeout=30.0)
        until(lambda: _answers(self.client))

    def submit(self, **options: Any) -> dict[str, Any]:
        return self.client.post("/v1/jobs", json={"method": "toy", "options": options}).json()

    def job(self, name: str) -> dict[str, Any]:
        return self.client.get(f"/v1/jobs/{name}").json()

    def end(self, number: int = signal.SIGKILL) -> int:
        """End the process by a signal and return its exit code."""
        return end(self.client, self.process, number)


def end(client: httpx.Client, process: subprocess.Popen, number: int) -> int:
    """End a server's process by a signal, and return its exit code."""
    client.close()
    process.send_signal(number)
    code = process.wait(timeout=30.0)
    assert process.stdout is not None
    process.stdout.close()
    return code


def events(client: httpx.Client, path: str, after: int | None = None, most: int = 10_000) -> list[dict[str, Any]]:
    """Return the events of a stream until it ends, or so many."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    received = []
    with client.stream("GET", path, headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        for event in parse_stream(response.iter_lines()):
            received.append(event)
            if len(received) >= most:
                break
    return received
