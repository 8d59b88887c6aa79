"""Build TensorRT plans of a bundle's networks ahead of time: for which GPU, in which precision, reused where they fit.

TensorRT-RTX builds on a processor for any GPU that it knows. Full TensorRT times kernels while it builds and so builds
for the GPU that is here. A plan is written into the network's `plans` folder with its document
(`runtime.engines.backends.plans`); a plan that exists and matches is kept, so that an interrupted build resumes.
"""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from export.graph.external_data import ExternalDataModel, load_model
from export.graph.fold import fold_bytes
from export.graph.precision import HALF_TYPES, to_half
from runtime.engines.backends.editions import TITLES, buildable, installed_editions, make_log, require_edition
from runtime.engines.backends.graphs import GRADIENT, Graph, graphs_of
from runtime.engines.backends.plans import PlanKey, building, read_plan, remove_stale, write_plan
from runtime.engines.bundle import Bundle
from runtime.engines.precision import Compute
from runtime.engines.spec import EngineSpec
from runtime.errors import UserError

FLOAT32_ROLES = ("latent_encoder",)
"""Roles that are never cast: half precision in the encoder spoils the loop's gradient (Thesis 6.4.2)."""

ROOM = 1.6
"""Bytes that have to be free for each byte of weights: a plan holds them and its kernels, under a temporary name."""

MIN_ROOM = 64 << 20
"""Bytes that have to be free in any case."""

_NOT_IN_RTX = {"sm70": "V100", "sm87": "Jetson Orin", "sm90": "H100, H200", "sm100": "B200", "sm103": "B300"}


Progress = Callable[[str, int, int], None]
"""What is being done, how much is done, and how much there is."""


def compute_of(graph: Graph, asked: Compute) -> Compute:
    """Return the precision of a graph's plan where `asked` is asked for."""
    stays = graph.role in FLOAT32_ROLES or graph.file == GRADIENT
    return Compute.MODEL if stays and asked in HALF_TYPES else asked


def check_targets(text: str) -> dict[str, str]:
    """Return the edition that builds each compute capability of a list such as `sm80,sm89`.

    Raises:
        UserError: neither edition is installed, or a capability is none or one that no installed edition builds for.
    """
    editions = installed_editions()
    # This raises with the way to install one: without an edition no target could be checked.
    if not editions:
        require_edition("tensorrt_rtx")
    chosen = {}
    for target in dict.fromkeys(part.strip().lower().replace("_", "") for part in text.split(",")):
        # The first edition that can: RTX needs no GPU of the target, while the full one builds only for the GPU here.
        edition = next((name for name in editions if target in buildable(name)), None)
        if edition is None:
            raise UserError(_no_target(target, editions))
        chosen[target] = edition
    return chosen


def _no_target(target: str, editions: Sequence[str]) -> str:
    has = "; ".join(
        f"{TITLES[name]} {require_edition(name).__version__} builds here for {', '.join(buildable(name)) or 'none'}"
        for name in editions
    )
    if target not in _NOT_IN_RTX:
        return f"--target {target!r:.40}: expected compute capabilities such as sm89, separated by commas; {has}"
    return (
        f"--target {target} ({_NOT_IN_RTX[target]}): {has}; for this GPU install full TensorRT on a machine that has "
        "it (pip install tensorrt) and build there, or run with --backend ort or torch"
    )


def build_plans(
    graphs: Sequence[Graph],
    targets: Mapping[str, str],
    compute: Compute,
    report: Callable[[str], None],
    progress: Progress = lambda what, done, total: None,
) -> list[tuple[PlanKey, Path]]:
    """Build the plans that are missing or don't match; return the key and file of every one.

    Args:
        graphs: as `select_graphs` returns.
        targets: the edition for each compute capability, as `check_targets` returns.
        compute: what products are computed in.
        report: called with a line about each plan.
        progress: called with what is being built, how many plans are done, and how many there are.

    Raises:
        UserError: too little disk space, a folder that can't be written, or a network that
            TensorRT has no operators for; what was built before stays.
    """
    built = []
    for graph in graphs:
        model: list[ExternalDataModel] = []  # loaded once, and only where a plan is missing
        for target, edition in targets.items():
            version = str(require_edition(edition).__version__)
            key = graph.key(edition, version, target, compute_of(graph, compute))
            progress(str(key), len(built), len(graphs) * len(targets))
            built.append((key, _ensure_plan(graph, key, model, report)))
    return built


def _ensure_plan(graph: Graph, key: PlanKey, model: list[ExternalDataModel], report: Callable[[str], None]) -> Path:
    path = graph.plans / f"{key.stem}.plan"
    try:
        with building(graph.plans, key, wait=lambda: report(f"{key}: another process is building it, waiting")):
            try:
                report(f"{key}: kept, {len(read_plan(graph.plans, key)) / 2**20:.1f} MiB")
                return path
            except UserError as error:
                if path.exists():
                    report(f"{key}: built anew: {error}")
            # After the lock and the look at the plan: a large model is not loaded to find that another process has
            # built it.
            if not model:
                model.append(load_graph(graph, Compute(key.precision)))
            # Before the build, which takes minutes and would fail at its very end.
            _check_room(graph.plans, model[0].nbytes, key)
            start = time.monotonic()
            plan = memoryview(build_plan(model[0], graph.spec, key))
            write_plan(graph.plans, key, plan)
            report(f"{key}: built in {time.monotonic() - start:.1f} s, {len(plan) / 2**20:.1f} MiB")
            for stale in remove_stale(graph.plans, key):
                report(f"{key}: removed {stale}, which was built of another model")
    except OSError as error:
        raise UserError(
            f"plan of {key}: '{graph.plans}' cannot be written: {error.strerror or error}; "
            "copy the bundle to a folder of yours and build there"
        ) from error
    return path


def load_graph(graph: Graph, compute: Compute) -> ExternalDataModel:
    """Return a graph's model ready for a plan: its stored bytes unpacked, its products cast.

    Raises:
        UserError: it is damaged, or can't be made ready.
    """
    content, files = graph.read()
    try:
        # In this order: half precision looks at float32 weights, which packed bytes are not yet.
        model = fold_bytes(load_model(content, files, f"engine '{graph.name}'"))
        return to_half(model, compute) if compute in HALF_TYPES else model
    except ValueError as error:
        raise UserError(f"engine '{graph.name}' cannot be made ready for TensorRT: {error}") from error


def _check_room(folder: Path, weights: int, key: PlanKey) -> None:
    needed, free = int(ROOM * weights) + MIN_ROOM, shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"plan of {key}: expected {needed / 2**20:.0f} MiB free in '{folder}', got {free / 2**20:.0f}; "
            "make room, or build for fewer targets"
        )


def build_plan(model: ExternalDataModel, spec: EngineSpec, key: PlanKey) -> Any:
    """Return a plan, as an object with a buffer.

    Args:
        model: the model, without weights of bytes, in the precision that the key names.
        spec: its tensors and ranges: the least, typical and greatest shapes make the optimization profile.
        key: edition, compute capability and precision.

    Raises:
        UserError: TensorRT has no operator for a node, or can't build the network; the message holds its reason.
    """
    trt = require_edition(key.edition)
    log = make_log(trt)
    builder = trt.Builder(log)
    network = builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, log)
    _parse(parser, model, key, log)
    config = builder.create_builder_config()
    config.add_optimization_profile(_profile(builder, spec))
    # Only RTX can build for a GPU that is not here; the full edition has no such method.
    if hasattr(config, "set_compute_capability"):
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, key.capability.upper()), 0)
    if key.precision != "tf32":
        # TensorRT has TF32 on by default: float32 products would silently be rounded to 10 bits of mantissa.
        config.clear_flag(trt.BuilderFlag.TF32)
    # A name of its own keeps the monitor alive, and tells afterwards why no plan came back.
    config.progress_monitor = monitor = _make_monitor(trt)
    plan = builder.build_serialized_network(network, config)
    # A cancelled build returns None, as a failed one does; this must not be reported as the network's fault.
    if monitor.interrupted:
        raise KeyboardInterrupt
    if plan is None:
        raise UserError(f"plan of {key}: {TITLES[key.edition]} cannot build the network: {log.last()}")
    return plan


def _network_flags(trt: ModuleType) -> int:
    """Return the flags of a strongly typed network; from TensorRT 11 on every one is."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _parse(parser: Any, model: ExternalDataModel, key: PlanKey, log: Any) -> None:
    """Hand a model to a parser, large weights by address: nothing is read from disk or copied."""
    # the weights' files are never opened: a weight that was not handed over fails to parse
    done = parser.load_model_proto(model.proto.SerializeToString())
    for name, value in model.weights.items():
        done = done and parser.load_initializer(name, value.ctypes.data, value.nbytes)
    if done and parser.parse_model_proto():
        return
    raise UserError(f"plan of {key}: {TITLES[key.edition]} cannot read the model: {_parse_errors(parser, log)}")


def _parse_errors(parser: Any, log: Any) -> str:
    """Return what a parser could not read: unsupported operators by name and count, else its first error."""
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    unsupported = [error for error in errors if "UNSUPPORTED" in str(error.code())]
    if unsupported:
        names = sorted({error.node_operator() for error in unsupported})
        first = unsupported[0]
        return (
            f"it does not support {', '.join(names)} as used in {len(unsupported)} nodes, "
            f"the first '{first.node_name()}' ({' '.join(str(first.desc()).split())[:120]})"
        )
    reason = str(errors[0].desc()) if errors else next(iter(log.errors), "it gave no reason")
    return " ".join(reason.split())[:400]


def _profile(builder: Any, spec: EngineSpec) -> Any:
    profile = builder.create_optimization_profile()
    for tensor in spec.inputs:
        sizes = [{name: spec.ranges[name][i] for name in spec.ranges} for i in range(3)]
        profile.set_shape(tensor.name, *(tensor.bound(size) for size in sizes))
    return profile


def _make_monitor(trt: ModuleType) -> Any:
    """Return a progress monitor that stops a build soon after Ctrl-C, which a builder would not hear of."""

    # Inside a function, as the base class is that of the edition that is asked for.
    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.interrupted = False

        def phase_start(self, name: str, parent: str | None, steps: int) -> None: ...

        def step_complete(self, name: str, step: int) -> bool:
            try:
                time.sleep(0)  # where Python notices signals
            except KeyboardInterrupt:
                self.interrupted = True
            return not self.interrupted

        def phase_finish(self, name: str) -> None: ...

    return Monitor()


def select_graphs(bundle: Bundle, roles: Sequence[str] = ()) -> list[Graph]:
    """Return the graphs of a bundle's networks.

    Args:
        bundle: verified.
        roles: which networks; none means all.

    Raises:
        UserError: the bundle has no such role.
    """
    for role in roles:
        if role not in bundle.specs:
            raise UserError(f"--roles: expected some of {', '.join(bundle.specs)}, got {role!r:.60}")
    return [graph for role in roles or bundle.specs for graph in graphs_of(bundle, role)]
