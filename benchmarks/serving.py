"""What does a Triton server cost a loop, what do jobs side by side gain from it, and how fast does the gateway answer?

    python -m benchmarks.serving [--json] [--environment FOLDER]

A real tritonserver on this machine runs the networks of `icons`; its ONNX Runtime is the python backend that stands in
for NVIDIA's. Calls are guided pairs, as the loop makes them, one thread each. The gateway answers over real
connections, with a commit to the disk for each job that it takes.
"""

import json
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import torch
import tyro

from benchmarks.environment import describe_environment
from runtime.command.method import draw
from runtime.command.options import parse_options
from runtime.command.ranges import Count, Duration
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import run_main
from runtime.loop.events import Stepped
from runtime.vectorfusion import METHOD
from runtime.vectorfusion.config import preset_config
from serving.client import parse_stream
from serving.gateway.server import Address, RunningServer, Setup
from serving.methods import served_methods
from serving.repository import build_repository
from serving.triton.configs import model_name
from serving.triton.remote import GrpcEngine
from serving.triton.server import TritonServer, environment_folder

SIDE_BY_SIDE = (1, 2, 4, 8)
"""Jobs at once."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to time."""

    environment: Path | None = None
    """Folder of the server's environment; by default that of python -m serving up."""
    seconds: Duration = 4.0
    """Time for each case, seconds."""
    steps: Count = 20
    """Steps of a whole drawing."""
    submissions: Count = 100
    """Jobs that are submitted to the gateway."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """One JSON object a line in place of a table."""


def timed(call: Callable[[], object], seconds: float) -> list[float]:
    """Return the milliseconds of calls, after one that is left out."""
    call()
    times, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < 5:
        began = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - began))
    return times


def pair() -> tuple[torch.Tensor, ...]:
    """Return the denoiser's inputs of a guided step."""
    return torch.randn(2, 4, 16, 16), torch.full((2,), 500), torch.randn(2, 17, 384)


def row(case: str, **figures: float | str) -> dict[str, Any]:
    """Return a line of the table."""
    return {"case": case, **{name: round(v, 3) if isinstance(v, float) else v for name, v in figures.items()}}


def time_calls(server: TritonServer, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield the time of the denoiser's call in process and through the server."""
    bundle = DiffusionBundle.load("icons", threads=1)
    spec, inputs = bundle.specs["denoiser"], pair()
    engines: dict[str, Callable[..., Any]] = {"in process": bundle.engine("denoiser")}
    for shared in (True, False):
        name = "Triton, shared memory" if shared else "Triton, gRPC alone"
        engines[name] = GrpcEngine(model_name("icons", "denoiser"), spec, server.grpc, shared=shared)
    first = None
    for name, engine in engines.items():
        times = timed(lambda engine=engine: engine(*inputs), seconds)
        median = statistics.median(times)
        first = first or median
        yield row(f"denoiser, a pair: {name}", ms=median, overhead_percent=100 * (median / first - 1))


def time_steps(server: TritonServer, steps: int) -> Iterator[dict[str, Any]]:
    """Yield the time of a step of text to SVG with networks in process and in the server."""
    remote = DiffusionBundle.load(
        "icons",
        threads=1,
        make=lambda graph, choice, **_: GrpcEngine(model_name("icons", graph.name), graph.spec, server.grpc),
    )
    first = None
    for name, bundle in (("in process", DiffusionBundle.load("icons", threads=1)), ("Triton, shared memory", remote)):
        base = preset_config("icon", "scratch")
        config = METHOD.config(**{**vars(base), "prompt": "a red apple", "steps": steps, "paths": 32})
        at: list[float] = []
        draw(METHOD, config, bundle, report=lambda event, at=at: note(event, at))
        times = [1e3 * (b - a) for a, b in pairwise(at[2:])]
        median = statistics.median(times)
        first = first or median
        yield row(f"a step of text to SVG: {name}", ms=median, overhead_percent=100 * (median / first - 1))


def note(event: object, at: list[float]) -> None:
    """Note when a step ended."""
    if isinstance(event, Stepped):
        at.append(time.perf_counter())


def time_side_by_side(server: TritonServer, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield the guided pairs an hour of some jobs at once: each with its own networks, and with the server's."""
    for jobs in SIDE_BY_SIDE:
        own = [DiffusionBundle.load("icons", threads=1).engine("denoiser") for _ in range(jobs)]
        spec = DiffusionBundle.load("icons").specs["denoiser"]
        shared = [GrpcEngine(model_name("icons", "denoiser"), spec, server.grpc) for _ in range(jobs)]
        figures = {}
        for name, engines in (("own_networks", own), ("batched_by_triton", shared)):
            until = time.perf_counter() + seconds
            with ThreadPoolExecutor(jobs) as pool:
                counts = list(pool.map(lambda engine, until=until: _calls(engine, until), engines))
            figures[f"{name}_pairs_an_hour"] = round(3600 * sum(counts) / seconds)
        yield row(f"{jobs} side by side", **figures)
        for engine in shared:
            engine.close()


def _calls(engine: Callable[..., Any], until: float) -> int:
    inputs, count = pair(), 0
    while time.perf_counter() < until:
        engine(*inputs)
        count += 1
    return count


@contextmanager
def idle_gateway(folder: Path) -> Iterator[httpx.Client]:
    """Yield a client of a gateway without lanes: jobs wait, so that only the gateway itself is timed."""
    server, ready = (
        RunningServer(Setup(store=folder, served=served_methods(), lanes=[], address=Address(port=0))),
        threading.Event(),
    )
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
        ordered = sorted(values)
        yield row(f"gateway: {case}", p50_ms=statistics.median(values), p99_ms=ordered[int(0.99 * (len(ordered) - 1))])


def measure(config: Config) -> Iterator[dict[str, Any]]:
    """Yield each line of the table."""
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="tgm-serving-"))
    build_repository(folder / "repository", [DiffusionBundle.load("icons")], {})
    server = TritonServer(folder / "repository", folder / "work", config.environment or environment_folder())
    try:
        server.start()
        yield from time_calls(server, config.seconds)
        yield from time_steps(server, config.steps)
        yield from time_side_by_side(server, config.seconds)
        yield from time_gateway(folder / "store", config.submissions)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Measure and print."""
    config = parse_options(Config, "benchmarks.serving", description=__doc__)
    print(json.dumps({"environment": describe_environment()}) if config.json else describe_environment())
    for line in measure(config):
        figures = ", ".join(f"{name} {value}" for name, value in line.items() if name != "case")
        print(json.dumps(line) if config.json else f"{line['case']}: {figures}", flush=True)
    return 0


if __name__ == "__main__":
    run_main(main)
