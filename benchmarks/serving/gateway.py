"""The gateway by itself: jobs are accepted, followed and cancelled, and nothing is drawn."""

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.serving.rows import percentile, row
from serving.client import parse_stream
from serving.gateway.server import Address, RunningServer, Setup
from serving.methods import served_methods


@contextmanager
def idle_gateway(folder: Path) -> Iterator[httpx.Client]:
    """Yield a client of a gateway without lanes: jobs wait, so that only the gateway itself is timed."""
    setup = Setup(store=folder, served=served_methods(), lanes=[], address=Address(port=0))
    server, ready = RunningServer(setup), threading.Event()
    thread = threading.Thread(target=server.run, args=(lambda url: ready.set(),), daemon=True)
    thread.start()
    ready.wait()
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        while True:
            try:
                client.get("/v1/health/live")
                break
            except httpx.HTTPError:
                time.sleep(0.05)
        yield client
    server.stop()
    thread.join()


def time_gateway(folder: Path, submissions: int) -> Iterator[dict[str, Any]]:
    """Yield the times until a job is accepted, until its first event is there, and until it is cancelled."""
    times: dict[str, list[float]] = {"submit": [], "first event": [], "cancel": []}
    with idle_gateway(folder) as client:
        for seed in range(submissions):
            began = time.perf_counter()
            name = client.post("/v1/jobs", json={"method": "lmconv_sample", "options": {"seed": seed}}).json()["id"]
            times["submit"].append(1e3 * (time.perf_counter() - began))
            with client.stream("GET", f"/v1/jobs/{name}/events") as response:
                next(parse_stream(response.iter_lines()))
            times["first event"].append(1e3 * (time.perf_counter() - began))
            began = time.perf_counter()
            client.post(f"/v1/jobs/{name}/cancel")
            times["cancel"].append(1e3 * (time.perf_counter() - began))
    for case, values in times.items():
        yield row(f"gateway: {case}", p50_ms=statistics.median(values), p99_ms=percentile(values, 0.99))
