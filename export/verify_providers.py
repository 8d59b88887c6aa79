"""What can run a bundle's networks on this machine: ONNX Runtime, PyTorch, TensorRT, on a CPU or a GPU."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from runtime.engines.bundle import Bundle, BundleFolder
from runtime.engines.protocols import Engine
from runtime.engines.verdicts import BACKENDS
from runtime.errors import UserError

Gradient = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""x, dL/dy -> y, dL/dx."""


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One way to run a network."""

    backend: str
    """One of `runtime.engines.verdicts.BACKENDS`."""
    device: str
    """`cpu` or `cuda`."""
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
        labels = {"ort": "ONNX Runtime", "torch": "PyTorch", "tensorrt": "TensorRT"}
        what = "" if self.kind == "value" else ", gradient"
        return f"{labels[self.backend]} {'CUDA' if self.device == 'cuda' else 'CPU'}{what}"


def devices() -> tuple[str, ...]:
    """Return the devices of this machine: `cpu`, and `cuda` where PyTorch sees one."""
    return ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)


def providers(
    bundle: BundleFolder, role: str, backends: Sequence[str], device: str, report: Callable[[str], None]
) -> Iterator[Provider]:
    """Yield every way to run a network on a device, one after the other: each is made when it is asked for.

    Args:
        bundle: the bundle, loaded for the device.
        role: what the network is for.
        backends: those that are asked for, in order.
        device: `cpu` or `cuda`.
        report: told of a backend that this machine, or this bundle, has not.
    """
    for backend in backends:
        try:
            yield from _MAKERS[backend](bundle, role, device)
        except UserError as error:
            report(f"{role}: {backend} on {device} left out: {error}")


def _ort(bundle: BundleFolder, role: str, device: str) -> Iterator[Provider]:
    yield Provider(backend="ort", device=device, value=bundle.engine(role))
    if "vjp.onnx" in bundle.specs[role].files:
        yield Provider(backend="ort", device=device, gradient=_engine_gradient(bundle.vjp_engine(role)))


def _torch(bundle: BundleFolder, role: str, device: str) -> Iterator[Provider]:
    if not isinstance(bundle, Bundle) or not {"config.json", "weights.safetensors"} <= set(bundle.specs[role].files):
        return
    engine = bundle.eager_engine(role)
    yield Provider(backend="torch", device=device, value=engine)
    if role in DIFFERENTIATED:
        yield Provider(backend="torch", device=device, gradient=gradient_of(engine))


def _tensorrt(bundle: BundleFolder, role: str, device: str) -> Iterator[Provider]:
    if device != "cuda":
        return
    from runtime.engines import backends  # pyright: ignore[reportAttributeAccessIssue]

    yield Provider(
        backend="tensorrt", device=device, value=backends.make_engine(bundle, role, "tensorrt", device=device)
    )


_MAKERS: dict[str, Callable[[BundleFolder, str, str], Iterator[Provider]]] = {
    "ort": _ort,
    "torch": _torch,
    "tensorrt": _tensorrt,
}
assert set(_MAKERS) == set(BACKENDS)

DIFFERENTIATED = ("latent_encoder", "image_embedder")
"""Roles whose gradient by the images a loop needs."""


def _engine_gradient(engine: Engine) -> Gradient:
    def gradient(x: Tensor, cotangent: Tensor) -> tuple[Tensor, Tensor]:
        value, pulled = engine(x, cotangent)
        return value, pulled

    return gradient


def gradient_of(function: Callable[..., Tensor | tuple[Tensor, ...]]) -> Gradient:
    """Return value and vector-Jacobian product by the first input of a function that PyTorch can differentiate."""

    def gradient(x: Tensor, cotangent: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            outputs = function(x)
            value = outputs[0] if isinstance(outputs, tuple) else outputs
            return value.detach(), torch.autograd.grad(value, x, cotangent)[0]

    return gradient
