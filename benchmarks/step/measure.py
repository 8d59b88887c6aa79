"""The variants of a step, their turns, and the table of their times and errors."""

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch

import benchmarks.step
from benchmarks.environment import describe_environment
from benchmarks.step.baseline import PeerStep, PlainEngine
from benchmarks.step.clock import Clock
from benchmarks.step.networks import PeerNetworks, peer_networks
from benchmarks.step.parts import PARTS, new_clock, run_steps, timed_method
from export.verify.gates import GATES, Check, compare
from export.verify.inputs import as_engine, precision_of
from export.verify.scene import PROMPT, Replaced, scene_gradients
from export.verify.stored import BundleReferences
from runtime.command.method import Method
from runtime.command.options import parse_options
from runtime.command.ranges import Duration, Threads
from runtime.engines.backends.eager import EagerEngine
from runtime.engines.backends.table import BACKENDS
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError
from runtime.vectorfusion import SDS_FROM_SCRATCH
from runtime.vectorfusion.config import Config as Drawing

STEPS = 7
"""Steps of a round, the first of which is left out."""

DRAWS = 4
"""Gradients whose cosine with the reference is taken."""

RENDERING = ("render", "render_backward")
"""Parts that are the renderer's."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to time."""

    bundle: str = "icons"
    """Name of an installed bundle, or its folder."""
    weights: str | None = None
    """What the bundle was made of, as for --weights of its export; without, errors are against its stored weights."""
    baseline: bool = False
    """Also time the recipe that peers run, and our loop with PyTorch networks."""
    compile: bool = False
    """Also time PyTorch's networks compiled, forward and backward; that takes minutes first."""
    device: str = "cpu"
    """Where the networks run: cpu, cuda or cuda:N."""
    threads: Threads | None = None
    """Threads; by default PyTorch's choice."""
    seconds: Duration = 20.0
    """Time to spend on all rounds, seconds."""
    regularizer: bool = True
    """Whether the loss has its term against paths that cross themselves, which peers compute in Python loops."""
    only: str = ""
    """Only the rows whose name contains this."""
    error: bool = True
    """Whether to compare gradients."""
    json: bool = False
    """One JSON object a line instead of a table."""


@dataclass(kw_only=True)
class Variant:
    """One way to run the step."""

    name: str
    """What the table calls it."""
    round: Callable[[Clock], None]
    """Runs `STEPS` steps and adds all but the first to a clock."""
    bundle: DiffusionBundle | None = None
    """The networks, for the error; None where they are the reference themselves."""
    backend: str = "torch"
    """What runs the denoiser."""
    gradients: str = "torch"
    """What differentiates the latent encoder."""
    precision: str = "float32"
    """How the denoiser's weights are stored, or what its products are cast to."""
    clock: Clock = field(default_factory=new_clock)
    """The steps that are done."""


def our_variant(name: str, bundle: DiffusionBundle, drawing: Drawing) -> Variant:
    """Return our loop with a bundle's networks."""
    ready: list[Method[Drawing]] = []  # networks are prepared once, scenes anew for each round

    def round(clock: Clock) -> None:
        if not ready:
            ready.append(timed_method(clock))
        run_steps(ready[0], drawing, bundle, clock)

    return Variant(name=name, round=round, bundle=bundle, gradients=drawing.gradients)


def peer_variant(bundle: DiffusionBundle, networks: PeerNetworks, drawing: Drawing, device: str) -> Variant:
    """Return the peers' recipe, rendering by diffvg where it is installed."""
    engines = {role: PlainEngine(bundle.specs[role], module, device) for role, module in networks.modules.items()}
    plain, rasterizer = Replaced(bundle, engines), "diffvg" if has_diffvg() else "numba"
    ready: list[PeerStep] = []

    def round(clock: Clock) -> None:
        if not ready:
            ready.append(PeerStep(drawing, plain, clock, rasterizer))
        for step in range(STEPS):
            ready[0](step)
        del clock.steps[-STEPS]

    return Variant(name=f"peers' recipe ({rasterizer})", round=round)


def has_diffvg() -> bool:
    """Return whether diffvg is installed."""
    from importlib.util import find_spec

    return find_spec("pydiffvg") is not None


def variants(config: Config, report: Callable[[str], None]) -> Iterator[Variant]:
    """Yield every way to run the step that this machine and this bundle have."""
    drawing = replace(SDS_FROM_SCRATCH, prompt=PROMPT, steps=STEPS)
    if not config.regularizer:
        drawing = replace(drawing, self_intersection=0.0)
    for backend in BACKENDS:
        for compiled in (False, True) if backend == "torch" and config.compile else (False,):
            yield from _ours(config, backend, drawing, compiled, report)
    if config.baseline:
        yield from _peers(config, drawing, report)


def _ours(
    config: Config, backend: str, drawing: Drawing, compiled: bool, report: Callable[[str], None]
) -> Iterator[Variant]:
    """Yield our loop on one backend, with each provider of gradients."""
    load = partial(DiffusionBundle.load, config.bundle, device=config.device, threads=config.threads)
    try:
        bundle = load(backend=backend, compile=compiled)
        choice = bundle.choices()["denoiser"]
    except UserError as error:
        report(f"{backend} left out: {error}")
        return
    if choice.backend != backend:
        report(f"{backend} left out: {choice.reason}")
        return
    precision = choice.precision or precision_of(bundle, "denoiser")
    for gradients in ("torch", "engine"):
        try:
            bundle.latent_encoder(gradients)
        except UserError as error:
            report(f"gradients by {gradients} left out: {error}")
            continue
        name = f"{BACKENDS[backend].title}{' compiled' if compiled else ''} {precision}, gradient "
        name += "PyTorch" if gradients == "torch" else "engine"
        ways = {"backend": backend, "gradients": gradients, "precision": precision}
        yield replace(our_variant(name, bundle, replace(drawing, gradients=gradients)), **ways)


def _peers(config: Config, drawing: Drawing, report: Callable[[str], None]) -> Iterator[Variant]:
    """Yield our loop with float32 PyTorch networks, then the peers' recipe, which unfreezes them."""
    bundle = DiffusionBundle.load(config.bundle, threads=config.threads)
    networks = peer_networks(bundle, config.weights)
    report(f"PyTorch networks: {networks.origin}")
    texts = {
        role: PlainEngine(bundle.specs[role], networks.modules[role]) for role in networks.modules if "text" in role
    }
    for compiled in (False, True) if config.compile else (False,):
        eager = {
            role: EagerEngine(bundle.specs[role], networks.modules[role], device=config.device, compile=compiled)
            for role in ("denoiser", "latent_encoder")
        }
        name = f"our loop, PyTorch {'compiled' if compiled else 'eager'} float32"
        yield replace(our_variant(name, Replaced(bundle, {**texts, **eager}), drawing), bundle=None)
    fresh = peer_networks(bundle, config.weights)  # the others are laid out channels-last
    yield peer_variant(bundle, fresh, drawing, config.device)


def take_turns(chosen: Sequence[Variant], seconds: float, rounds: int = 2) -> None:
    """Run all variants round after round, each at least so many times, for about `seconds`."""
    for variant in chosen:
        variant.round(variant.clock)
        variant.clock.steps.clear()
    until, done = time.perf_counter() + seconds, 0
    while done < rounds or time.perf_counter() < until:
        for variant in chosen:
            variant.round(variant.clock)
        done += 1


def reference_gradients(config: Config) -> Mapping[str, torch.Tensor]:
    """Return the scene's gradients with PyTorch float32 networks, or else with the bundle's stored weights in NumPy."""
    bundle = DiffusionBundle.load(config.bundle, threads=config.threads)
    try:
        modules = peer_networks(bundle, config.weights)
    except UserError:
        modules = None
    if modules is not None and modules.trained:
        needed = ("denoiser", "latent_encoder")
        engines = {role: EagerEngine(bundle.specs[role], modules.modules[role]) for role in needed}
    else:
        references = BundleReferences(bundle)
        engines = {role: as_engine(references[role]) for role in ("denoiser", "latent_encoder")}
    return scene_gradients(Replaced(bundle, engines), "torch", DRAWS)


def error_of(variant: Variant, reference: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Return the least cosine and the SNR, dB, of a variant's gradients with the reference's."""
    if variant.bundle is None:
        return {}
    got = scene_gradients(variant.bundle, variant.gradients, DRAWS)
    rows = [compare(name, reference[name], got[name], GATES[Check.SCENE]) for name in reference]
    return {"cosine": min(row.cosine for row in rows), "snr_db": min(row.snr_db for row in rows)}


def summarize(variant: Variant) -> dict:
    """Return medians of the parts, median and quartiles of the step, with the renderer and without, milliseconds."""
    steps = [{part: 1e3 * time.wall_s for part, time in step.items()} for step in variant.clock.steps]
    without = [step["step"] - sum(step[part] for part in RENDERING) for step in steps]
    low, middle, high = statistics.quantiles([step["step"] for step in steps], n=4)
    bare = statistics.quantiles(without, n=4)
    return {
        "variant": variant.name,
        "backend": variant.backend,
        "gradients": variant.gradients,
        "precision": variant.precision,
        "parts_ms": {part: round(statistics.median(step[part] for step in steps), 3) for part in PARTS},
        "step_ms": round(middle, 3),
        "quartiles_ms": [round(low, 3), round(high, 3)],
        "without_renderer_ms": round(bare[1], 3),
        "without_renderer_quartiles_ms": [round(bare[0], 3), round(bare[2], 3)],
        "steps": len(steps),
    }


def format_rows(rows: Sequence[dict]) -> str:
    """Return the rows as a Markdown table; the last column is the peers' time without a renderer over the row's."""
    peers = next((row["without_renderer_ms"] for row in rows if row["variant"].startswith("peers")), None)
    names = [part.replace("_", " ") for part in PARTS]
    heads = ["networks", *names, "step", "quartiles", "without renderer", "cosine", "faster than peers"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in rows:
        cells = [row["variant"], *(f"{row['parts_ms'][part]:.2f}" for part in PARTS)]
        cells += [f"{row['step_ms']:.1f}", "-".join(f"{x:.1f}" for x in row["quartiles_ms"])]
        cells += [f"{row['without_renderer_ms']:.1f}", f"{row['cosine']:.5f}" if "cosine" in row else ""]
        cells += [f"{peers / row['without_renderer_ms']:.2f}" if peers else ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Time all variants and print them."""
    config = parse_options(Config, "benchmarks.step", description=benchmarks.step.__doc__)
    if config.threads:
        torch.set_num_threads(config.threads)
    notes: list[str] = []
    chosen = [variant for variant in variants(config, notes.append) if config.only in variant.name]
    if not chosen:
        raise UserError(f"--only: expected a part of a row's name, got {config.only!r:.60}")
    take_turns(chosen, config.seconds)
    reference = reference_gradients(config) if config.error else {}
    rows = [{**summarize(variant), **(error_of(variant, reference) if reference else {})} for variant in chosen]
    machine = f"{describe_environment()}; {torch.get_num_threads()} threads; networks on {config.device}"
    if config.json:
        for row in rows:
            print(json.dumps({"bundle": config.bundle, "machine": machine, **row}))
        return
    print(machine)
    print("\n".join(notes))
    print(format_rows(rows))
