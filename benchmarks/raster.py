"""How long does a picture of a drawing take, forward and backward? Ours and, where it is installed, diffvg.

python -m benchmarks.raster [--json] [--peer diffvg] [--threads N] [--only NAME]
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from benchmarks.environment import describe_environment
from benchmarks.options import TableOptions
from runtime.command.options import parse_options
from runtime.command.ranges import Duration
from runtime.errors import run_main
from runtime.vector.paths import Drawing, Kind, Layout, circle_points, random_colours, random_strokes
from runtime.vector.raster import rasterize

JITTER = 0.2
"""Each control point of a closed path lies at its circle's place times 1 +- JITTER, in both axes."""


WARM_UP = 5
"""Rounds before the clock: the first one loads the kernels."""


@dataclass(frozen=True)
class Case:
    """One drawing to time."""

    name: str
    paths: int
    radius: float
    """Mean radius of closed paths in pixels; 0 for strokes."""
    size: int


CASES = (
    Case("64 paths, radius 20, 512 px", 64, 20, 512),
    Case("64 paths, radius 60, 512 px", 64, 60, 512),
    Case("64 paths, radius 100, 512 px", 64, 100, 512),
    Case("64 paths, radius 15, 128 px", 64, 15, 128),
    Case("1024 paths, radius 20, 512 px", 1024, 20, 512),
    Case("16 strokes, width 6, 224 px", 16, 0, 224),
)


def build(case: Case) -> Drawing:
    """The drawing of a case, the same on every call: closed 4-segment paths anywhere on the canvas, or open strokes."""
    generator = torch.Generator().manual_seed(0)
    size = (case.size, case.size)
    if case.radius == 0:
        return random_strokes(case.paths, width=6.0, size=size, generator=generator)
    centres = torch.rand(case.paths, 2, generator=generator) * case.size
    around = circle_points(torch.zeros(case.paths, 2), case.radius)
    around = around * (1 + JITTER * (2 * torch.rand(case.paths, around.shape[1], 1, generator=generator) - 1))
    layout = Layout((Kind.NONZERO,) * case.paths, ((4,),) * case.paths)
    colours = random_colours(1, case.paths, generator)
    points = (centres[:, None] + around).reshape(1, -1, 2)
    return Drawing(layout, points, colours, torch.ones(1, case.paths), torch.ones(1, 3), size)


def time_case(render: Callable[[Drawing], Tensor], drawing: Drawing, seconds: float) -> dict:
    """Median milliseconds of forward and backward, with all gradients, over at least 5 rounds and about `seconds`."""
    upstream = torch.randn(1, 3, *drawing.size, generator=torch.Generator().manual_seed(1))
    forward, backward, started = [], [], 0.0
    while len(forward) < WARM_UP + 5 or time.perf_counter() - started < seconds:
        if len(forward) == WARM_UP:
            started = time.perf_counter()
        leaves = drawing.map(lambda tensor: tensor.detach().clone().requires_grad_())
        begin = time.perf_counter()
        image = render(leaves)
        middle = time.perf_counter()
        image.backward(upstream)
        forward.append(1e3 * (middle - begin))
        backward.append(1e3 * (time.perf_counter() - middle))
    skip = WARM_UP
    spread = statistics.quantiles([f + b for f, b in zip(forward, backward, strict=True)][skip:], n=4)
    return {
        "forward_ms": statistics.median(forward[skip:]),
        "backward_ms": statistics.median(backward[skip:]),
        "quartiles_ms": [spread[0], spread[2]],
        "rounds": len(forward) - skip,
    }


@dataclass(frozen=True, kw_only=True)
class Options(TableOptions):
    """What is timed."""

    peer: Literal["diffvg"] | None = None
    """Time this rasterizer beside ours; it must be installed."""
    seconds: Duration = 1.5
    """Seconds to spend on each case."""


def main() -> None:
    """Time all cases and print them."""
    options = parse_options(Options, "benchmarks.raster", description=__doc__)
    options.set_threads()
    backends = ["numba", *([options.peer] if options.peer else [])]
    if not options.json:
        print(f"{describe_environment()}; {torch.get_num_threads()} threads")
        print(f"{'case':32} {'rasterizer':10} {'forward ms':>10} {'backward ms':>11} {'both, quartiles':>16} rounds")
    for case in CASES:
        if options.only not in case.name:
            continue
        drawing = build(case)
        for backend in backends:
            times = time_case(lambda d, backend=backend: rasterize(d, backend=backend), drawing, options.seconds)
            if options.json:
                print(json.dumps({"case": case.name, "rasterizer": backend, **times}), flush=True)
            else:
                low, high = times["quartiles_ms"]
                print(
                    f"{case.name:32} {backend:10} {times['forward_ms']:10.3f} {times['backward_ms']:11.3f} "
                    f"{low:8.2f}-{high:.2f} {times['rounds']:6d}"
                )


if __name__ == "__main__":
    run_main(main)
