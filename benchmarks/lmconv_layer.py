"""What does a locally masked convolution cost, forward and backward? As written, saving memory (Fig. 8.4), and ours.

    python -m benchmarks.lmconv_layer [--json] [--threads N] [--only NAME]

The layers are those of the 46-million-parameter network. Times of the three are taken in turns in one run. Memory is
the greatest number of bytes that tensors held at once beyond inputs, weights and the incoming gradient, counted at
every allocation of PyTorch's CPU allocator by its profiler: saved tensors and temporaries alike.
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.environment import describe_environment
from benchmarks.options import TableOptions
from runtime.command.options import parse_options
from runtime.command.ranges import Duration
from runtime.errors import run_main
from runtime.pixels.orders import parse_orders
from train.lmconv.layer import LayerMask, LocallyMaskedConv2d, Method, use_method

METHODS: tuple[Method, ...] = ("plain", "saved", "grouped")
LABELS = {"plain": "plain autograd", "saved": "Fig. 8.4", "grouped": "ours"}


@dataclass(frozen=True)
class Case:
    """One layer under one order."""

    inputs: int
    outputs: int
    side: int
    order: str
    dilation: int = 1
    bf16: bool = False
    batch: int = 8

    @property
    def name(self) -> str:
        """What is measured."""
        how = "bfloat16" if self.bf16 else "float32"
        return (
            f"{self.order}, {self.inputs} to {self.outputs}, {self.side}x{self.side}, dilation {self.dilation}, {how}"
        )


CASES = tuple(
    Case(inputs, outputs, side, order, dilation, bf16)
    for order, bf16 in (("s-curve:0", False), ("s-curve:4", False), ("s-curve:0", True))
    for side in (28, 32)
    for inputs, outputs, dilation in ((160, 160, 1), (160, 160, 2), (320, 160, 1), (320, 320, 1))
) + tuple(Case(160, 160, side, order) for order in ("raster:0", "hilbert:0") for side in (28, 32))


def rounds_of(case: Case) -> dict[Method, Callable[[], None]]:
    """Return, for each implementation, a function that runs the layer forward and backward once."""
    torch.manual_seed(0)
    size = (case.side, case.side)
    mask = LayerMask.of(parse_orders(case.order, size)[0], size, (3, 3), case.dilation, first=False)
    rounds: dict[Method, Callable[[], None]] = {}
    for method in METHODS:
        layer = LocallyMaskedConv2d(case.inputs, case.outputs, 3, case.dilation)
        use_method(layer, method)
        precision = torch.bfloat16 if case.bf16 else torch.float32
        x = _lay_out(torch.randn(case.batch, case.inputs, *size, dtype=precision), method, mask)
        slope = _lay_out(torch.randn(case.batch, case.outputs, *size, dtype=precision), method, mask)
        leaves = [x.requires_grad_(), layer.weight, layer.bias]

        def once(layer=layer, x=x, slope=slope, leaves=leaves) -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=case.bf16):
                y = layer(x, mask)
            torch.autograd.grad(y, leaves, slope)

        rounds[method] = once
    return rounds


def _lay_out(x: torch.Tensor, method: Method, mask: LayerMask) -> torch.Tensor:
    """Return a picture in the memory layout that the network hands to a layer of this kind."""
    if method != "grouped":
        return x
    if mask.turned:
        return x.transpose(2, 3).contiguous(memory_format=torch.channels_last).transpose(2, 3)
    return x.contiguous(memory_format=torch.channels_last)


def time_rounds(rounds: dict[Method, Callable[[], None]], seconds: float) -> dict[Method, list[float]]:
    """Return milliseconds of each implementation, run in turns, at least five times each and for about `seconds`."""
    for once in rounds.values():
        once()
        once()
    times: dict[Method, list[float]] = {method: [] for method in rounds}
    started = time.perf_counter()
    while len(times["plain"]) < 5 or time.perf_counter() - started < seconds:
        for method, once in rounds.items():
            begin = time.perf_counter()
            once()
            times[method].append(1e3 * (time.perf_counter() - begin))
    return times


def peak_bytes(once: Callable[[], None]) -> int:
    """Return the greatest number of bytes held at once by tensors that a round allocates."""
    once()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        once()
    held = peak = 0
    assert recorded.profiler is not None and recorded.profiler.kineto_results is not None
    changes = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(changes, key=lambda e: e.start_ns()):
        held += event.nbytes()  # pyright: ignore
        peak = max(peak, held)
    return peak


def measure(case: Case, seconds: float) -> dict:
    """Return a case's figures: milliseconds (median and quartiles) and MiB of each, and ratios to plain autograd."""
    rounds = rounds_of(case)
    times = time_rounds(rounds, seconds)
    result: dict = {"case": case.name, "batch": case.batch, "rounds": len(times["plain"])}
    for method in METHODS:
        low, median, high = statistics.quantiles(times[method], n=4)
        result[method] = {"ms": median, "quartiles_ms": [low, high], "peak_mib": peak_bytes(rounds[method]) / 2**20}
    for method in METHODS[1:]:
        result[f"{method}_speedup"] = result["plain"]["ms"] / result[method]["ms"]
        result[f"{method}_memory_ratio"] = result["plain"]["peak_mib"] / result[method]["peak_mib"]
    return result


@dataclass(frozen=True, kw_only=True)
class Options(TableOptions):
    """What is timed."""

    seconds: Duration = 3.0
    """Seconds to spend on each case."""


def main() -> None:
    """Measure all cases and print them."""
    options = parse_options(Options, "benchmarks.lmconv_layer", description=__doc__)
    options.set_threads()
    if not options.json:
        print(describe_environment())
        print(f"{'case':55} " + " ".join(f"{LABELS[m] + ' ms':>18} {'MiB':>6}" for m in METHODS) + "  faster  smaller")
    for case in CASES:
        if options.only not in case.name:
            continue
        result = measure(case, options.seconds)
        if options.json:
            print(json.dumps({**result, "threads": torch.get_num_threads()}), flush=True)
        else:
            columns = " ".join(f"{result[m]['ms']:18.1f} {result[m]['peak_mib']:6.1f}" for m in METHODS)
            ratios = f"{result['grouped_speedup']:7.1f} {result['grouped_memory_ratio']:8.1f}"
            print(f"{case.name:55} {columns} {ratios}", flush=True)


if __name__ == "__main__":
    run_main(main)
