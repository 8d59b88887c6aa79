"""What do value and input gradient of a frozen encoder cost: PyTorch forward and backward, or a graph of both?

    python -m benchmarks.vjp [--json] [--threads N] [--only NAME] [--compile]

Random weights at true sizes, one picture: the autoencoder's encoder of the bundle `icons` at 128 pixels, Stable
Diffusion's at 256, and CLIP's ViT-B/32. PyTorch is the loop's own default provider (channels-last); ONNX Runtime runs
one graph of value and gradient. All providers are timed in turns in one process; each one's peak memory is that of a
process of its own above what its imports take.
"""

import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from benchmarks.environment import describe_environment
from runtime.command.options import parse_options
from runtime.command.ranges import Duration, Threads
from runtime.engines.backends.eager import EagerEngine, empty_module, load_module
from runtime.engines.backends.ort import OrtEngine
from runtime.engines.spec import WEIGHTS, EngineSpec
from runtime.errors import run_main

Provider = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""x, cotangent -> y, gradient."""

ROUNDS = 5
"""Least rounds that are timed, after two that are not."""


@dataclass(frozen=True)
class Case:
    """A network."""

    name: str
    kind: str
    arguments: Mapping[str, Any]
    side: int
    output: tuple[int, ...]


ICONS = {
    "in_channels": 48,
    "block_out_channels": [96, 128],
    "layers_per_block": 1,
    "norm_num_groups": 16,
    "mid_block_add_attention": False,
    "unshuffle": 4,
}

CASES = (
    Case("icons encoder, 128 px", "KLEncoder", ICONS, 128, (4, 16, 16)),
    Case(
        "Stable Diffusion encoder, 256 px",
        "KLEncoder",
        {"in_channels": 3, "block_out_channels": [128, 256, 512, 512]},
        256,
        (4, 32, 32),
    ),
    Case("CLIP ViT-B/32, 224 px", "VisionTransformer", {"input_size": 224, "patch_size": 32}, 224, (512,)),
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure."""

    threads: Threads | None = None
    """Threads; by default PyTorch's choice."""
    only: str = ""
    """Only the cases whose name contains this."""
    seconds: Duration = 10.0
    """Time to spend on timing each case."""
    compile: bool = False
    """Time PyTorch compiled, too."""
    json: bool = False
    """One JSON object a line instead of a table."""


def write_case(case: Case, folder: Path) -> None:
    """Write a network's folder: config.json, random weights and the graphs."""
    from export.graph.external_weights import WeightsFile
    from export.network import batched
    from export.vjp.files import vjp_files

    config = json.dumps({"class": case.kind, "arguments": dict(case.arguments)}).encode()
    module = empty_module(config, case.name).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, parameter in module.state_dict().items():
        # Features keep their size through all layers: overflow would hide every error.
        spread = max(1, parameter[0].numel() if parameter.ndim > 1 else 1) ** -0.5
        values = torch.randn(parameter.shape, generator=generator) * (spread if parameter.ndim > 1 else 0.1)
        state[name] = values + (parameter.ndim == 1 and name.endswith("weight"))
    save_file(state, folder / WEIGHTS)
    spec = batched("encoder", {"images": (3, case.side, case.side)}, {"y": case.output})
    files = vjp_files(module, spec, WeightsFile.of(WEIGHTS, (folder / WEIGHTS).read_bytes()))
    for name, content in {**files, "config.json": config, "spec.json": spec.to_json().encode()}.items():
        (folder / name).write_bytes(content)


def providers_of(folder: Path, *, compile: bool) -> dict[str, Callable[[], Provider]]:
    """Return what makes each provider of a network's folder."""
    makers: dict[str, Callable[[], Provider]] = {"PyTorch": lambda: _torch(folder)}
    if compile:
        makers["PyTorch, compiled"] = lambda: _torch(folder, compile=True)
    makers["ONNX Runtime"] = lambda: _engine(folder)
    return makers


def _torch(folder: Path, *, compile: bool = False) -> Provider:
    module = load_module((folder / "config.json").read_bytes(), (folder / WEIGHTS).read_bytes(), folder)
    engine = EagerEngine(_spec(folder, "spec"), module, compile=compile)

    def both(x: Tensor, cotangent: Tensor) -> tuple[Tensor, Tensor]:
        x = x.detach().requires_grad_()
        y = engine(x)[0]
        return y.detach(), torch.autograd.grad(y, x, cotangent)[0]

    return both


def _engine(folder: Path) -> Provider:
    weights = {WEIGHTS: (folder / WEIGHTS).read_bytes()}
    return OrtEngine(_spec(folder, "vjp"), (folder / "vjp.onnx").read_bytes(), shared=weights)  # pyright: ignore


def _spec(folder: Path, stem: str) -> EngineSpec:
    return EngineSpec.from_json((folder / f"{stem}.json").read_bytes(), stem)


def inputs_of(folder: Path) -> tuple[Tensor, Tensor]:
    """Return a picture and a cotangent."""
    x, cotangent = _spec(folder, "vjp").inputs
    generator = torch.Generator().manual_seed(1)
    picture = torch.rand(1, *x.shape[1:], generator=generator)  # pyright: ignore
    return picture, torch.randn(1, *cotangent.shape[1:], generator=generator)  # pyright: ignore


def time_providers(providers: Mapping[str, Provider], inputs: tuple[Tensor, Tensor], seconds: float) -> dict[str, dict]:
    """Return each provider's median and quartiles, milliseconds, taken in turns, and its distance to the first."""
    results = {name: provider(*inputs) for name, provider in providers.items()}
    taken: dict[str, list[float]] = {name: [] for name in providers}
    rounds, started = 0, time.perf_counter()
    while rounds < ROUNDS + 1 or time.perf_counter() - started < seconds:
        for name, provider in providers.items():
            begin = time.perf_counter()
            provider(*inputs)
            taken[name].append(1e3 * (time.perf_counter() - begin))
        rounds += 1
    summary = {}
    expected = next(iter(results.values()))
    for name, times in taken.items():
        low, middle, high = statistics.quantiles(times[1:], n=4)
        summary[name] = {"ms": middle, "quartiles_ms": [low, high], "rounds": rounds - 1}
        summary[name] |= _distance(results[name], expected)
    return summary


def _distance(result: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Return the greatest difference of value and gradient, relative to the largest, and the gradient's cosine."""
    errors = [float((a - b).abs().max() / b.abs().max()) for a, b in zip(result, expected, strict=True)]
    cosine = F.cosine_similarity(result[1].double().flatten(1), expected[1].double().flatten(1)).min()
    return {"value_error": errors[0], "gradient_error": errors[1], "cosine": float(cosine)}


def peak_memory(folder: Path, name: str, compile: bool, threads: int) -> dict[str, float]:
    """Return MiB above the imports' after the provider was loaded, and at the peak of three calls; in a new process."""
    torch.set_num_threads(threads)
    # PyTorch and ONNX Runtime themselves are hundreds of MiB, which every provider has.
    before = _peak()
    provider, inputs = providers_of(folder, compile=compile)[name](), inputs_of(folder)
    loaded = _peak()
    for _ in range(3):
        provider(*inputs)
    return {"loaded_mib": loaded - before, "peak_mib": _peak() - before}


def _peak() -> float:
    """Return the most memory that this process had, MiB; on Linux of the process alone, without its parent."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines = status.read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def measure(case: Case, config: Config) -> list[dict]:
    """Return one row for each provider of a case."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_case(case, folder)
        makers = providers_of(folder, compile=config.compile)
        memory = {}
        for name in makers:
            # A process each: the peak of a process never falls, so the second provider would have the first one's.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                memory[name] = pool.apply(peak_memory, (folder, name, config.compile, torch.get_num_threads()))
        providers = {name: make() for name, make in makers.items()}
        times = time_providers(providers, inputs_of(folder), config.seconds)
    first = times["PyTorch"]["ms"]
    return [
        {"case": case.name, "provider": name, **times[name], "speedup": first / times[name]["ms"], **memory[name]}
        for name in makers
    ]


def format_row(row: dict) -> str:
    """Return a line of the table."""
    low, high = row["quartiles_ms"]
    return (
        f"| {row['case']} | {row['provider']} | {row['ms']:.1f} | {low:.1f}-{high:.1f} | {row['speedup']:.2f} | "
        f"{row['peak_mib']:.0f} | {row['value_error']:.1e} | {row['gradient_error']:.1e} | {row['cosine']:.7f} |"
    )


def main() -> None:
    """Measure all cases and print them."""
    config = parse_options(Config, "benchmarks.vjp", description=__doc__)
    if config.threads:
        torch.set_num_threads(config.threads)
    if not config.json:
        print(f"{describe_environment()}; {torch.get_num_threads()} threads\n")
        print("| case | provider | ms | quartiles | times faster | peak MiB | value error | gradient error | cosine |")
        print("|---|---|---|---|---|---|---|---|---|")
    for case in CASES:
        if config.only in case.name:
            for row in measure(case, config):
                print(
                    json.dumps(row | {"threads": torch.get_num_threads()}) if config.json else format_row(row),
                    flush=True,
                )


if __name__ == "__main__":
    run_main(main)
