"""How good is a field of few pictures? PSNR and SSIM on held-out ones, for each regularizer, over draws of views.

python -m benchmarks.few_view --capture lego.npz --half 1.3 [--views 8] [--draws 5] [--only NAME] [--json]

Draw 0 of 8 out of 100 pictures is DietNeRF's. Held-out are all other pictures of the capture: on pictures that a paper
trains on, no figure is comparable to the paper's. Seconds are the processor's, of the fit alone.
"""

import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.environment import describe_environment
from benchmarks.options import TableOptions
from runtime.command.method import draw
from runtime.command.options import parse_options
from runtime.command.ranges import Amount, Count, Duration
from runtime.errors import run_main
from runtime.nerf import METHOD, Config
from runtime.nerf.output import figures_of
from runtime.nerf.scenes import Split

ROWS: dict[str, dict[str, Any]] = {
    "fast": {},
    "without alpha": {"alpha": 0.0},
    "no total variation": {"variation": 0.0},
    "no total variation, no alpha": {"variation": 0.0, "alpha": 0.0},
    "total variation x 10": {"variation": 3e-4},
    "distortion 1e-3": {"distortion": 1e-3},
    "random backgrounds": {"background": "random"},
    "view-dependent": {"view_dependent": True},
    "semantic 0.001 (icons)": {"encoder": "icons", "semantic": 1e-3},
    "semantic 0.01 (icons)": {"encoder": "icons", "semantic": 1e-2},
}
"""Options of each row, on top of preset fast."""


@dataclass(frozen=True, kw_only=True)
class Options(TableOptions):
    """What is measured."""

    capture: Path | None = None
    """A capture; by default the example one."""
    half: Duration | None = None
    """Half the side of the capture's box."""
    views: Count = 8
    """Pictures to train on."""
    draws: Count = 1
    """Draws of the views; with more than one, standard errors are printed."""
    steps: Count = 500
    """Steps of a fit."""
    rays: Count = 5000
    """Rays a step."""
    variation: Amount | None = None
    """Weight of the total variation in rows that do not set it."""


def measure(config: Config) -> dict[str, float]:
    """Return PSNR, SSIM and the processor's seconds of one fit."""
    begin = time.process_time()
    scene = draw(METHOD, config)
    seconds = time.process_time() - begin
    figures = figures_of(config, scene, Split.of(config))  # pyright: ignore[reportArgumentType]
    return {"psnr": figures["psnr"], "ssim": figures["ssim"], "cpu_seconds": seconds}  # pyright: ignore


def rows(options: Options) -> Iterator[dict[str, Any]]:
    """Yield a row for each regularizer."""
    capture = options.capture or Path(__file__).parent / "capture"
    start = Config(capture=capture, views=options.views, half=options.half, steps=options.steps, rays=options.rays)
    if options.variation is not None:
        start = replace(start, variation=options.variation)
    for name, changes in ROWS.items():
        if options.only not in name:
            continue
        runs = [measure(replace(start, seed=seed, **changes)) for seed in range(options.draws)]
        row: dict[str, Any] = {"row": name, "draws": options.draws}
        for key in ("psnr", "ssim", "cpu_seconds"):
            values = [run[key] for run in runs]
            row[key] = statistics.mean(values)
            if len(values) > 1:
                row[f"{key}_error"] = statistics.stdev(values) / len(values) ** 0.5
        yield row


def main() -> None:
    """Measure all rows and print them."""
    options = parse_options(Options, "benchmarks.few_view", description=__doc__)
    options.set_threads()
    if not options.json:
        print(describe_environment())
        print(f"{'row':30} {'PSNR dB':>16} {'SSIM':>16} {'CPU s':>8}")
    for row in rows(options):
        if options.json:
            print(json.dumps(row), flush=True)
        else:
            psnr = f"{row['psnr']:.2f}" + (f" +- {row['psnr_error']:.2f}" if "psnr_error" in row else "")
            ssim = f"{row['ssim']:.4f}" + (f" +- {row['ssim_error']:.4f}" if "ssim_error" in row else "")
            print(f"{row['row']:30} {psnr:>16} {ssim:>16} {row['cpu_seconds']:8.1f}", flush=True)


if __name__ == "__main__":
    run_main(main)
