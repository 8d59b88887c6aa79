"""Build TensorRT plans of a bundle's networks ahead of time: for which GPU, in which precision, kept where they fit.

TensorRT-RTX builds on a processor for any GPU that it knows. Full TensorRT times kernels while it builds and so builds
for the GPU that is here. A plan is written into the network's `plans` folder with its document
(`runtime.engines.plans`); one that is there and matches is kept, so that a build that was stopped goes on.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from export.fold import fold_bytes
from export.loose import LooseModel, load_loose
from export.precision import HALVES, to_half
from runtime.engines.bundle import BundleFolder
from runtime.engines.flavours import TITLES, buildable, installed_flavours, require_flavour
from runtime.engines.plans import PRECISIONS, PlanKey, building, hash_source, read_plan, write_plan
from runtime.engines.spec import EngineSpec, FileSpec
from runtime.errors import UserError

KEPT_IN_FLOAT32 = ("latent_encoder",)
"""Roles that are never cast: half precision in the encoder spoils the loop's gradient (Thesis 6.4.2)."""

ROOM = 1.6
"""Bytes that have to be free for each byte of weights: a plan holds them and its kernels, under a temporary name."""

LEAST_ROOM = 64 << 20
"""Bytes that have to be free in any case."""

_NOT_IN_RTX = {"sm70": "V100", "sm87": "Jetson Orin", "sm90": "H100, H200", "sm100": "B200", "sm103": "B300"}


Progress = Callable[[str, int, int], None]
"""What is being done, how much is done, and how much there is."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """One graph of a bundle to build plans of."""

    role: str
    """What messages call it: the role, with `.vjp` for its graph of value and vector-Jacobian product."""
    spec: EngineSpec
    """Its tensors and ranges, and the hashes of its files."""
    graph: str
    """Name of the model's file in its folder."""
    read: Callable[[], tuple[bytes, Mapping[str, bytes]]]
    """Returns the model's verified content, and that of the files with its weights."""
    folder: Path
    """The `plans` folder."""
    shared: Mapping[str, FileSpec]
    """Files of weights beside bundle.json."""

    def precision(self, wanted: str) -> str:
        """Return the precision that it is built in where `wanted` is asked for."""
        kept = self.role in KEPT_IN_FLOAT32 or self.role.endswith(("vjp", "_vjp"))
        return "model" if kept and wanted in HALVES else wanted

    def key(self, flavour: str, capability: str, precision: str) -> PlanKey:
        """Return the key of a plan of it by the TensorRT that is installed."""
        return PlanKey(
            network=self.role,
            source=hash_source(self.spec, self.graph, self.shared),
            flavour=flavour,
            version=str(require_flavour(flavour).__version__),
            capability=capability,
            precision=precision,
        )


def check_targets(text: str) -> dict[str, str]:
    """Return the flavour that builds each compute capability of a list such as `sm80,sm89`.

    Raises:
        UserError: neither flavour is installed, or a capability is none or one that no installed flavour builds for.
    """
    flavours = installed_flavours()
    if not flavours:
        require_flavour("tensorrt_rtx")
    chosen = {}
    for target in dict.fromkeys(part.strip().lower().replace("_", "") for part in text.split(",")):
        flavour = next((name for name in flavours if target in buildable(name)), None)
        if flavour is None:
            raise UserError(_no_target(target, flavours))
        chosen[target] = flavour
    return chosen


def _no_target(target: str, flavours: Sequence[str]) -> str:
    has = "; ".join(
        f"{TITLES[name]} {require_flavour(name).__version__} builds here for {', '.join(buildable(name)) or 'none'}"
        for name in flavours
    )
    if target not in _NOT_IN_RTX:
        return f"--target {target!r:.40}: expected compute capabilities such as sm89, separated by commas; {has}"
    return (
        f"--target {target} ({_NOT_IN_RTX[target]}): {has}; for this GPU install full TensorRT on a machine that has "
        "it (pip install tensorrt) and build there, or run with --backend ort or torch"
    )


def build_plans(
    networks: Sequence[Network],
    targets: Mapping[str, str],
    precision: str,
    report: Callable[[str], None],
    progress: Progress = lambda what, done, total: None,
) -> list[tuple[PlanKey, Path]]:
    """Build the plans that are missing or don't match; return the key and file of every one.

    Args:
        networks: graphs of a bundle.
        targets: the flavour for each compute capability, as `check_targets` returns.
        precision: one of `runtime.engines.plans.PRECISIONS`.
        report: called with a line about each plan.
        progress: called with what is being built, how many plans are done, and how many there are.

    Raises:
        UserError: an unknown precision, too little disk space, a folder that can't be written, or a network that
            TensorRT has no operators for; what was built before stays.
    """
    if precision not in PRECISIONS:
        raise UserError(f"--precision: expected one of {', '.join(PRECISIONS)}, got {precision!r:.60}")
    built = []
    for network in networks:
        model: list[LooseModel] = []  # loaded once, and only where a plan is missing
        for target, flavour in targets.items():
            key = network.key(flavour, target, network.precision(precision))
            progress(str(key), len(built), len(networks) * len(targets))
            built.append((key, _ensure_plan(network, key, model, report)))
    return built


def _ensure_plan(network: Network, key: PlanKey, model: list[LooseModel], report: Callable[[str], None]) -> Path:
    path = network.folder / f"{key.stem}.plan"
    try:
        with building(network.folder, key, wait=lambda: report(f"{key}: another process is building it, waiting")):
            if path.is_file():
                try:
                    report(f"{key}: kept, {len(read_plan(network.folder, key)) / 2**20:.1f} MiB")
                    return path
                except UserError as error:
                    report(f"{key}: built anew: {error}")
            if not model:
                model.append(_load(network, key.precision))
            _check_room(network.folder, model[0].nbytes, key)
            start = time.monotonic()
            plan = memoryview(build_plan(model[0], network.spec, key))
            write_plan(network.folder, key, plan)
            report(f"{key}: built in {time.monotonic() - start:.1f} s, {len(plan) / 2**20:.1f} MiB")
    except OSError as error:
        raise UserError(
            f"plan of {key}: '{network.folder}' cannot be written: {error.strerror or error}; "
            "copy the bundle to a folder of yours and build there"
        ) from error
    return path


def _load(network: Network, precision: str) -> LooseModel:
    content, files = network.read()
    loose = fold_bytes(load_loose(content, files, f"engine '{network.role}'"))
    return to_half(loose, precision) if precision in HALVES else loose


def _check_room(folder: Path, weights: int, key: PlanKey) -> None:
    needed, free = int(ROOM * weights) + LEAST_ROOM, shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"plan of {key}: expected {needed / 2**20:.0f} MiB free in '{folder}', got {free / 2**20:.0f}; "
            "make room, or build for fewer targets"
        )


def build_plan(loose: LooseModel, spec: EngineSpec, key: PlanKey) -> Any:
    """Return a plan, as an object with a buffer.

    Args:
        loose: the model, without weights of bytes, in the precision that the key names.
        spec: its tensors and ranges: the least, typical and greatest shapes make the optimization profile.
        key: flavour, compute capability and precision.

    Raises:
        UserError: TensorRT has no operator for a node, or can't build the network; the message names what it said.
    """
    trt = require_flavour(key.flavour)
    log = _make_log(trt)
    builder = trt.Builder(log)
    network = builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, log)
    _parse(parser, loose, key, log)
    config = builder.create_builder_config()
    config.add_optimization_profile(_profile(builder, spec))
    if hasattr(config, "set_compute_capability"):
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, key.capability.upper()), 0)
    if key.precision != "tf32":
        config.clear_flag(trt.BuilderFlag.TF32)
    config.progress_monitor = monitor = _make_monitor(trt)
    plan = builder.build_serialized_network(network, config)
    if monitor.interrupted:
        raise KeyboardInterrupt
    if plan is None:
        said = " ".join(log.errors[-1].split())[:400] if log.errors else "it gave no reason"
        raise UserError(f"plan of {key}: {TITLES[key.flavour]} cannot build the network: {said}")
    return plan


def _network_flags(trt: ModuleType) -> int:
    """Return the flags of a strongly typed network; from TensorRT 11 on every one is."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _parse(parser: Any, loose: LooseModel, key: PlanKey, log: Any) -> None:
    """Hand a model to a parser, its large weights by address: nothing is read from disk, nothing is copied."""
    # the weights' files are never opened: a weight that was not handed over fails to parse
    done = parser.load_model_proto(loose.model.SerializeToString())
    for name, value in loose.weights.items():
        done = done and parser.load_initializer(name, value.ctypes.data, value.nbytes)
    if done and parser.parse_model_proto():
        return
    raise UserError(f"plan of {key}: {TITLES[key.flavour]} cannot read the model: {_parse_errors(parser, log)}")


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
    said = str(errors[0].desc()) if errors else next(iter(log.errors), "it gave no reason")
    return " ".join(said.split())[:400]


def _profile(builder: Any, spec: EngineSpec) -> Any:
    profile = builder.create_optimization_profile()
    for tensor in spec.inputs:
        sizes = [{name: spec.ranges[name][i] for name in spec.ranges} for i in range(3)]
        profile.set_shape(tensor.name, *(tensor.bound(size) for size in sizes))
    return profile


def _make_log(trt: ModuleType) -> Any:
    """Return a logger of a flavour that keeps errors and shows nothing."""

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)

    return Log()


def _make_monitor(trt: ModuleType) -> Any:
    """Return a progress monitor that stops a build soon after Ctrl-C, which a builder would not hear of."""

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


def networks_of(bundle: BundleFolder, roles: Sequence[str] = ()) -> Iterator[Network]:
    """Yield the graphs of a bundle: that of each network's value, and of its vector-Jacobian product where it has one.

    Args:
        bundle: verified.
        roles: which networks; none means all.

    Raises:
        UserError: the bundle has no such role.
    """
    for role in roles or bundle.specs:
        if role not in bundle.specs:
            raise UserError(f"--roles: expected some of {', '.join(bundle.specs)}, got {role!r:.60}")
        spec = bundle.specs[role]
        yield _network(bundle, role, role, spec, "model.onnx")
        if "vjp.json" in spec.files:
            where = f"bundle {bundle.name!r}: {role}/vjp.json"
            vjp = EngineSpec.from_json(bundle.read_file(role, "vjp.json"), where)
            yield _network(bundle, role, f"{role}.vjp", replace(vjp, files=spec.files), "vjp.onnx")


def _network(bundle: BundleFolder, role: str, name: str, spec: EngineSpec, graph: str) -> Network:
    def read() -> tuple[bytes, Mapping[str, bytes]]:
        weights = [file for file in spec.files if file.endswith(".safetensors")]
        return bundle.read_file(role, graph), {
            **bundle.shared_weights(),
            **{file: bundle.read_file(role, file) for file in weights},
        }

    return Network(
        role=name,
        spec=spec,
        graph=graph,
        read=read,
        folder=bundle.folder_of(role) / "plans",
        shared=bundle.shared_files(),
    )
