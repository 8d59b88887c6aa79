"""What a figure was measured on: processor, cores, versions, commit."""

import os
import platform
import subprocess
from pathlib import Path

from runtime.engines.hardware import package_version, processor_name

_PACKAGES = ("torch", "numba", "numpy", "onnxruntime", "onnxruntime-gpu", "diffusers")


def commit() -> str:
    """Return the short hash of the checkout, with a plus where files differ from it, or "unknown"."""
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=9", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent, check=False)
    return done.stdout.strip() or "unknown"


def describe_environment() -> str:
    """Return one line: processor, usable cores, Python, package versions, commit."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(f"{name} {version}" for name in _PACKAGES if (version := package_version(name)))
    return f"{processor_name()}, {cores} cores; Python {platform.python_version()}, {versions}; commit {commit()}"
