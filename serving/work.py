"""Doing a job: the run folder, the drawing, its files, and what made them. Whoever calls has no say in the result.

Worker processes, the Triton model and Ray all call `perform`. A job that was killed is performed again with the same
folder, and `draw` resumes it to the same bytes.
"""

import contextlib
import hashlib
import mimetypes
import os
import platform
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from runtime.command.method import Method, checked, draw, read_inputs, with_copies, write_files
from runtime.errors import UserError
from runtime.files import replace_file
from runtime.version import __version__
from serving.archives import SUFFIX, content_of, unpack
from serving.methods import method_at
from serving.requests import Request

if TYPE_CHECKING:
    from runtime.engines.bundle import Bundle
    from runtime.loop.events import Event
    from runtime.loop.folder import RunFolder

LOCK_S = 120.0
"""Seconds to wait for a job's folder: the process of a killed server takes its last step to the end before it goes."""

_TYPES = mimetypes.MimeTypes()
"""Python's own table: a machine's list of types would make manifests differ."""
_TYPES.add_type("model/gltf-binary", ".glb")

_VERSIONS = ("torch", "numpy", "numba", "onnxruntime", "onnxruntime-gpu")


@dataclass(frozen=True, kw_only=True)
class Task:
    """All that a process needs to do a job; JSON in, JSON out."""

    job: str
    """Its id."""
    home: str
    """Where its method is; see `serving.methods.Served.home`."""
    request: dict[str, Any]
    """See `serving.requests.Request.to_json`."""
    folder: str
    """The job's folder."""
    files: dict[str, str] = field(default_factory=dict)
    """Where each file that it reads lies, by option."""
    device: str = "cpu"
    """Where its networks run."""
    backend: str = "ort"
    """What runs them."""
    threads: int = 1
    """Threads that it computes with."""
    bundle: str = ""
    """Folder of its bundle; empty: the installed one of the name that the request gives."""
    networks: str = ""
    """Triton server that runs the networks: `http://HOST:PORT` of one on this machine, with shared memory, or
    `HOST:PORT` of the gRPC of any; empty: this process runs them."""


LoadBundle = Callable[["Task", Method[Any], str], "Bundle"]


def perform(
    task: Task,
    *,
    report: "Callable[[Event, Method[Any], Any, Any], None]",
    stop: threading.Event,
    load: LoadBundle | None = None,
) -> dict[str, Any]:
    """Return the manifest of a job that is done: its request, what made it, and the files in `run/result/`.

    Args:
        task: the job.
        report: receives each event with the method, its configuration and its bundle, for previews.
        stop: ends the run between two steps, with its state saved.
        load: loads the bundle; by default in this process.

    Raises:
        UserError: the request cannot be done.
        StoppedRun: `stop` was set.
    """
    method, request, folder = method_at(task.home), Request.from_json(task.request), Path(task.folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=LOCK_S), clients_words(folder):
            set_threads(task.threads)
            config = checked(method, request.config(method, place_files(request, task.files, folder)))
            bundle = None if method.kind is None else (load or load_bundle)(task, method, task.bundle or config.bundle)
            if bundle is not None and bundle.digest != request.bundle_sha256:
                raise UserError(f"bundle {bundle.name!r} is not the one that the job began with; submit it again")
            method.validate(config, bundle)
            with open_run(method, config, request, folder / "run") as run:
                scene = draw(
                    method, config, bundle, run=run, stop=stop,
                    report=lambda event: report(event, method, with_copies(method, config, run), bundle),
                )  # fmt: skip
                run.plot()
                outputs = write_results(method, with_copies(method, config, run), bundle, scene, run.path / "result")
            return {**manifest_of(task, request, bundle), "outputs": outputs}
    except Timeout as error:
        raise UserError(f"job {task.job!r}: another process is still at work on it; retry it in a minute") from error


@contextlib.contextmanager
def clients_words(folder: Path) -> Iterator[None]:
    """Name a job's files as its client does in the errors of a method: without the server's folder before them."""
    sent = re.compile(re.escape(f"{folder}{os.sep}") + rf"(sent{re.escape(os.sep)}\w+{re.escape(os.sep)})?")
    try:
        yield
    except (UserError, OSError) as error:
        raise UserError(sent.sub("", str(error))) from error


def set_threads(threads: int) -> None:
    """Let PyTorch use so many threads; ONNX Runtime and the compiled kernels take as many as PyTorch has."""
    import torch

    torch.set_num_threads(threads)


def place_files(request: Request, files: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return where the files of a request lie under their own names, which results may carry; by option."""
    placed = {}
    for option, file in request.files.items():
        path = folder / "sent" / option / file.name
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            _, content = content_of(Path(files[option]))
            if hashlib.sha256(content).hexdigest() != file.sha256:
                raise UserError(f"{option}: '{file.name}' is not what was sent (SHA-256); upload it again")
            # Whole or not at all: a later attempt, after a kill, takes the file that is there.
            replace_file(path, content)
        # A method that reads a folder, such as photos of a scene, gets one out of an archive.
        placed[option] = str(unpack(path, path.with_suffix("")) if path.suffix == SUFFIX else path)
    return placed


def open_run(method: Method[Any], config: Any, request: Request, path: Path) -> "RunFolder":
    """Return a job's run folder: the one that an earlier attempt has left, or a new one."""
    from runtime.loop.folder import RunFolder, is_run

    if is_run(path):
        try:
            return RunFolder.reopen(path)
        except UserError:
            # Left by another version: a run ends in the same bytes only under the version that began it.
            shutil.rmtree(path)
    document = {**request.to_json(), "config": dict(request.values)}
    return RunFolder.create(path, document, inputs=read_inputs(method, config))


@lru_cache(maxsize=2)
def _loaded(name: str, device: str, backend: str, threads: int, kinds: tuple[str, ...]) -> "Bundle":
    from runtime.engines.bundle.kinds import class_for

    return class_for(kinds).load(name, device=device, backend=backend, threads=threads)


def load_bundle(task: Task, method: Method[Any], name: str) -> "Bundle":
    """Return a bundle whose networks run in this process; the last two stay loaded."""
    return _loaded(name, task.device, task.backend, task.threads, method.kinds)


def write_results(method: Method[Any], config: Any, bundle: Any, scene: Any, folder: Path) -> list[dict[str, Any]]:
    """Write a scene's files into a folder; return name, kind, size and SHA-256 of each, the main one first."""
    folder.mkdir(exist_ok=True)
    out = folder / f"{method.stem(config)}{method.suffixes(config)[0]}"
    return [describe_file(path) for path in write_files(method, config, bundle, scene, out)]


def describe_file(path: Path) -> dict[str, Any]:
    """Return name, kind, size and SHA-256 of a file."""
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return {"name": path.name, "type": media_type(path.name), "size": len(content), "sha256": digest}


def media_type(name: str) -> str:
    """Return what a file is by its name, the same on each machine; what nobody knows is bytes."""
    return _TYPES.guess_type(name)[0] or "application/octet-stream"


def manifest_of(task: Task, request: Request, bundle: Any) -> dict[str, Any]:
    """Return what made a result: the request with its seed, the networks by hash and what ran them, versions."""
    manifest: dict[str, Any] = {
        "job": task.job,
        "request": request.to_json(),
        "seed": request.values.get("seed"),
        "threads": task.threads,
        "versions": {"tgm": __version__, "python": platform.python_version(), **_versions()},
        "machine": platform.machine(),
    }
    if bundle is not None:
        networks = {
            role: {name: file.sha256 for name, file in sorted(spec.files.items())}
            for role, spec in bundle.specs.items()
        }
        choices = bundle.choices()
        ran_on = {name: str(choice) for name, choice in choices.items()}
        where = {"device": task.device, "triton": task.networks} if task.networks else {"device": task.device}
        manifest["bundle"] = {
            "name": bundle.name, "sha256": bundle.digest, "networks": networks, "ran_on": ran_on,
            "plans": plans_of(bundle, choices), **where,
        }  # fmt: skip
    return manifest


def plans_of(bundle: "Bundle", choices: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of each TensorRT plan that ran, by its graph; that of an ONNX file is among the network's."""
    from runtime.engines.backends.graphs import graphs_of

    graphs = [graph for role in bundle.specs for graph in graphs_of(bundle, role)]
    chosen = [graph for graph in graphs if graph.name in choices and choices[graph.name].backend == "tensorrt"]
    if not chosen:
        return {}
    from runtime.engines.backends.trt_driver import plan_of

    plans = {graph.name: plan_of(graph, choices[graph.name]) for graph in chosen}
    return {name: plan.file.sha256 for name, plan in plans.items() if plan is not None}


def _versions() -> dict[str, str]:
    from runtime.engines.hardware import package_version

    return {name: version for name in _VERSIONS if (version := package_version(name))}


def usable_cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
