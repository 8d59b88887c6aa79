"""What can run a bundle's networks on this machine: ONNX Runtime, PyTorch, TensorRT, on a CPU or a GPU."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.engines.backends.choice import available, make_engine
from runtime.engines.backends.graphs import GRADIENT, Graph, graphs_of
from runtime.engines.backends.table import BACKENDS, Choice
from runtime.engines.bundle import Bundle
from runtime.engines.precision import Compute
from runtime.engines.protocols import Engine
from runtime.errors import UserError

Gradient = Callable[
    [Float[Tensor, "B ..."], Float[Tensor, "B ..."]], tuple[Float[Tensor, "B ..."], Float[Tensor, "B ..."]]
]
"""x, dL/dy -> y, dL/dx."""

DIFFERENTIATED = ("latent_encoder", "image_embedder")
"""Roles whose gradient by the images a loop needs."""


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One way to run a network."""

    backend: str
    """One of `runtime.engines.backends.table.BACKENDS`."""
    device: str
    """`cpu`, `cuda` or `cuda:N`."""
    compute: Compute = Compute.MODEL
    """What products were cast to for this backend."""
    value: Engine | None = None
    """Its outputs, where this is what it gives."""
    gradient: Gradient | None = None
    """Its output and vector-Jacobian product, where this is what it gives."""

    @property
    def kind(self) -> str:
        """`value` or `gradient`."""
        return "value" if self.value is not None else "gradient"

    @property
    def name(self) -> str:
        """What the table calls it."""
        cast = "" if self.compute is Compute.MODEL else f" {self.compute}"
        title, what = BACKENDS[self.backend].title, "" if self.kind == "value" else ", gradient"
        return f"{title} {self.device.upper()}{cast}{what}"


def devices() -> tuple[str, ...]:
    """Return the devices of this machine: `cpu`, and `cuda` where PyTorch sees one."""
    return ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)


def providers(
    bundle: Bundle, role: str, backends: Sequence[str], device: str, report: Callable[[str], None]
) -> Iterator[Provider]:
    """Yield every way to run a network on a device, one after the other: each is made when it is asked for.

    Args:
        bundle: the bundle.
        role: what the network is for.
        backends: those that are asked for.
        device: `cpu`, `cuda` or `cuda:N`.
        report: called with a line about a backend that this machine has and that cannot run the network.
    """
    for graph in graphs_of(bundle, role):
        for choice in available(graph, device):
            if choice.backend not in backends or choice.device != device:
                continue
            try:
                # One at a time: an engine may fill the device's memory.
                yield from _provide(graph, choice, bundle.threads)
            except UserError as error:
                report(f"{graph.name}: {choice} on {device} left out: {error}")


def _provide(graph: Graph, choice: Choice, threads: int | None) -> Iterator[Provider]:
    """Yield the provider of a graph, and for a PyTorch module whose gradient is needed, that too."""
    compute = Compute(choice.precision or Compute.MODEL)
    if graph.file == GRADIENT:
        gradient = _gradient_of_engine(make_engine(graph, choice, threads=threads))
        yield Provider(backend=choice.backend, device=choice.device, compute=compute, gradient=gradient)
        return
    engine = make_engine(graph, choice, threads=threads)
    yield Provider(backend=choice.backend, device=choice.device, compute=compute, value=engine)
    if getattr(engine, "passes_gradients", False) and graph.role in DIFFERENTIATED:
        yield Provider(backend=choice.backend, device=choice.device, compute=compute, gradient=gradient_of(engine))


def _gradient_of_engine(engine: Engine) -> Gradient:
    def gradient(x: Tensor, cotangent: Tensor) -> tuple[Tensor, Tensor]:
        value, product = engine(x, cotangent)
        return value, product

    return gradient


def gradient_of(function: Callable[..., Tensor | tuple[Tensor, ...]]) -> Gradient:
    """Return value and vector-Jacobian product by the first input of a function that PyTorch can differentiate."""

    def gradient(x: Tensor, cotangent: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            # A leaf of its own: the caller's tensor must not start to collect gradients.
            x = x.detach().requires_grad_()
            outputs = function(x)
            value = outputs[0] if isinstance(outputs, tuple) else outputs
            return value.detach(), torch.autograd.grad(value, x, cotangent)[0]

    return gradient
