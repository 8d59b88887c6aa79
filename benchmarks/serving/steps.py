"""A call of the denoiser, and a step of text to SVG: with networks in process, and in a Triton server.

Both sides take turns, so that what else the machine does meets them alike.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from benchmarks.serving.precedence import precedence
from benchmarks.serving.rows import describe, row
from runtime.command.method import draw
from runtime.engines.bundle import DiffusionBundle
from runtime.loop.events import Stepped
from runtime.vectorfusion import METHOD, SDS_FROM_SCRATCH
from serving.triton.configs import model_name
from serving.triton.remote import maker_of
from serving.triton.server import TritonServer

RUN = 10
"""Calls of a side before the next side has its turn."""


def pair() -> tuple[torch.Tensor, ...]:
    """Return the denoiser's inputs of a guided step."""
    return torch.randn(2, 4, 16, 16), torch.full((2,), 500), torch.randn(2, 17, 384)


def timed(call: Callable[[], object], count: int) -> list[float]:
    """Return the milliseconds of some calls."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - began))
    return times


def time_calls(server: TritonServer, seconds: float, *, realtime: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the time of the denoiser's call in process and through the server, and what computes meanwhile."""
    model, bundle = model_name("icons", "denoiser"), DiffusionBundle.load("icons", threads=1)
    spec, inputs = bundle.specs["denoiser"], pair()
    remote = {name: maker_of(address)(model, spec) for name, address in addresses(server).items()}
    engines: dict[str, Callable[..., Any]] = {"in process": bundle.engine("denoiser"), **remote}
    assert server.process is not None
    pids = {"client": os.getpid(), "server": server.process.pid, "network": server.stubs(model)[0]}
    for engine in engines.values():
        timed(lambda engine=engine: engine(*inputs), RUN)
    times: dict[str, list[float]] = {name: [] for name in engines}
    used = {name: dict.fromkeys(pids, 0.0) for name in engines}
    medians: list[dict[str, float]] = []
    with precedence(server, realtime=realtime):
        until = time.perf_counter() + seconds * len(engines)
        while time.perf_counter() < until or len(medians) < 3:
            medians.append({})
            for name, engine in engines.items():
                before = {part: cpu_ms(pid) for part, pid in pids.items()}
                calls = timed(lambda engine=engine: engine(*inputs), RUN)
                for part, pid in pids.items():
                    used[name][part] += cpu_ms(pid) - before[part]
                times[name] += calls
                medians[-1][name] = statistics.median(calls)
    for name in engines:
        cpu = {f"{part}_cpu_ms": value / len(times[name]) for part, value in used[name].items()}
        yield row(f"denoiser, a pair: {name}", **describe(times[name]), overhead_percent=overhead(medians, name), **cpu)
    for engine in remote.values():
        engine.close()


def addresses(server: TritonServer) -> dict[str, str]:
    """Return the ways to a server's networks."""
    return {"Triton, shared memory": server.http, "Triton, gRPC alone": server.grpc}


def overhead(medians: Sequence[Mapping[str, float]], name: str) -> float:
    """Return what a side costs beside the calls in process of the same turns, the median in percent."""
    return 100 * (statistics.median(turn[name] / turn["in process"] for turn in medians) - 1)


def cpu_ms(pid: int) -> float:
    """Return the milliseconds that the threads of a process have computed."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6


def time_steps(server: TritonServer, steps: int, rounds: int, *, realtime: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the time of a step of text to SVG with networks in process and in the server."""
    make = maker_of(server.http)
    remote = DiffusionBundle.load(
        "icons",
        threads=1,
        make=lambda graph, choice, **_: make(model_name("icons", graph.name), graph.spec),
    )
    sides = {"in process": DiffusionBundle.load("icons", threads=1), "Triton, shared memory": remote}
    times: dict[str, list[float]] = {name: [] for name in sides}
    medians: list[dict[str, float]] = []
    config = METHOD.config(**{**vars(SDS_FROM_SCRATCH), "prompt": "a red apple", "steps": steps, "paths": 32})
    for turn in range(rounds + 1):
        taken: dict[str, list[float]] = {}
        for name, bundle in sides.items():
            at: list[float] = []
            # The first drawing of each side compiles kernels and loads networks.
            with precedence(server, realtime=realtime and turn > 0):
                draw(METHOD, config, bundle, report=lambda event, at=at: note(event, at))
            taken[name] = [1e3 * (b - a) for a, b in pairwise(at[2:])]
        if turn:
            medians.append({name: statistics.median(taken[name]) for name in sides})
            for name in sides:
                times[name] += taken[name]
    for name in sides:
        case = f"a step of text to SVG: {name}"
        yield row(case, **describe(times[name]), overhead_percent=overhead(medians, name))


def note(event: object, at: list[float]) -> None:
    """Note when a step ended."""
    if isinstance(event, Stepped):
        at.append(time.perf_counter())
