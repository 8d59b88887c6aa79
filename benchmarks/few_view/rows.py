"""The rows: options of each, means over draws of views or over objects, and the table."""

import json
import math
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

import benchmarks.few_view
from benchmarks.environment import describe_environment
from benchmarks.few_view.fit import measure
from benchmarks.few_view.objects import archives
from benchmarks.few_view.perceptual import Lpips
from benchmarks.options import TableOptions
from runtime.command.options import parse_options
from runtime.command.ranges import Amount, Count, Duration
from runtime.nerf import Config
from runtime.nerf.config import preset_config

ROWS: dict[str, dict[str, Any]] = {
    "fast": {},
    "without alpha": {"alpha": 0.0},
    "no total variation": {"variation": 0.0},
    "no total variation, no alpha": {"variation": 0.0, "alpha": 0.0},
    "total variation x 10": {"variation": 3e-4},
    "distortion 1e-3": {"distortion": 1e-3},
    "blurred gradients": {"blur": 1.5},
    "blurred gradients, no total variation, no alpha": {"blur": 1.5, "variation": 0.0, "alpha": 0.0},
    "random backgrounds": {"background": "random"},
    "view-dependent": {"view_dependent": True},
    "hashed grids": {"field": "hashed"},
    "hashed grids, network": {"field": "hashed-network"},
    "semantic 0.001 (icons)": {"encoder": "icons", "semantic": 1e-3},
    "semantic 0.01 (icons)": {"encoder": "icons", "semantic": 1e-2},
}
"""Options of each row, on top of preset fast."""

NETWORKS: dict[str, dict[str, Any]] = {
    "nerf": {},
    "simplified": {},
    "simplified-lego": {},
    "simplified-lego, learning rate 5e-4": {"preset": "simplified-lego", "lr": 5e-4},
    "diet": {},
}
"""Options of each row with the thesis' networks, on top of the preset of its name."""

FIGURES = ("psnr", "ssim", "lpips", "train_psnr", "anew", "cpu_seconds", "steps")


@dataclass(frozen=True, kw_only=True)
class Options(TableOptions):
    """What is measured."""

    capture: Path | None = None
    """A capture; by default the example one."""
    objects: Path | None = None
    """Folder of the set of posed objects, in place of a capture: 8 of each object's 16 views."""
    count: Count = 20
    """Objects of that set, evenly spaced among its validation objects."""
    half: Duration | None = None
    """Half the side of the capture's box."""
    views: Count = 8
    """Pictures to train on."""
    draws: Count = 1
    """Draws of the views; with more than one, standard errors are printed."""
    steps: Count | None = None
    """Steps of a fit; by default the preset's own, 200,000 of a network."""
    rays: Count = 5000
    """Rays a step; the thesis has 1024 for its networks."""
    size: Count = 400
    """Longest side of pictures."""
    variation: Amount | None = None
    """Weight of the total variation in rows that do not set it."""
    networks: tyro.conf.FlagCreatePairsOff[bool] = False
    """Measure the thesis' networks in place of preset fast."""
    mixed_precision: tyro.conf.FlagCreatePairsOff[bool] = False
    """Evaluate networks in bfloat16, where they are measured too."""
    semantic_size: Count = 64
    """Side, in pixels, of the pictures that the semantic loss renders."""
    budget: Duration = 7200.0
    """Seconds of the processor after which a network's fit ends."""
    course: Duration | None = None
    """Seconds of the processor between two looks on the way, which are in the JSON: dB over seconds."""
    lpips: Path | None = None
    """Weights of LPIPS, a safetensors file; see `perceptual`."""


def configs(options: Options) -> Iterator[tuple[str, Config]]:
    """Yield each row's name and options, without a capture and a seed."""
    for name, changes in NETWORKS.items() if options.networks else ROWS.items():
        if options.only not in name:
            continue
        start = preset_config(changes.get("preset", name) if options.networks else "fast")
        start = replace(start, views=options.views, half=options.half, rays=options.rays, size=options.size)
        start = replace(start, semantic_size=options.semantic_size, mixed_precision=options.mixed_precision)
        if options.steps is not None:
            start = replace(start, steps=options.steps)
        if options.variation is not None:
            start = replace(start, variation=options.variation)
        yield name, replace(start, **changes)


def captures(options: Options, cache: Path) -> list[tuple[str, Path]]:
    """Return the names and files of what is fitted."""
    if options.objects is not None:
        return list(archives(options.objects, cache, options.count))
    capture = options.capture or Path(__file__).parents[1] / "capture"
    return [(capture.stem, capture)]


def summary(name: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a row: means, and standard errors where there are several fits."""
    row: dict[str, Any] = {"row": name, "fits": len(runs)}
    for key in FIGURES:
        values = [run[key] for run in runs if key in run]
        if values:
            row[key] = statistics.mean(values)
        if len(values) > 1:
            row[f"{key}_error"] = statistics.stdev(values) / len(values) ** 0.5
    if len(runs) > 1:
        # Two rows are best compared fit by fit: objects and draws differ by more than rows do.
        row["psnr_each"] = [run["psnr"] for run in runs]
    if runs[0]["course"]:
        row["course"] = runs[0]["course"]
    return row


def rows(options: Options) -> Iterator[dict[str, Any]]:
    """Yield a row for each set of options."""
    lpips = None if options.lpips is None else Lpips.load(options.lpips)
    budget = options.budget if options.networks else math.inf
    every = options.course or math.inf
    with tempfile.TemporaryDirectory() as folder:
        fitted = captures(options, Path(folder))
        for name, start in configs(options):
            runs = []
            for _, capture in fitted:
                for seed in range(options.draws):
                    config = replace(start, capture=capture, seed=seed)
                    runs.append(measure(config, budget=budget, every=every, lpips=lpips))
            yield summary(name, runs)


def described(row: dict[str, Any], key: str, digits: int) -> str:
    """Return a figure of a row as text, with its standard error."""
    if key not in row:
        return ""
    error = f" +- {row[f'{key}_error']:.{digits}f}" if f"{key}_error" in row else ""
    return f"{row[key]:.{digits}f}{error}"


def main() -> None:
    """Measure all rows and print them."""
    options = parse_options(Options, "benchmarks.few_view", description=benchmarks.few_view.__doc__)
    options.set_threads()
    if not options.json:
        print(describe_environment())
        print(f"{'row':30} {'PSNR dB':>16} {'SSIM':>18} {'LPIPS':>16} {'CPU s':>8} {'steps':>8}")
    for row in rows(options):
        if options.json:
            print(json.dumps(row), flush=True)
        else:
            columns = (("psnr", 2, 16), ("ssim", 4, 18), ("lpips", 3, 16))
            figures = " ".join(described(row, key, digits).rjust(width) for key, digits, width in columns)
            print(f"{row['row']:30} {figures} {row['cpu_seconds']:8.1f} {row['steps']:8.0f}", flush=True)
