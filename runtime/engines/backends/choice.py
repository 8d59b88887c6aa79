"""Which backend runs a network, and the engine that it makes: ONNX Runtime, TensorRT or PyTorch.

`auto` takes the fastest that `python -m export verify` passed on this machine; where nothing was verified, the first of
those that are ready here. A backend that failed is never taken by itself.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from runtime.engines.backends.graphs import GRADIENT, Graph, Networks
from runtime.engines.backends.table import BACKENDS, Choice
from runtime.engines.protocols import BindableEngine
from runtime.errors import UserError

if TYPE_CHECKING:
    from runtime.engines.backends.results import VerificationResult


def backend_names() -> tuple[str, ...]:
    """Return what a user may ask for: `auto`, or one of `table.BACKENDS`."""
    return ("auto", *BACKENDS)


def choose_device(device: str, backend: str | Mapping[str, str] = "auto") -> str:
    """Return `cpu`, `cuda` or `cuda:N` for a device that may be `auto`: CUDA where PyTorch sees a GPU.

    Args:
        device: what a user asks for.
        backend: likewise; one that is named has to run on the GPU too.

    Raises:
        UserError: no such device, or a GPU where PyTorch sees none.
    """
    if device == "cpu":  # first, since it can be answered without loading PyTorch
        return device
    import torch

    if device == "auto":
        # a GPU that PyTorch sees is of no use where the backend that was named lacks it
        named = BACKENDS.get(backend) if isinstance(backend, str) else None
        return "cuda" if torch.cuda.is_available() and (named is None or named.driver.has_cuda()) else "cpu"
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
    ready = [choice for backend in BACKENDS.values() for choice in backend.driver.ready(graph, device)]
    return sorted(ready, key=lambda choice: choice.device != device)  # the CPU in place of a GPU comes last


def choose(bundle: Networks, graph: Graph, backend: str, device: str) -> Choice:
    """Return the backend for a graph, and why.

    Args:
        bundle: verified against its hashes; its digest leads to this machine's verification results.
        graph: of one of its networks.
        backend: one of `backend_names`; `torch` leaves to ONNX Runtime what has no PyTorch twin.
        device: as `choose_device` returns.

    Raises:
        UserError: an unknown backend, one that can't run the graph here, or, under `auto`, a network all of whose
            backends failed `export verify` on this machine.
    """
    if backend not in backend_names():
        raise UserError(f"--backend: expected one of {', '.join(backend_names())}, got {backend!r:.40}")
    ready = available(graph, device)
    if backend == "auto":
        return _fastest(bundle, graph, ready, device)
    for choice in ready:
        # the device too: ONNX Runtime without CUDA offers the CPU, which nobody asked for
        if (choice.backend, choice.device) == (backend, device):
            return replace(choice, reason="asked for")
    reason = BACKENDS[backend].driver.missing(graph, device)
    # reached only where ONNX Runtime may stand in, which can run every graph
    return replace(next(choice for choice in ready if choice.backend == "ort"), reason=reason)


def _fastest(bundle: Networks, graph: Graph, ready: Sequence[Choice], device: str) -> Choice:
    """Return the fastest that passed; else the first of those that were not verified."""
    results = _results(bundle, graph, device)
    passed = [result for result in results if result.passed]
    refused = [result for result in results if not result.passed]
    timed = [(result.milliseconds, choice) for choice in ready if (result := _of(choice, ready, passed)) is not None]
    if timed:
        timed.sort(key=lambda pair: (math.isnan(pair[0]), pair[0]))  # what was not timed comes last
        took = ", ".join(f"{choice} {milliseconds:.1f} ms" for milliseconds, choice in timed)
        return replace(timed[0][1], reason=f"the fastest that passed export verify here: {took}")
    unverified = [choice for choice in ready if _of(choice, ready, refused) is None]
    if unverified:
        reason = "others failed export verify here" if refused else "not verified on this machine"
        return replace(unverified[0], reason=reason)
    failures = "; ".join(str(result) for result in refused) or "nothing is ready to run it"
    raise UserError(
        f"bundle {bundle.name!r} is not used here: {failures}; export it again in another precision, or name a backend "
        "with --backend to use it all the same"
    )


def _results(bundle: Networks, graph: Graph, device: str) -> "list[VerificationResult]":
    from runtime.engines.backends.results import read_results

    provider = "gradient" if graph.file == GRADIENT else "value"
    # results are of a kind of device: the machine's key covers all its GPUs
    kind = device.partition(":")[0]
    return [
        result
        for result in read_results(bundle.digest)
        if (result.role, result.provider, result.device) == (graph.role, provider, kind)
    ]


def _of(
    choice: Choice, ready: Sequence[Choice], results: "Sequence[VerificationResult]"
) -> "VerificationResult | None":
    """Return the result for a choice.

    The result of a plan names the plan's precision. That of a plan in the model's own precision names what the model
    computes in, which may be half precision; it counts for that plan where no other was cast to the same precision.
    """
    cast = {other.precision for other in ready} - {"", "model"}
    for result in results:
        own = choice.precision == "model" and result.precision not in cast
        if result.backend == choice.backend and (not choice.precision or own or result.precision == choice.precision):
            return result
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
    return BACKENDS[choice.backend].driver.make(graph, choice, threads=threads, compile=compile)
