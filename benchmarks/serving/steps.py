"""A call of the denoiser, and a step of text to SVG: with networks in process, and in a Triton server.

Both sides take turns, so that what else the machine does meets them alike.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch

from benchmarks.serving.rows import describe, row
from runtime.command.method import draw
from runtime.engines.bundle import DiffusionBundle
from runtime.loop.events import Stepped
from runtime.vectorfusion import METHOD
from runtime.vectorfusion.config import preset_config
from serving.triton.configs import model_name
from serving.triton.remote import GrpcEngine
from serving.triton.server import TritonServer

TURNS = 4
"""How often each side of single calls has its turn."""


def pair() -> tuple[torch.Tensor, ...]:
    """Return the denoiser's inputs of a guided step."""
    return torch.randn(2, 4, 16, 16), torch.full((2,), 500), torch.randn(2, 17, 384)


def timed(call: Callable[[], object], seconds: float) -> list[float]:
    """Return the milliseconds of calls, after one that is left out."""
    call()
    times, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < 5:
        began = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - began))
    return times


def time_calls(server: TritonServer, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield the time of the denoiser's call in process and through the server."""
    bundle = DiffusionBundle.load("icons", threads=1)
    spec, inputs = bundle.specs["denoiser"], pair()
    engines: dict[str, Callable[..., Any]] = {"in process": bundle.engine("denoiser")}
    for shared in (True, False):
        name = "Triton, shared memory" if shared else "Triton, gRPC alone"
        engines[name] = GrpcEngine(model_name("icons", "denoiser"), spec, server.grpc, shared=shared)
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(TURNS):
        for name, engine in engines.items():
            times[name] += timed(lambda engine=engine: engine(*inputs), seconds / TURNS)
    first = statistics.median(times["in process"])
    for name in engines:
        yield row(f"denoiser, a pair: {name}", **describe(times[name], first))


def time_steps(server: TritonServer, steps: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Yield the time of a step of text to SVG with networks in process and in the server."""
    remote = DiffusionBundle.load(
        "icons",
        threads=1,
        make=lambda graph, choice, **_: GrpcEngine(model_name("icons", graph.name), graph.spec, server.grpc),
    )
    sides = {"in process": DiffusionBundle.load("icons", threads=1), "Triton, shared memory": remote}
    times: dict[str, list[float]] = {name: [] for name in sides}
    base = preset_config("icon", "scratch")
    config = METHOD.config(**{**vars(base), "prompt": "a red apple", "steps": steps, "paths": 32})
    for turn in range(rounds + 1):
        for name, bundle in sides.items():
            at: list[float] = []
            draw(METHOD, config, bundle, report=lambda event, at=at: note(event, at))
            # The first drawing of each side compiles kernels and loads networks.
            times[name] += [1e3 * (b - a) for a, b in pairwise(at[2:])] if turn else []
    first = statistics.median(times["in process"])
    for name in sides:
        yield row(f"a step of text to SVG: {name}", **describe(times[name], first))


def note(event: object, at: list[float]) -> None:
    """Note when a step ended."""
    if isinstance(event, Stepped):
        at.append(time.perf_counter())
