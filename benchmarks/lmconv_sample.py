"""What does a sample of LMConv cost: with the cached sampler, and with a whole forward pass for every pixel?

    python -m benchmarks.lmconv_sample [--json] [--threads N] [--only NAME] [--count 16]

Both use the same network, of the preset `small` with random weights, in one run. The cached sampler draws all pixels,
over ONNX Runtime. Of the slow one, a few whole forward passes are timed and multiplied by the number of pixels: in
PyTorch with the fast grouped convolutions, and in ONNX Runtime with the prefill network at all positions; the faster
of the two is `full_s`. Processor time stands beside wall-clock time, for machines that do other things too. The
floor is what reading the weights once a position would take at the bandwidth of memory.
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.environment import describe_environment
from benchmarks.options import TableOptions
from export.lmconv import export_networks
from export.lmconv.networks import make_networks
from runtime.command.options import parse_options
from runtime.command.ranges import Count
from runtime.engines.backends.ort import OrtEngine
from runtime.engines.precision import Storage
from runtime.engines.spec import WEIGHTS
from runtime.errors import run_main
from runtime.pixels.draw import make_noise
from runtime.pixels.heads import to_unit
from runtime.pixels.neighbours import neighbour_rows
from runtime.pixels.orders import Order, parse_orders
from runtime.pixels.sampler import Sampler
from runtime.pixels.walk import Walk
from train.lmconv.network import PRESETS, Architecture, LocallyMaskedPixelCNN

MEMORY = 1 << 30
"""Bytes of the array whose reading measures the bandwidth: more than a processor's caches hold."""

STEPS = 100
"""Positions timed with and without what is around the engine."""


@dataclass(frozen=True)
class Case:
    """Pictures to draw."""

    side: int
    channels: int
    levels: int
    order: str = "s-curve:0"

    @property
    def name(self) -> str:
        """What is drawn."""
        return f"{self.side}x{self.side}, {self.channels} channels, {self.levels} levels, {self.order}"


CASES = (Case(28, 1, 2), Case(32, 3, 256))


def build(case: Case) -> tuple[LocallyMaskedPixelCNN, Sampler]:
    """Return a random network of the preset `small`, and its sampler over ONNX Runtime."""
    torch.manual_seed(0)
    preset = PRESETS["small"]
    architecture = Architecture(channels=case.channels, levels=case.levels, mask_conditioning=False, **preset)
    network = LocallyMaskedPixelCNN(architecture).eval()
    networks = make_networks(network, (case.side, case.side), Storage.FLOAT32)
    files, weights = export_networks(networks, lambda line: None)
    # As the bundle's sampler has it: a step's matrices are too small to share.
    threads = {"prefill": None, "step": 1}
    engines = {
        role: OrtEngine(part.spec, part.files["model.onnx"], threads=threads[role], shared={WEIGHTS: weights})
        for role, part in files.items()
    }
    return network, Sampler(engines["prefill"], engines["step"], network.architecture)


def seconds_of(call: Callable[[], object], times: int) -> tuple[float, float]:
    """Return median seconds of a call, by the clock and of the processor, after one call that does not count."""
    call()
    taken, spent = [], []
    for _ in range(times):
        # Both: on a busy machine the first says how long one waits, the second how much was done.
        begin = time.perf_counter(), time.process_time()
        call()
        taken.append(time.perf_counter() - begin[0])
        spent.append(time.process_time() - begin[1])
    return statistics.median(taken), statistics.median(spent)


def full_seconds(network: LocallyMaskedPixelCNN, sampler: Sampler, levels: torch.Tensor, order: Order, times: int):
    """Return seconds of one whole forward pass by implementation, and the greatest difference to the walk."""
    size = (levels.shape[2], levels.shape[3])
    masks, unit = network.masks(order, size), to_unit(levels, network.architecture)
    rows = unit.flatten(2).transpose(1, 2).contiguous()
    kernel = network.architecture.kernel
    taps = [torch.from_numpy(neighbour_rows(order, size, kernel, d)) for d in sampler.layout.dilations]
    unit = unit.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = network(unit[:1], masks)
        seconds = {
            "PyTorch, grouped": seconds_of(lambda: network(unit, masks), times),
            "ONNX Runtime, prefill": seconds_of(lambda: sampler.prefill(rows, *taps), times),
        }
    parameters = sampler.parameters(levels[:1], order)
    return seconds, float((parameters - expected).abs().max())


def engine_share(sampler: Sampler, levels: torch.Tensor, order: Order) -> float:
    """Return the part of a step's processor time that is spent in the step network's engine."""
    size = (levels.shape[2], levels.shape[3])
    observed = torch.zeros(len(order), dtype=torch.bool)
    walk = Walk(sampler.step, sampler.pixels, order, size, levels.flatten(2).transpose(1, 2).contiguous(), observed)
    walk.begin(0, make_noise((len(order), len(levels)), sampler.pixels, torch.Generator().manual_seed(0)))
    spent = [0.0, 0.0]
    for _ in range(STEPS):
        # In turns, so that both see the same phases of the machine.
        for which, call in enumerate((walk._run, walk.advance)):
            begin = time.process_time()
            call()
            spent[which] += time.process_time() - begin
    return spent[0] / spent[1]


def bandwidth() -> float:
    """Return bytes a second that one core reads from memory: the best of five readings of `MEMORY` bytes."""
    numbers = np.ones(MEMORY // 4, np.float32)
    best = float("inf")
    for _ in range(5):
        begin = time.perf_counter()
        # A product with itself reads each number once, and writes nothing.
        np.dot(numbers, numbers)
        best = min(best, time.perf_counter() - begin)
    return MEMORY / best


def measure(case: Case, count: int, forwards: int) -> dict:
    """Return a case's figures."""
    size, pixels = (case.side, case.side), case.side**2
    network, sampler = build(case)
    order = parse_orders(case.order, size)[0]
    draws = torch.Generator().manual_seed(0)
    sampler.sample(order, size, generator=draws, count=count)
    begin, spent = time.perf_counter(), time.process_time()
    levels = sampler.sample(order, size, generator=draws, count=count)
    cached, spent = time.perf_counter() - begin, time.process_time() - spent
    forward, error = full_seconds(network, sampler, levels, order, forwards)
    best = min(forward, key=lambda name: forward[name])
    read = 4 * sum(parameter.numel() for parameter in network.parameters())
    rate = bandwidth()
    return {
        "case": case.name,
        "images": count,
        "cached_s": cached,
        "cached_cpu_s": spent,
        "full_s": forward[best][0] * pixels,
        "full_cpu_s": forward[best][1] * pixels,
        "speedup": forward[best][0] * pixels / cached,
        "full_by": best,
        "full_forwards_timed": forwards,
        "full_forwards_needed": pixels,
        "forward_s": {name: seconds for name, (seconds, _) in forward.items()},
        "engine_share": engine_share(sampler, levels, order),
        "weight_bytes_a_position": read,
        "memory_bytes_a_second": rate,
        "floor_s": pixels * read / rate,
        "max_error": error,
    }


@dataclass(frozen=True, kw_only=True)
class Options(TableOptions):
    """What is timed."""

    count: Count = 16
    """Pictures drawn together."""
    forwards: Count = 5
    """Whole forward passes timed."""


def main() -> None:
    """Measure all cases and print them."""
    options = parse_options(Options, "benchmarks.lmconv_sample", description=__doc__)
    options.set_threads()
    if not options.json:
        print(describe_environment())
        print(f"{'case':42} {'cached s':>9} {'full s':>9} {'faster':>7} {'engine':>7} {'floor s':>8} {'error':>8}  by")
    for case in CASES:
        if options.only not in case.name:
            continue
        result = measure(case, options.count, options.forwards)
        if options.json:
            print(json.dumps({**result, "threads": torch.get_num_threads()}), flush=True)
        else:
            print(
                f"{case.name:42} {result['cached_s']:9.2f} {result['full_s']:9.1f} {result['speedup']:7.0f} "
                f"{result['engine_share']:7.0%} {result['floor_s']:8.2f} {result['max_error']:8.1e}  "
                f"{result['full_by']}, {options.forwards} of {result['full_forwards_needed']} passes timed",
                flush=True,
            )


if __name__ == "__main__":
    run_main(main)
