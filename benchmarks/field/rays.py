"""Rays a second: the cases, their clock, and the table."""

import json
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

import benchmarks.field
from benchmarks.environment import describe_environment
from benchmarks.options import TableOptions
from runtime.command.method import draw
from runtime.command.options import parse_options
from runtime.command.ranges import Count, Duration
from runtime.field.cameras import Rays
from runtime.field.fields.grid import DenseGrid
from runtime.field.fields.networks import RadianceMLP
from runtime.field.march import EXTENT, STEP
from runtime.field.reference.grid import march_rays, steps_of
from runtime.field.training_views import Batch, TrainingViews
from runtime.field.volume import composite, opacity
from runtime.nerf import METHOD, Config
from runtime.nerf.scenes import Split

CAPTURE = Path(__file__).parents[1] / "capture"
SAMPLES = 64
"""Samples a ray of the network."""
BYTES_A_SAMPLE = 8 * 16 * 3 + 3 * 64 + 2 * 32
"""Least traffic of a sample with colours alike from all sides: eight nodes read, and read and written as gradients; its
record written, read twice; its gradient with its place written, and read by the scatter."""


@dataclass(frozen=True)
class Case:
    """One way to draw rays."""

    name: str
    rays: int
    """Rays a call: few for the slow ones."""
    parameters: tuple[torch.nn.Parameter, ...]
    """What is differentiated."""
    step: Callable[[Batch], Tensor]
    """Draws rays and returns a loss, whose gradient is then taken."""


def fitted(nodes: int, view_dependent: bool) -> tuple[DenseGrid, TrainingViews]:
    """Return a field of the example capture, and its pictures."""
    config = Config(capture=CAPTURE, views=8, steps=250, nodes=nodes, view_dependent=view_dependent)
    split = Split.of(config)
    scene = draw(METHOD, config)
    assert isinstance(scene, DenseGrid)
    scene.update_occupancy()
    return scene, TrainingViews.of(split.capture, split.train)


def error(colour: Tensor, batch: Batch) -> Tensor:
    """Return the loss that all cases differentiate."""
    return (colour - batch.colour).square().mean()


def with_grid_sample(field: DenseGrid, rays: Rays, jitter: Tensor) -> Tensor:
    """Return colours as a user of PyTorch would draw the same grid: `grid_sample` at all samples in occupied cells."""
    size = field.size
    t, inside, at = steps_of(field.box[:3], field.side, size, rays, jitter, STEP)
    cells = (at.long() // ((size - 1) // len(field.occupied))).clamp(0, len(field.occupied) - 1)
    inside = inside & field.occupied.bool()[tuple(cells.unbind(2))]
    places = 2 * at[inside] / (size - 1) - 1
    volume = field.values[..., 0, :].permute(3, 2, 1, 0)[None]
    sampled = functional.grid_sample(volume, places[None, None, None], align_corners=True)[0, :, 0, 0]
    value = at.new_zeros(4, *t.shape).masked_scatter(inside, sampled)
    alpha = torch.where(inside, opacity(functional.softplus(value[0]), STEP * EXTENT / (size - 1)), 0.0)
    return composite(alpha, value[1:].permute(1, 2, 0), t).colour


def network_step(network: RadianceMLP, dtype: torch.dtype) -> Callable[[Batch], Tensor]:
    """Return what draws rays by NeRF's network at `SAMPLES` samples a ray."""

    def step(batch: Batch) -> Tensor:
        t = 2 + 4 * (torch.arange(SAMPLES) + batch.jitter[:, None]) / SAMPLES
        points = batch.rays.origins[:, None] + t[..., None] * batch.rays.directions[:, None]
        directions = batch.rays.directions[:, None].expand_as(points)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            density, colour = network(points.reshape(-1, 3), directions.reshape(-1, 3))
        alpha = opacity(density.float().view(t.shape), 4 / SAMPLES)
        return error(composite(alpha, colour.float().view(*t.shape, 3), t).colour, batch)

    return step


def cases(field: DenseGrid, dependent: DenseGrid) -> Iterator[Case]:
    """Yield all ways to draw rays."""
    for name, scene in (("kernels", field), ("kernels, view-dependent", dependent)):
        # As in a run: gradients are added to one buffer, which the optimizer clears where it has read it.
        plain = DenseGrid.from_state(scene.state())
        plain.gradient = torch.zeros(plain.values.shape)

        def compiled(batch: Batch, plain: DenseGrid = plain) -> Tensor:
            return error(plain.render(batch.rays, batch.jitter).colour, batch)

        yield Case(name, 8192, (plain.values,), compiled)
    field.gradient = None
    only = (field.values,)
    yield Case("grid_sample", 1024, only, lambda batch: error(with_grid_sample(field, batch.rays, batch.jitter), batch))

    def twin(batch: Batch) -> Tensor:
        box = (field.box[:3], field.side)
        return error(march_rays(field.values, field.occupied.bool(), box, batch.rays, batch.jitter).colour, batch)

    yield Case("readable twin", 256, only, twin)
    network = RadianceMLP(view_directions=False)
    weights = tuple(network.parameters())
    yield Case("NeRF's network, float32", 256, weights, network_step(network, torch.float32))
    yield Case("NeRF's network, bfloat16", 256, weights, network_step(network, torch.bfloat16))


def time_case(case: Case, views: TrainingViews, seconds: float) -> dict[str, float]:
    """Return rays a second, by the processor's time and by the clock, over at least 3 rounds and about `seconds`."""
    batch = views.draw(case.rays, torch.Generator().manual_seed(0))
    count = len(batch.alpha)
    processor, clock = [], []
    started = time.perf_counter()
    while len(clock) < 4 or time.perf_counter() - started < seconds:
        for parameter in case.parameters:
            parameter.grad = None
        begin, begin_cpu = time.perf_counter(), time.process_time()
        case.step(batch).backward()
        clock.append(time.perf_counter() - begin)
        processor.append(time.process_time() - begin_cpu)
    # The first round loads kernels.
    return {
        "rays": count,
        "rays_per_cpu_second": count / statistics.median(processor[1:]),
        "rays_per_second": count / statistics.median(clock[1:]),
        "rounds": len(clock) - 1,
    }


def samples_a_ray(field: DenseGrid, views: TrainingViews) -> float:
    """Return how many samples a ray of the timed batch has in occupied cells, before it is opaque."""
    batch = views.draw(8192, torch.Generator().manual_seed(0))
    shown = field.render(batch.rays, batch.jitter)
    spans = shown.colour.grad_fn.spans  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
    return float((spans[:, 1] - spans[:, 0]).mean())


def bandwidth() -> float:
    """Return bytes a second that one thread reads and writes by copying 256 MiB."""
    source = np.ones(2**25)
    target = np.empty_like(source)
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        np.copyto(target, source)
        times.append(time.perf_counter() - begin)
    return 2 * source.nbytes / min(times)


@dataclass(frozen=True, kw_only=True)
class Options(TableOptions):
    """What is timed."""

    nodes: Count = 113
    """Nodes along an axis."""
    seconds: Duration = 3.0
    """Seconds to spend on each case."""


def main() -> None:
    """Time all cases and print them."""
    options = parse_options(Options, "benchmarks.field", description=benchmarks.field.__doc__)
    options.set_threads()
    (field, views), (dependent, _) = fitted(options.nodes, False), fitted(options.nodes, True)
    samples = samples_a_ray(field, views)
    if not options.json:
        print(f"{describe_environment()}; {torch.get_num_threads()} threads")
        print(f"grid of {options.nodes} nodes, {samples:.1f} samples a ray; copying: {bandwidth() / 1e9:.1f} GB/s")
        print(f"{'case':26} {'rays/CPU s':>11} {'rays/s':>11} {'times slower':>12}")
    fastest = math.nan
    for case in cases(field, dependent):
        if options.only not in case.name:
            continue
        rates = time_case(case, views, options.seconds)
        rate = rates["rays_per_cpu_second"]
        fastest = rate if math.isnan(fastest) else fastest
        if options.json:
            floor = bandwidth() / BYTES_A_SAMPLE / samples
            print(json.dumps({"case": case.name, **rates, "samples_a_ray": samples, "floor": floor}), flush=True)
        else:
            print(f"{case.name:26} {rate:11,.0f} {rates['rays_per_second']:11,.0f} {fastest / rate:12.1f}", flush=True)
    if not options.json:
        floor = bandwidth() / BYTES_A_SAMPLE / samples
        print(f"floor: {floor:,.0f} rays a second and thread, if {BYTES_A_SAMPLE} bytes a sample came from memory")
