"""Which backend runs a network, and the engine that it makes: ONNX Runtime, TensorRT or PyTorch.

`auto` takes the fastest that `python -m export verify` passed on this machine; where nothing was verified, the first of
those that are ready here. A backend that failed is never taken by itself.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from runtime.engines.backends.editions import capability_of, installed_flavours, require_flavour
from runtime.engines.backends.graphs import GRADIENT, Graph, Networks
from runtime.engines.backends.plans import list_plans, read_plan
from runtime.engines.precision import Compute
from runtime.engines.protocols import BindableEngine
from runtime.errors import UserError

if TYPE_CHECKING:
    from runtime.engines.backends.eager import EagerEngine
    from runtime.engines.backends.results import Verdict

BACKENDS = ("auto", "ort", "tensorrt", "torch")
"""What a user may ask for."""


@dataclass(frozen=True)
class Choice:
    """A backend for one graph."""

    backend: str
    """`ort`, `tensorrt` or `torch`."""
    device: str
    """`cpu`, `cuda` or `cuda:N`."""
    precision: str = ""
    """Precision of the TensorRT plan, a `Compute`; elsewhere empty."""
    reason: str = ""
    """Why it was taken."""

    def __str__(self) -> str:
        """Return `tensorrt fp16`: what `from_text` takes."""
        return f"{self.backend} {self.precision}".strip()

    @classmethod
    def from_text(cls, text: object, device: str) -> "Choice":
        """Return the choice that was told as a text.

        Raises:
            UserError: it is none.
        """
        backend, _, precision = str(text).partition(" ")
        if backend not in BACKENDS[1:] or (precision and precision not in [*Compute]):
            raise UserError(f"backend: expected one of {', '.join(BACKENDS[1:])}, got {text!r:.40}")
        return cls(backend, device, precision, "chosen before")


def choose_device(device: str, backend: str | Mapping[str, str] = "auto") -> str:
    """Return `cpu`, `cuda` or `cuda:N` for a device that may be `auto`: CUDA where PyTorch sees a GPU.

    Args:
        device: what a user asks for.
        backend: likewise; ONNX Runtime alone needs to have CUDA too.

    Raises:
        UserError: no such device, or a GPU where PyTorch sees none.
    """
    if device == "cpu":
        return device
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() and (backend != "ort" or _ort_has_cuda()) else "cpu"
    kind, _, number = device.partition(":")
    if kind != "cuda" or not re.fullmatch(r"cuda(:[0-9]{1,3})?", device):
        raise UserError(f"device: expected cpu, cuda, cuda:N or auto, got {device!r:.40}")
    if not torch.cuda.is_available():
        raise UserError(
            f"device {device!r}: expected a CUDA device that PyTorch sees, got none; use --device cpu, or install a "
            "CUDA build of torch and the GPU's driver"
        )
    if number and int(number) >= torch.cuda.device_count():
        raise UserError(f"device {device!r}: expected cuda:0 to cuda:{torch.cuda.device_count() - 1}")
    return device


def available(graph: Graph, device: str) -> list[Choice]:
    """Return what is ready to run a graph on a device, in the order of preference where nothing was verified."""
    ready = [Choice("tensorrt", device, precision) for precision in built_precisions(graph, device)]
    ort_there = device == "cpu" or _ort_has_cuda()
    if ort_there:
        ready.insert(0, Choice("ort", device))
    if graph.file != GRADIENT and "config.json" in graph.spec.files:
        ready.append(Choice("torch", device))
    return ready if ort_there else [*ready, Choice("ort", "cpu")]


def _ort_has_cuda() -> bool:
    from runtime.engines.backends.ort import has_cuda

    return has_cuda()


def built_precisions(graph: Graph, device: str) -> list[str]:
    """Return the precisions in which a plan of a graph is there for a GPU and the TensorRT that is installed."""
    if device == "cpu":
        return []
    found = {plan.key for plan in list_plans(graph.plans)}
    capability, made = capability_of(device), []
    for flavour in installed_flavours():
        version = str(require_flavour(flavour).__version__)
        made += [p for p in Compute if graph.key(flavour, version, capability, p) in found and p not in made]
    return made


def choose(bundle: Networks, graph: Graph, backend: str, device: str) -> Choice:
    """Return the backend for a graph, and why.

    Args:
        bundle: verified; what `export verify` found on this machine is kept under its digest.
        graph: of one of its networks.
        backend: one of `BACKENDS`; `torch` leaves to ONNX Runtime what has no PyTorch twin.
        device: as `choose_device` returns.

    Raises:
        UserError: an unknown backend, one that can't run the graph here, or, under `auto`, a network all of whose
            backends failed `export verify` on this machine.
    """
    if backend not in BACKENDS:
        raise UserError(f"--backend: expected one of {', '.join(BACKENDS)}, got {backend!r:.40}")
    ready = available(graph, device)
    if backend == "auto":
        return _fastest(bundle, graph, ready, device)
    if backend == "tensorrt":
        return _named(graph, ready, device)
    if backend == "torch" and not any(choice.backend == "torch" for choice in ready):
        plain = next(choice for choice in ready if choice.backend == "ort")
        return replace(plain, reason="the bundle has no PyTorch weights of it")
    return Choice(backend, device, reason="asked for")


def _named(graph: Graph, ready: Sequence[Choice], device: str) -> Choice:
    """Return TensorRT where there is a plan; otherwise the error says what is missing."""
    if device == "cpu":
        raise UserError(
            "--backend tensorrt: expected an NVIDIA GPU, and the networks run on the CPU here; use --backend ort or "
            "torch, or --device cuda where there is a GPU"
        )
    if not installed_flavours():
        require_flavour("tensorrt_rtx")
    chosen = next((choice for choice in ready if choice.backend == "tensorrt"), None)
    if chosen is None:
        there = ", ".join(str(plan.key) for plan in list_plans(graph.plans)) or "none"
        raise UserError(
            f"engine '{graph.name}' has no TensorRT plan for {capability_of(device)} by the version that is installed, "
            f"but {there}; build it with: python -m export build BUNDLE --target {capability_of(device)}"
        )
    return replace(chosen, reason="asked for")


def _fastest(bundle: Networks, graph: Graph, ready: Sequence[Choice], device: str) -> Choice:
    """Return the fastest that passed; else the first of those that were not verified."""
    verdicts = _verdicts(bundle, graph, device)
    passed, refused = [v for v in verdicts if v.passed], [v for v in verdicts if not v.passed]
    timed = [(found.milliseconds, choice) for choice in ready if (found := _of(choice, ready, passed)) is not None]
    if timed:
        timed.sort(key=lambda pair: (pair[0] != pair[0], pair[0]))  # what was not timed comes last
        took = ", ".join(f"{choice} {milliseconds:.1f} ms" for milliseconds, choice in timed)
        return replace(timed[0][1], reason=f"the fastest that passed export verify here: {took}")
    unknown = [choice for choice in ready if _of(choice, ready, refused) is None]
    if unknown:
        reason = "others failed export verify here" if refused else "not verified on this machine"
        return replace(unknown[0], reason=reason)
    failures = "; ".join(str(verdict) for verdict in refused) or "nothing is ready to run it"
    raise UserError(
        f"bundle {bundle.name!r} is not used here: {failures}; export it again in another precision, or name a backend "
        "with --backend to use it all the same"
    )


def _verdicts(bundle: Networks, graph: Graph, device: str) -> "list[Verdict]":
    from runtime.engines.backends.results import read_verdicts

    provider = "gradient" if graph.file == GRADIENT else "value"
    kind = device.partition(":")[0]
    found = read_verdicts(bundle.digest)
    return [v for v in found if (v.role, v.provider, v.device) == (graph.role, provider, kind)]


def _of(choice: Choice, ready: Sequence[Choice], verdicts: "Sequence[Verdict]") -> "Verdict | None":
    """Return the verdict about a choice.

    That of a plan says its precision; of a plan in the model's own, what the model computes in, which may be half
    precision too: it counts as such where no plan was cast to that.
    """
    cast = {other.precision for other in ready} - {"", "model"}
    for verdict in verdicts:
        own = choice.precision == "model" and verdict.precision not in cast
        if verdict.backend == choice.backend and (not choice.precision or own or verdict.precision == choice.precision):
            return verdict
    return None


def make_engine(graph: Graph, choice: Choice, *, threads: int | None = None, compile: bool = False) -> BindableEngine:
    """Return the engine of a graph on a backend.

    Args:
        graph: of a network of a verified bundle.
        choice: the backend, the device, and the precision of a TensorRT plan.
        threads: threads of one operator of ONNX Runtime, at least 1; None means as many as PyTorch uses.
        compile: whether PyTorch compiles the network.

    Raises:
        UserError: the network, its plan or its weights are not there or damaged, or the backend can't run it here.
    """
    if choice.backend == "tensorrt":
        return _tensorrt(graph, choice)
    if choice.backend == "torch":
        return torch_engine(graph, device=choice.device, compile=compile)
    from runtime.engines.backends.ort import OrtEngine

    model, weights = graph.read(choice.device)
    lanes = 2 if graph.role == "denoiser" else 1  # of a guided pair
    return OrtEngine(graph.spec, model, device=choice.device, threads=threads, shared=weights, lanes=lanes)


def torch_engine(graph: Graph, *, device: str = "cpu", compile: bool = False) -> "EagerEngine":
    """Return the PyTorch engine of a graph, through which gradients pass; arguments and errors as of `make_engine`."""
    from runtime.engines.backends.eager import EagerEngine, load_module

    if graph.file == GRADIENT:
        raise UserError(f"engine '{graph.name}': PyTorch differentiates the network itself; use --gradients torch")
    config = graph.bundle.read_file(graph.role, "config.json")
    weights = graph.bundle.read_file(graph.role, "weights.safetensors")
    where = f"bundle {graph.bundle.name!r}: {graph.bundle.folder_of(graph.role).name}"
    return EagerEngine(graph.spec, load_module(config, weights, where), device=device, compile=compile)


def _tensorrt(graph: Graph, choice: Choice) -> BindableEngine:
    from runtime.engines.backends.trt import TrtEngine

    capability = capability_of(choice.device)
    found = {plan.key for plan in list_plans(graph.plans)}
    keys = []
    for flavour in installed_flavours():
        version = str(require_flavour(flavour).__version__)
        keys.append(graph.key(flavour, version, capability, choice.precision or "model"))
    if not keys:
        require_flavour("tensorrt_rtx")
    key = next((key for key in keys if key in found), keys[0])
    return TrtEngine(graph.spec, read_plan(graph.plans, key), flavour=key.flavour, device=choice.device)
