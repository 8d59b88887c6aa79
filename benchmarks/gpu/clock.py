"""Times, memory and errors of calls on a device, the same way for every part."""

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.run import Setting
from runtime.engines.captured import record_graph

Row = dict[str, Any]
Call = Callable[[], Tensor | tuple[Tensor, ...]]

WARM_UP, MOST = 3, 300
"""Calls before the clock, and timed ones at most."""


def wait(device: str) -> None:
    """Wait until a device is idle."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def time_call(call: Callable[[], object], setting: Setting, *, warm_up: int = WARM_UP) -> Row:
    """Return median and quartiles of a call, milliseconds, and the most memory that it held, MiB.

    On CUDA the time is that between two events around the call, so the device's own; where Python is the slower of the
    two it is Python's.
    """
    cuda = setting.device.startswith("cuda")
    for _ in range(0 if setting.tiny else warm_up):
        call()
    wait(setting.device)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    marks: list[Any] = []
    started = time.perf_counter()
    while len(marks) < 2 or (len(marks) < MOST and time.perf_counter() - started < setting.seconds):
        if cuda:
            pair = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            pair[0].record()
            call()
            pair[1].record()
        else:
            begin = time.perf_counter()
            call()
            pair = begin, time.perf_counter()
        marks.append(pair)
        if len(marks) % 16 == 0:
            wait(setting.device)  # else a slow device has minutes of work before the clock is looked at
    wait(setting.device)
    times = [a.elapsed_time(b) if cuda else 1e3 * (b - a) for a, b in marks]
    low, middle, high = statistics.quantiles(times, n=4)
    row: Row = {"ms": round(middle, 4), "quartiles_ms": [round(low, 4), round(high, 4)]}
    if cuda:
        row["memory_mib"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return row


def captured(call: Call) -> Call:
    """Return a call as one CUDA graph; its results lie where the first replay put them."""
    results: list[Tensor | tuple[Tensor, ...]] = []

    def remembered() -> None:
        results[:] = [call()]

    play = record_graph(remembered)

    def replay() -> Tensor | tuple[Tensor, ...]:
        play()
        return results[0]

    return replay


@contextmanager
def tf32(on: bool) -> Iterator[None]:
    """Let float32 products and convolutions keep ten bits of their factors, or not, while the block runs."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = on
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def tensors(result: Tensor | tuple[Tensor, ...]) -> list[Tensor]:
    """Return a call's results as copies on the CPU in float64."""
    several = result if isinstance(result, tuple) else (result,)
    return [tensor.detach().double().cpu() for tensor in several]


def difference(got: list[Tensor], expected: list[Tensor]) -> Row:
    """Return the worst relative distance, by norms, and the worst cosine of results with those expected."""
    worst, cosine = 0.0, 1.0
    for a, b in zip(got, expected, strict=True):
        size = float(b.norm())
        worst = max(worst, float((a - b).norm()) / size if size else float(a.norm()))
        if size and float(a.norm()):
            cosine = min(cosine, float(torch.dot(a.flatten(), b.flatten()) / (a.norm() * b.norm())))
    finite = all(bool(torch.isfinite(tensor).all()) for tensor in got)
    return {"error": worst, "cosine": round(cosine, 7)} if finite else {"error": "not finite"}


def in_ways(
    case: str, ways: Mapping[str, Callable[[], Call]], setting: Setting, *, operations: float = 0.0
) -> Iterator[Row]:
    """Yield a row for each way to run a case; errors are against the first.

    Args:
        case: what is run.
        ways: for each name what prepares the call.
        setting: where.
        operations: of a call, for its rate; 0 leaves the rate out.
    """
    expected: list[Tensor] | None = None
    for name, prepare in ways.items():
        row: Row = {"case": case, "way": name}
        try:
            call = prepare()
            got = tensors(call())
            row |= time_call(call, setting)
            if operations:
                row["tflops"] = operations / row["ms"] / 1e9
            row |= {} if expected is None else difference(got, expected)
            expected = expected or got
        except Exception as error:  # any: the other ways run, and the row says why this one did not
            row["failed"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        call = None
        gc.collect()
        if setting.device.startswith("cuda"):
            torch.cuda.empty_cache()
        yield row
