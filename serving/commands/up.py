"""`python -m serving up`: a real tritonserver on a repository, and the gateway with its page before it."""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from runtime.errors import UserError
from runtime.files import read_ordinary
from serving.commands.studio import ServerOptions

if TYPE_CHECKING:
    from serving.gateway.server import Setup
    from serving.methods import Served
    from serving.triton.server import Triton


@dataclass(frozen=True, kw_only=True)
class Up(ServerOptions):
    """Serve a repository: a real tritonserver does the jobs, and the gateway and the page are before it.

    The server comes from pip, into an environment of its own, which is made on first use. It listens to this machine
    alone: clients reach it through the gateway.
    """

    repository: tyro.conf.Positional[Path]
    """Folder that python -m serving build has written."""
    environment: Path | None = None
    """Folder of the server's environment; by default in the user's cache."""
    triton: str | None = None
    """Ports HTTP,GRPC of a tritonserver that runs here on this repository already, such as 8000,8001."""


def run_up(options: Up) -> int:
    """Serve until a signal ends it; return the exit code."""
    from serving.gateway.server import RunningServer
    from serving.triton.server import TritonServer

    server = triton_server(options)
    # First the store and the port: whoever has them may end what an earlier server of this store has left.
    running = RunningServer(triton_setup(options, server))
    # uvicorn handles signals only while it runs.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    first = "starting tritonserver; the first time its environment is made, which takes minutes"
    print("waiting for tritonserver" if options.triton else first, flush=True)
    try:
        server.start()
        where = f"gRPC {server.grpc}   HTTP 127.0.0.1:{server.ports.http}"
        running.run(lambda url: print(f"studio: {url}   tritonserver: {where}", flush=True))
        return 0
    finally:
        running.close()
        if isinstance(server, TritonServer):
            server.stop()


def triton_server(options: Up) -> "Triton":
    """Return the server of a repository, not yet started.

    Raises:
        UserError: the folder is no repository, or something in it is wrong.
    """
    from serving.repository import check_repository
    from serving.triton.server import Ports, Triton, TritonServer, environment_folder
    from serving.work import usable_cores

    wrong = check_repository(options.repository)
    if wrong:
        raise UserError(f"repository '{options.repository}': {wrong[0]}; build it with: python -m serving build")
    if options.triton:
        ports = [int(text) for text in options.triton.split(",") if text.isdigit()]
        if len(ports) != 2 or max(ports) > 65535:
            raise UserError(f"--triton: expected two ports such as 8000,8001, got {options.triton!r:.60}")
        return Triton(Ports(ports[0], ports[1], 0))
    variables = {
        "TGM_WORK": str(options.store.absolute()),
        "TGM_BUNDLES": os.pathsep.join(str(Path(bundle).absolute()) for bundle in options.bundle),
        "TGM_THREADS": str(threads_of(options.repository, usable_cores())),
    }
    environment = options.environment or environment_folder()
    return TritonServer(options.repository, options.store / "triton", environment, variables)


def triton_setup(options: Up, server: "Triton") -> "Setup":
    """Return the gateway before a server: a lane for each job that it does at once."""
    from serving.gateway.server import Setup
    from serving.jobs import Limits
    from serving.lanes import Lane
    from serving.pool import Placed
    from serving.triton.lanes import TritonLane
    from serving.triton.server import TritonServer
    from serving.work import usable_cores

    served = models_served(options.repository)
    # In a container the networks have no processes of their own.
    networks = networks_called(options.repository) if isinstance(server, TritonServer) else []
    lanes: list[Lane] = [
        TritonLane(f"triton-{number}", server, models_of_lane(options.repository, number), networks)
        for number in range(lanes_of(options.repository))
    ]
    limits = Limits(queue=options.queue, keep_s=options.keep_days * 86400.0, size=round(options.store_gib * 2**30))
    return Setup(
        store=options.store,
        served=served,
        lanes=lanes,
        address=options.address(),
        placed=Placed(threads=threads_of(options.repository, usable_cores())),
        limits=limits,
        bundles=options.bundle,
        log_requests=options.log_requests,
        probe_s=60.0 * options.probe_minutes,
    )


def models_served(repository: Path) -> "dict[str, Served]":
    """Return the methods that a repository has, by name."""
    from serving.methods import Served, method_at

    homes = {
        config.parameters["method"].string_value: config.parameters["home"].string_value
        for config in _methods(repository).values()
    }
    return {name: Served(name, home, method_at(home)) for name, home in sorted(homes.items())}


def models_of_lane(repository: Path, lane: int) -> dict[str, str]:
    """Return the models of a lane, counted from 0, by the home of the method: each lane has its own processes."""
    copies: dict[str, list[str]] = {}
    for config in sorted(_methods(repository).values(), key=lambda c: int(c.parameters["copy"].string_value)):
        copies.setdefault(config.parameters["home"].string_value, []).append(config.name)
    # A method that was built for fewer jobs has models that several lanes take turns at.
    return {home: names[lane % len(names)] for home, names in copies.items()}


def networks_called(repository: Path) -> list[str]:
    """Return the models of networks that the server runs for methods; none where each method runs its own."""
    configs = _configs(repository)
    called = any(config.parameters["networks"].string_value == "triton" for config in _methods(repository).values())
    return [name for name, config in configs.items() if config.backend == "onnxruntime"] if called else []


def lanes_of(repository: Path) -> int:
    """Return how many jobs run side by side."""
    return max(int(config.parameters["copy"].string_value) for config in _methods(repository).values())


def threads_of(repository: Path, cores: int) -> int:
    """Return the threads of a job: the cores shared out among those that run side by side."""
    return max(1, cores // lanes_of(repository))


def _methods(repository: Path) -> dict[str, Any]:
    """Return the configurations of the models of a repository's methods."""
    methods = {name: config for name, config in _configs(repository).items() if config.backend == "python"}
    if not methods:
        raise UserError(f"repository '{repository}': has no method; build it with: python -m serving build")
    return methods


def _configs(repository: Path) -> dict[str, Any]:
    """Return the configurations of a repository's models."""
    from serving.triton.configs import from_text

    paths = sorted(repository.glob("*/config.pbtxt"))
    return {path.parent.name: from_text(read_ordinary(path, 1 << 20).decode("utf-8"), str(path)) for path in paths}
