"""A real tritonserver out of a wheel: its own environment, its start, its end, and what is done when it dies.

`nvidia-pytriton` carries tritonserver with the python backend. Its server needs `numpy<2`, so it lives in an
environment of its own, which sees the packages of this one behind its own. No C++ backend for ONNX Runtime or TensorRT
is on the registries: `models/onnx_backend.py` stands in for both. NVIDIA's container loads the repository without it.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from runtime.engines.backends.results import cache_folder
from runtime.errors import UserError
from runtime.files import replace_file
from runtime.installing import HOUSE

PACKAGES = ("nvidia-pytriton==0.7.0", "numpy<2")
"""What the server's environment holds."""

PACKAGE_FOLDERS = ("site-packages", "dist-packages")
"""How folders of packages are named."""

PATHS = "TGM_PATHS"
"""Environment variable of the folders of packages that the server's environment sees behind its own."""

READY_S = 120.0
"""Seconds in which a server has to be ready."""

STUB = "triton_python_backend_stub"
"""Program of a process of a model."""

STACK_KIB = 128 * 1024
"""The server's stack: 2.51 puts JSON bodies on it, and 8 MiB are too few for one of 4 MiB."""


def environment_folder() -> Path:
    """Return where the server's environment is, or will be."""
    return cache_folder() / f"triton-{sys.version_info.major}.{sys.version_info.minor}"


def make_environment(folder: Path) -> Path:
    """Return the Python of the server's environment, which is made where there is none.

    Raises:
        UserError: pip could not install it.
    """
    python = folder / "bin" / "python"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock", thread_local=False):
        if not (folder / "complete").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            _call(sys.executable, "-m", "venv", str(folder))
            _call(str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES)
            (folder / "complete").touch()
        (packages,) = folder.glob("lib/python*/site-packages")
        # Not the paths themselves: several installations of this package may share the environment.
        line = f"import os, sys; sys.path.extend(filter(None, os.environ.get('{PATHS}', '').split(os.pathsep)))\n"
        if not (packages / "others.pth").is_file() or (packages / "others.pth").read_text() != line:
            replace_file(packages / "others.pth", line)
    return python


def _call(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise UserError(
            f"'{' '.join(words[:4])} ...' failed: {' '.join(last)}; tritonserver runs on Linux with pip only"
        )


@dataclass(frozen=True)
class Ports:
    """Where a server listens, on 127.0.0.1 alone."""

    http: int
    grpc: int
    metrics: int

    @classmethod
    def free(cls) -> "Ports":
        """Return ports that are free now."""
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            return cls(*(each.getsockname()[1] for each in sockets))


class Triton:
    """A tritonserver that somebody else has started, in a container perhaps.

    Args:
        ports: where it listens on this machine.
    """

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self._access = threading.RLock()

    @property
    def grpc(self) -> str:
        """Address of its gRPC."""
        return f"127.0.0.1:{self.ports.grpc}"

    @property
    def http(self) -> str:
        """Address of its HTTP."""
        return f"http://127.0.0.1:{self.ports.http}"

    def start(self) -> None:
        """Wait until it is ready.

        Raises:
            UserError: it does not get ready.
        """
        until = time.monotonic() + READY_S
        while not self.alive():
            if time.monotonic() > until:
                raise UserError(f"tritonserver at {self.grpc} is not ready: start it, or look into its log")
            time.sleep(0.5)

    def alive(self) -> bool:
        """Return whether the server itself answers; its models' processes may be dead all the same."""
        return self.call("GET", "/v2/health/live", 5.0) == 200

    def stubs(self, model: str) -> list[int]:
        """Return the ids of the processes of a model."""
        return [pid for pid, words in self._stubs() if runs(words, model)]

    def dead(self, models: Sequence[str]) -> list[str]:
        """Return those of some models that have no process."""
        there = list(self._stubs())
        return [model for model in models if not any(runs(words, model) for _, words in there)]

    def _stubs(self) -> Iterator[tuple[int, Sequence[str]]]:
        """Yield id and words of each process of a model."""
        return ((pid, words) for pid, words in _processes() if STUB in words[0])

    def call(self, verb: str, path: str, timeout_s: float = 30.0) -> int:
        """Return the status of a call to its HTTP; 0 where it does not answer."""
        url = f"{self.http}{path}"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method=verb), timeout=timeout_s) as response:
                return response.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def reload(self, model: str, *, alive: bool = False) -> bool:
        """Load a model again whose process has died, which loading alone does not do; return whether it is ready.

        Args:
            model: its name.
            alive: also if its process is there.
        """
        with self._access:
            # Whoever held the lock may have done it.
            if self.stubs(model) and not alive:
                return True
            self.call("POST", f"/v2/repository/models/{model}/unload")
            until = time.monotonic() + 30.0
            while self.stubs(model) and time.monotonic() < until:
                time.sleep(0.1)
            # It is called unloaded a moment before it is.
            for _ in range(20):
                time.sleep(0.3)
                if self.call("POST", f"/v2/repository/models/{model}/load", READY_S) == 200 and self.stubs(model):
                    return True
        return False


class TritonServer(Triton):
    """A tritonserver on a repository; started again where it has died.

    Args:
        repository: folder of models.
        work: folder of its log and its backends, which no other server uses meanwhile.
        environment: folder of the server's environment.
        variables: environment variables of the models' processes.
    """

    def __init__(
        self, repository: Path, work: Path, environment: Path, variables: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(Ports.free())
        self.repository, self.work, self.environment = repository.absolute(), work.absolute(), environment
        self.variables = dict(variables or {})
        # Of its folder: whoever starts the next one there ends what a killed one has left.
        self.prefix = f"tgm{hashlib.sha256(str(self.work).encode()).hexdigest()[:12]}"
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def alive(self) -> bool:
        """Return whether its process runs."""
        return self.process is not None and self.process.poll() is None

    def _stubs(self) -> Iterator[tuple[int, Sequence[str]]]:
        """Yield id and words of each process of a model."""
        return ((pid, words) for pid, words in _children(self.process) if STUB in words[0])

    def start(self) -> None:
        """Start it and wait until it is ready; nothing where it runs.

        Raises:
            UserError: it does not start; the message ends with the last lines of its log.
        """
        with self._access:
            if self.process is not None and self.process.poll() is None:
                return
            self._clean()
            python = make_environment(self.environment)
            command, variables = self._command(python)
            self.work.mkdir(parents=True, exist_ok=True)
            with (self.work / "triton.log").open("ab") as log:
                self.process = subprocess.Popen(
                    command, env=variables, stdout=log, stderr=log, cwd=self.work, start_new_session=True
                )  # fmt: skip
            self.starts += 1
            self._wait_until_ready()

    def _command(self, python: Path) -> tuple[list[str], dict[str, str]]:
        """Return the command and its environment variables."""
        (packages,) = self.environment.glob("lib/python*/site-packages")
        server = packages / "pytriton" / "tritonserver"
        options = self.options(self._backends(server), server / "caches")
        stack = ("/bin/sh", "-c", f'ulimit -s {STACK_KIB}; exec "$@"', "sh")
        command = [*stack, str(server / "bin" / "tritonserver"), *options]
        libraries = [str(sysconfig.get_config_var("LIBDIR")), str(packages / "nvidia_pytriton.libs")]
        variables = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            **self.variables,
            # The interpreter's own library first, then the wheel's: without either it hangs or takes a wrong Python.
            "LD_LIBRARY_PATH": os.pathsep.join(libraries),
            # The stub finds its packages by the first python3 of the path.
            "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
            # Behind its own packages: its NumPy comes first, and PyTorch is found here.
            PATHS: os.pathsep.join([str(HOUSE), *(path for path in sys.path if path.endswith(PACKAGE_FOLDERS))]),
        }
        variables.pop("PYTHONPATH", None)
        return command, variables

    def options(self, backends: Path, caches: Path) -> list[str]:
        """Return the options of tritonserver.

        Args:
            backends: folder of its backends.
            caches: folder of its caches' libraries.
        """
        ports = self.ports
        return [
            f"--model-repository={self.repository}",
            f"--backend-directory={backends}",
            f"--cache-directory={caches}",
            # By default it listens to the whole network.
            *(f"--{name}-address=127.0.0.1" for name in ("http", "grpc", "metrics")),
            f"--http-port={ports.http}",
            f"--grpc-port={ports.grpc}",
            f"--metrics-port={ports.metrics}",
            "--allow-gpu-metrics=false",
            "--exit-timeout-secs=3",
            "--model-control-mode=explicit",
            "--load-model=*",
            f"--backend-config=python,shm-region-prefix-name={self.prefix}",
        ]

    def _backends(self, server: Path) -> Path:
        """Return a folder of backends: Triton's python backend with its stub, and the stand-ins."""
        backends = self.work / "backends"
        stub = f"{sys.version_info.major}.{sys.version_info.minor}"
        program = server / "python_backend_stubs" / stub / "triton_python_backend_stub"
        if not program.is_file():
            raise UserError(f"tritonserver: has no stub for Python {stub}; use 3.11, 3.12 or 3.13")
        # Copies: it refuses links that lead out of the folder. Not again: a process that ends may still run it.
        if not (backends / "python" / program.name).is_file():
            shutil.copytree(server / "backends" / "python", backends / "python", dirs_exist_ok=True)
            shutil.copy2(program, backends / "python")
        for name in ("onnxruntime", "tensorrt"):
            (backends / name).mkdir(exist_ok=True)
            shutil.copy2(Path(__file__).parents[1] / "models" / "onnx_backend.py", backends / name / "model.py")
        return backends

    def _wait_until_ready(self) -> None:
        assert self.process is not None
        until = time.monotonic() + READY_S
        while time.monotonic() < until and self.process.poll() is None:
            if self.call("GET", "/v2/health/ready") == 200:
                return
            time.sleep(0.1)
        self.stop()
        lines = (self.work / "triton.log").read_text("utf-8", "replace").splitlines()
        reason = next((line for line in reversed(lines) if "error" in line.lower() or "failed" in line.lower()), "")
        raise UserError(f"tritonserver did not get ready: {reason[-400:]}; its log: {self.work / 'triton.log'}")

    def stop(self) -> None:
        """End it, with the processes of its models."""
        with self._access:
            process = self.process
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(timeout=5.0)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            self._clean()
            self.process = None

    def _clean(self) -> None:
        """End processes and free memory that a server of ours which was killed has left."""
        until = time.monotonic() + 10.0
        # They hold its ports and its memory for a moment after they were killed.
        while (left := self._left()) and time.monotonic() < until:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        for path in Path("/dev/shm").glob(f"{self.prefix}*"):
            path.unlink(missing_ok=True)

    def _left(self) -> list[int]:
        """Return the ids of the processes of a server of ours."""
        return [pid for pid, words in _processes() if any(self.prefix in word for word in words)]


def runs(words: Sequence[str], model: str) -> bool:
    """Return whether a process is that of a model, by the words of its command: the stub gets the path of its file."""
    # By the end of the path: a folder on the way to the repository may have the name of a model.
    return any(Path(word).parts[-3:-2] == (model,) and Path(word).stem == "model" for word in words)


def _processes() -> Iterator[tuple[int, Sequence[str]]]:
    """Yield id and words of each process of this machine."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                yield int(folder.name), (folder / "cmdline").read_text("utf-8", "replace").split("\0")


def _children(process: "subprocess.Popen[bytes] | None") -> Iterator[tuple[int, Sequence[str]]]:
    """Yield id and words of each child of a process that is not a zombie."""
    for pid, words in _processes() if process else ():
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
            if process is not None and int(parent) == process.pid and state != "Z":
                yield pid, words
