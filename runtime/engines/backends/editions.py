"""TensorRT by either of its names, full `tensorrt` or TensorRT-RTX, whichever is installed: one interface."""

import importlib
from functools import cache
from types import ModuleType
from typing import Any

from runtime.errors import UserError
from runtime.installing import install_command

_MODULES = {
    "tensorrt_rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
    "tensorrt": ("tensorrt", "tensorrt_bindings"),
}

TITLES = {"tensorrt_rtx": "TensorRT-RTX", "tensorrt": "TensorRT"}
"""What messages call each edition."""


@cache
def load_edition(edition: str) -> ModuleType | None:
    """Return the module of an edition, or None where it isn't installed or can't be loaded."""
    for name in _MODULES[edition]:
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError, RuntimeError):  # a wheel without its libraries raises what it likes
            continue
        # a package without its libraries may import as an empty module
        if hasattr(module, "Runtime"):
            return module
    return None


def installed_editions() -> list[str]:
    """Return the editions that can be loaded here, TensorRT-RTX first."""
    return [edition for edition in _MODULES if load_edition(edition) is not None]


def require_edition(edition: str) -> ModuleType:
    """Return the module of an edition.

    Raises:
        UserError: it isn't installed; the message names the extra.
    """
    module = load_edition(edition)
    if module is None:
        raise UserError(
            f"{TITLES[edition]} is not installed here; install TensorRT-RTX with: {install_command('tensorrt')}"
        )
    return module


def capability_of(device: Any = None) -> str:
    """Return the compute capability of a CUDA device, such as sm89.

    Args:
        device: as PyTorch takes one; None means the current one.

    Raises:
        UserError: PyTorch sees no CUDA device.
    """
    import torch

    if not torch.cuda.is_available():
        raise UserError("TensorRT needs an NVIDIA GPU, and PyTorch sees none here; use --backend ort or torch")
    return "sm{}{}".format(*torch.cuda.get_device_capability(device))


def buildable(edition: str) -> tuple[str, ...]:
    """Return the compute capabilities that an edition builds plans for on this machine.

    TensorRT-RTX builds ahead of time for any that it knows, with no GPU; full TensorRT for the GPU that is here.

    Raises:
        UserError: the edition isn't installed.
    """
    trt = require_edition(edition)
    if edition == "tensorrt_rtx":
        names = [name.lower() for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
        # by number: as text, sm120 comes before sm89
        return tuple(sorted(names, key=lambda name: int(name[2:])))
    try:
        return (capability_of(),)
    except UserError:
        return ()


def make_log(trt: ModuleType) -> Any:
    """Return a logger of an edition that keeps what went wrong and shows nothing."""

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(" ".join(message.split())[:400])
                # a log lives as long as its engine, every call of which may fail
                del self.errors[:-100]

        def last(self) -> str:
            """Return the last thing that went wrong."""
            return self.errors[-1] if self.errors else "it gave no reason"

    return Log()
