"""How fast could an optimization step be on this processor? Its networks' operations over the measured matrix rate.

    python -m benchmarks.floor [--bundle icons] [--weights FOLDER] [--threads N] [--json]

Operations are those of PyTorch's modules in float32, counted by PyTorch; a multiplication and an addition are two. A
step has the denoiser on the guided pair, and the latent encoder forward and backward by its images alone. The rate is
that of the best of some square products and convolutions. Ways that need fewer operations (Winograd's convolutions) or
that compute in fewer bits can go below this floor.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
import tyro
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.environment import describe_environment
from benchmarks.step.networks import peer_networks
from runtime.command.options import parse_options
from runtime.command.ranges import Threads
from runtime.engines.bundle import DiffusionBundle
from runtime.engines.spec import EngineSpec
from runtime.errors import run_main

SIDES = (1024, 1536, 2048)
"""Sides of the products that the rate is measured with."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to count and measure."""

    bundle: Annotated[str, tyro.conf.arg(aliases=["-b"])] = "icons"
    """Name of an installed bundle, or its folder."""
    weights: str | None = None
    """What the bundle was made of; only shapes matter here."""
    threads: Threads | None = None
    """Threads; by default PyTorch's choice."""
    json: bool = False
    """Print a JSON object instead of lines."""


def best_rate(work: Callable[[], object], operations: float, seconds: float = 0.5) -> float:
    """Return the greatest number of operations a second that `work` reached in repeated calls, 1e9 a unit."""
    work()
    best, until = 0.0, time.perf_counter() + seconds
    while best == 0.0 or time.perf_counter() < until:
        started = time.perf_counter()
        work()
        best = max(best, operations / (time.perf_counter() - started))
    return best / 1e9


def product_rates() -> dict[int, float]:
    """Return GFLOP/s of float32 products of square matrices, by side."""
    rates = {}
    for side in SIDES:
        a, b = torch.randn(2, side, side)
        rates[side] = best_rate(lambda a=a, b=b: a @ b, 2.0 * side**3)
    return rates


def convolution_rate(channels: int = 128, side: int = 32) -> float:
    """Return GFLOP/s of a float32 3x3 convolution in channels-last, of as many channels in and out."""
    x = torch.randn(2, channels, side, side).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(channels, channels, 3, 3).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        return best_rate(lambda: F.conv2d(x, weight, padding=1), 2.0 * 2 * side**2 * channels**2 * 9)


def operations(modules: Mapping[str, nn.Module], specs: Mapping[str, EngineSpec]) -> dict[str, float]:
    """Return GFLOP of a step's parts: `denoise`, of the guided pair, and `encode`, forward and backward.

    Args:
        modules: of the denoiser and the latent encoder.
        specs: their inputs.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        modules["denoiser"](*inputs_of(specs["denoiser"], 2))
    denoise = counter.get_total_flops()
    (images,) = inputs_of(specs["latent_encoder"], 1)
    encoder = modules["latent_encoder"].requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        encoder(images.requires_grad_()).sum().backward()
    return {"denoise": denoise / 1e9, "encode": counter.get_total_flops() / 1e9}


def inputs_of(spec: EngineSpec, batch: int) -> tuple[torch.Tensor, ...]:
    """Return inputs of zeros and ones, of a network's shapes."""
    shapes = [tuple(int(size) for size in tensor.bound({"B": batch})) for tensor in spec.inputs]
    return tuple(
        torch.ones(shape, dtype=getattr(torch, tensor.dtype)) for shape, tensor in zip(shapes, spec.inputs, strict=True)
    )


def measure(modules: Mapping[str, nn.Module], specs: Mapping[str, EngineSpec]) -> dict:
    """Return rates, operations and the floor, milliseconds."""
    rates, counted = product_rates(), operations(modules, specs)
    convolution = convolution_rate()
    rate = max(*rates.values(), convolution)
    floors = {part: 1e3 * count / rate for part, count in counted.items()}
    return {
        "product_gflops": rates,
        "convolution_gflops": convolution,
        "gflop": counted,
        "floor_ms": {**floors, "step": sum(floors.values())},
        "threads": torch.get_num_threads(),
    }


def format_floor(result: dict) -> str:
    """Return a sentence with the figures of `measure`."""
    rates = ", ".join(f"{rate:.0f} at {side}" for side, rate in result["product_gflops"].items())
    parts = ", ".join(f"{part} {result['gflop'][part]:.2f} GFLOP" for part in result["gflop"])
    return (
        f"{result['threads']} threads; float32 products: {rates} GFLOP/s; "
        f"convolution {result['convolution_gflops']:.0f}; a step: {parts}; floor {result['floor_ms']['step']:.1f} ms"
    )


def main() -> None:
    """Measure and print."""
    config = parse_options(Config, "benchmarks.floor", description=__doc__)
    if config.threads:
        torch.set_num_threads(config.threads)
    bundle = DiffusionBundle.load(config.bundle)
    result = measure(peer_networks(bundle, config.weights).modules, bundle.specs)
    print(json.dumps(result) if config.json else f"{describe_environment()}\n{format_floor(result)}")


if __name__ == "__main__":
    run_main(main)
