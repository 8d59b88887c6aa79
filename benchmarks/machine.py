"""What a figure was measured on: processor, cores, versions, commit."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("torch", "numba", "numpy", "onnxruntime", "onnxruntime-gpu", "diffusers")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str | None:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return None


def commit() -> str:
    """Return the short hash of the checkout, with a plus where files differ from it, or "unknown"."""
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=9", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent, check=False)
    return done.stdout.strip() or "unknown"


def describe_machine() -> str:
    """Return one line: processor, usable cores, Python, package versions, commit."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(text for name in _PACKAGES if (text := _version(name)))
    return f"{_processor()}, {cores} cores; Python {platform.python_version()}, {versions}; commit {commit()}"
