"""Throughput of small models by NVIDIA's own perf_analyzer, which a wheel of tritonclient holds."""

import csv
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.serving.rows import row
from serving.triton.configs import model_name
from serving.triton.server import TritonServer

WHEEL = "tritonclient==2.50.0"
"""The last one whose perf_analyzer runs with the C library of Debian 12."""

MODELS = ("text_embedder", "image_embedder")
"""Small networks of `icons`."""

CLIENTS = (1, 8)
"""Requests that are under way at once."""

LIBRARIES = {"libb64.so.0d": "libb64-*.so.0d", "libcudart.so.12": "libcudart-*.so.12.*"}
"""What it is linked to, and what the server's wheel calls its copies."""


def get_analyzer(environment: Path, folder: Path) -> tuple[Path, dict[str, str]] | None:
    """Return perf_analyzer and its environment variables; None where it can't be fetched.

    Args:
        environment: of the server, whose libraries it uses.
        folder: where it is unpacked.
    """
    words = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), WHEEL]
    done = subprocess.run(words, capture_output=True, check=False)
    wheels = list(folder.glob("tritonclient-*.whl"))
    if done.returncode or not wheels:
        return None
    program = folder / "perf_analyzer"
    with zipfile.ZipFile(wheels[0]) as wheel:
        member = next(name for name in wheel.namelist() if name.endswith("/bin/perf_analyzer"))
        program.write_bytes(wheel.read(member))
    program.chmod(0o755)
    libraries = folder / "lib"
    libraries.mkdir()
    for name, pattern in LIBRARIES.items():
        (library,) = environment.glob(f"lib/python*/site-packages/nvidia_pytriton.libs/{pattern}")
        (libraries / name).symlink_to(library)
    return program, {**os.environ, "LD_LIBRARY_PATH": str(libraries)}


def analyze(server: TritonServer, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield requests a second and latencies of small models, over gRPC with shared memory."""
    fetched = get_analyzer(server.environment, folder)
    if fetched is None:
        yield row("perf_analyzer", message=f"pip could not fetch {WHEEL}")
        return
    program, variables = fetched
    for model in MODELS:
        for clients in CLIENTS:
            table = folder / f"{model}-{clients}.csv"
            words = [
                *(str(program), "-m", model_name("icons", model), "-i", "grpc", "-u", server.grpc),
                *("--concurrency-range", str(clients), "--shared-memory", "system", "-f", str(table)),
                *("--output-shared-memory-size", "65536"),
                # Three windows, however they differ: on a busy machine it would else give no figures at all.
                *("--measurement-interval", "2000", "--max-trials", "4", "--stability-percentage", "999"),
            ]
            done = subprocess.run(words, capture_output=True, text=True, env=variables, check=False)
            case = f"perf_analyzer: {model} of icons, {clients} at once"
            if not table.is_file():
                yield row(case, message=(done.stderr or done.stdout).strip()[-300:])
                continue
            yield row(case, **read_table(table.read_text("utf-8")))


def read_table(text: str) -> dict[str, float]:
    """Return requests a second and latencies in milliseconds out of perf_analyzer's table."""
    (line,) = csv.DictReader(text.splitlines())
    return {
        "requests_a_second": float(line["Inferences/Second"]),
        "p50_ms": float(line["p50 latency"]) / 1e3,
        "p99_ms": float(line["p99 latency"]) / 1e3,
    }
