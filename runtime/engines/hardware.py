"""What a measurement or a verification result holds for: processor, GPUs, and versions of what runs networks."""

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RUNTIMES = (
    "torch",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt",
    "tensorrt-cu12",
    "tensorrt-cu13",
    "tensorrt-rtx",
    "tensorrt-rtx-cu12-libs",
    "tensorrt-rtx-cu13-libs",
)
"""Packages whose versions decide what an engine computes."""


def processor_name() -> str:
    """Return the processor's name as the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def gpu_names() -> tuple[str, ...]:
    """Return the names of the CUDA devices that PyTorch sees, in its order; often none."""
    import torch

    if not torch.cuda.is_available():
        return ()
    return tuple(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))


def package_version(name: str) -> str | None:
    """Return the version of an installed package, or None where it is not."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def machine_key() -> str:
    """Return 16 hexadecimal digits that differ where processor, GPUs or a version in `RUNTIMES` do."""
    versions = [f"{name} {number}" for name in RUNTIMES if (number := package_version(name))]
    text = "\n".join((processor_name(), *gpu_names(), *versions))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
