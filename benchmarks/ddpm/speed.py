"""Milliseconds a step and a picture, of ours and of diffusers' pipeline."""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import tyro
from torch import Tensor, nn
from torch.nn import functional

import benchmarks.ddpm
from benchmarks.environment import describe_environment
from benchmarks.options import TableOptions
from export.ddpm import make_networks
from export.ddpm.source import Source
from export.write.network import network_files
from runtime.command.options import parse_options
from runtime.engines.backends.ort import OrtEngine
from runtime.engines.precision import Storage
from runtime.guidance.sampler import times
from runtime.guidance.schedule import Schedule
from runtime.guidance.solvers import DpmSolver, solve
from train.ddpm.network import PRESETS, Architecture, PixelDenoiser
from train.ddpm.runs import SCHEDULE

STEPS = 25
"""Steps of a picture."""

CASES = {"tiny, batch 1": ("tiny", 1, 7), "tiny, batch 16": ("tiny", 16, 7), "cifar10, batch 1": ("cifar10", 1, 3)}
"""For each case the preset, the pictures that are drawn together, and the measurements of each kind, in turns."""


@dataclass(frozen=True, kw_only=True)
class Options(TableOptions):
    """Which cases are measured, and how the figures are printed."""

    compile: tyro.conf.FlagCreatePairsOff[bool] = False
    """Also measure torch.compile."""


def diffusers_network(architecture: Architecture, **changes: Any) -> Any:
    """Return diffusers' network of the same function, on patches as ours, with changes to its configuration."""
    from diffusers.models.unets.unet_2d import UNet2DModel

    a = architecture
    attends = [side in a.attention for side in a.resolutions]
    return UNet2DModel(
        sample_size=a.size // a.patch,
        in_channels=a.channels * a.patch**2,
        out_channels=a.channels * a.patch**2,
        block_out_channels=a.widths,
        layers_per_block=a.blocks,
        down_block_types=tuple("AttnDownBlock2D" if attend else "DownBlock2D" for attend in attends),
        up_block_types=tuple("AttnUpBlock2D" if attend else "UpBlock2D" for attend in reversed(attends)),
        norm_num_groups=a.groups,
        attention_head_dim=None,
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
        norm_eps=1e-6,
        **changes,
    ).eval()


def pipeline_of(network: Any) -> Any:
    """Return diffusers' pipeline over its network. It draws patches of pixels as channels, which costs it nothing."""
    from diffusers.pipelines.ddim.pipeline_ddim import DDIMPipeline
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    betas = {name: SCHEDULE[name] for name in ("beta_start", "beta_end", "beta_schedule")}
    pipeline = DDIMPipeline(unet=network, scheduler=DDIMScheduler(num_train_timesteps=1000, **betas))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def multiplications(network: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    """Return the multiplications of convolutions and products with weights in one call."""
    total = 0

    def count(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, Tensor)
        total += output.numel() * weight[0].numel()

    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    network(*inputs)
    for handle in handles:
        handle.remove()
    return total


def product_rate() -> float:
    """Return multiplications a second of a product of two matrices of 1,024 x 1,024."""
    a, b = torch.randn(2, 1024, 1024)
    seconds = []
    for _ in range(9):
        begun = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - begun)
    return 1024**3 / min(seconds)


def take_turns(kinds: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each kind; all take turns, so that a slow minute slows all."""
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for turn in range(rounds + 1):
        for name, run in kinds.items():
            begun = time.perf_counter()
            run()
            if turn:  # the first turn warms up
                seconds[name].append(time.perf_counter() - begun)
    return {name: statistics.median(values) for name, values in seconds.items()}


@torch.no_grad()
def measure(name: str, *, compiled: bool) -> dict[str, Any]:
    """Return the figures of a case: milliseconds a step and a picture of each kind, error, floor."""
    preset, batch, rounds = CASES[name]
    architecture = replace(PRESETS[preset], dropout=0.0)
    torch.manual_seed(0)
    ours = PixelDenoiser(architecture).eval().requires_grad_(False)
    for weight in ours.parameters():
        weight.add_(0.02 * torch.randn(weight.shape))
    theirs = diffusers_network(architecture)
    theirs.load_state_dict(ours.state_dict())
    exported = make_networks(Source(network=ours, data="none", provenance=""), Storage.FLOAT32)["denoiser"]
    files = network_files(exported)
    engine = OrtEngine(files.spec, files.files["model.onnx"], threads=torch.get_num_threads())
    z, t = torch.randn(batch, architecture.channels, architecture.size, architecture.size), torch.full((batch,), 500)
    patches = functional.pixel_unshuffle(z, architecture.patch)
    steps: dict[str, Callable[[], object]] = {
        "ort": lambda: engine(z, t),
        "eager": lambda: ours(z, t),
        "diffusers": lambda: theirs(patches, t).sample,
    }
    if compiled:
        fast = torch.compile(ours)
        steps["compiled"] = lambda: fast(z, t)
    schedule, pipeline = Schedule.of(SCHEDULE, torch.float64), pipeline_of(theirs)
    solver = DpmSolver(schedule, times(schedule, STEPS), clip=True)

    def draw() -> Tensor:
        return solve(solver, lambda z, t: engine(z, torch.full((len(z),), t))[0], z)

    def draw_by_diffusers() -> object:
        return pipeline(batch_size=batch, num_inference_steps=STEPS, output_type="np")

    step = take_turns(steps, rounds)
    picture = take_turns({"ort": draw, "diffusers": draw_by_diffusers}, rounds)
    row: dict[str, Any] = {"case": name, "parameters": sum(weight.numel() for weight in ours.parameters())}
    row |= {f"{kind}_step_ms": 1e3 * seconds for kind, seconds in step.items()}
    row |= {f"{kind}_picture_ms": 1e3 * seconds / batch for kind, seconds in picture.items()}
    row["times_faster"] = picture["diffusers"] / picture["ort"]
    row["floor_step_ms"] = 1e3 * multiplications(exported.module, (z, t)) / product_rate()
    row["error"] = float((engine(z, t)[0] - ours(z, t)).abs().max())
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """Return the figures as a Markdown table."""
    names = list(rows[0])
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for row in rows:
        cells = [f"{value:.3g}" if isinstance(value, float) else f"{value}" for value in row.values()]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    options = parse_options(Options, "benchmarks.ddpm", description=benchmarks.ddpm.__doc__)
    options.set_threads()
    print(json.dumps({"environment": describe_environment()}) if options.json else describe_environment())
    rows = []
    for name in CASES:
        if options.only in name:
            rows.append(measure(name, compiled=options.compile))
            if options.json:
                print(json.dumps(rows[-1]), flush=True)
    if rows and not options.json:
        print(table(rows))
