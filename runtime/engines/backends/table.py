"""The backends that can run a network, in the order of preference; a new one is a driver and a line of `BACKENDS`.

A driver is a module with the functions of `Driver`. It is imported when it is first needed, since each loads a library
that takes a second to start.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from runtime.engines.precision import Compute
from runtime.errors import UserError

if TYPE_CHECKING:
    from runtime.engines.backends.graphs import Graph
    from runtime.engines.protocols import BindableEngine


class Driver(Protocol):
    """What a backend's module has to offer."""

    def has_cuda(self) -> bool:
        """Return whether the backend runs on a GPU of this machine."""
        ...

    def ready(self, graph: "Graph", device: str) -> "list[Choice]":
        """Return the ways in which the backend can run a graph, the preferred one first.

        Args:
            graph: of a network of a verified bundle.
            device: `cpu`, `cuda` or `cuda:N`; a choice may be on the CPU where the backend lacks the GPU.
        """
        ...

    def missing(self, graph: "Graph", device: str) -> str:
        """Return why ONNX Runtime runs a graph instead of this backend, which was asked for and is not ready.

        Raises:
            UserError: where that would surprise the user: what is missing, and how to get it.
        """
        ...

    def make(self, graph: "Graph", choice: "Choice", *, threads: int | None, compile: bool) -> "BindableEngine":
        """Return the engine of a graph.

        Args:
            graph: of a network of a verified bundle.
            choice: one of `ready`.
            threads: threads of one operator, at least 1; None means as many as PyTorch uses.
            compile: whether the backend may spend minutes on making the network faster.

        Raises:
            UserError: a file of the network is missing or damaged, or the backend cannot run it here.
        """
        ...


@dataclass(frozen=True)
class Backend:
    """One line of the table."""

    name: str
    """Its name in `--backend`, in verification results and in run folders."""
    title: str
    """Its name in tables."""
    module: str
    """Name of its driver."""

    @property
    def driver(self) -> Driver:
        """The driver, imported on first use."""
        return cast(Driver, import_module(self.module))


BACKENDS: Mapping[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend("ort", "ONNX Runtime", "runtime.engines.backends.ort"),
        Backend("tensorrt", "TensorRT", "runtime.engines.backends.trt_driver"),
        Backend("torch", "PyTorch", "runtime.engines.backends.eager"),
    )
}
"""Every backend, by name. ONNX Runtime is first: it runs every graph, on a CPU at least."""


@dataclass(frozen=True)
class Choice:
    """A backend for one graph."""

    backend: str
    """One of `BACKENDS`."""
    device: str
    """`cpu`, `cuda` or `cuda:N`."""
    precision: str = ""
    """What a TensorRT plan computes in, a `Compute`; elsewhere empty."""
    reason: str = ""
    """Why it was taken."""

    def __str__(self) -> str:
        """Return `tensorrt fp16`: what `from_text` takes."""
        return f"{self.backend} {self.precision}".strip()

    @classmethod
    def from_text(cls, text: object, device: str) -> "Choice":
        """Return the choice that `str` wrote.

        Raises:
            UserError: the text names no backend, or no precision.
        """
        backend, _, precision = str(text).partition(" ")
        if backend not in BACKENDS or (precision and precision not in [*Compute]):
            raise UserError(f"backend: expected one of {', '.join(BACKENDS)}, got {text!r:.40}")
        return cls(backend, device, precision, "chosen before")
