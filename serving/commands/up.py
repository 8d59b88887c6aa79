"""`python -m serving up`: a real tritonserver on a repository, and the gateway with its page before it."""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from runtime.errors import UserError
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
    from serving.work import usable_cores

    served = models_served(options.repository)
    model_of = {method.home: name for name, method in served.items()}
    count = max(_instances(options.repository).values())
    lanes: list[Lane] = [TritonLane(f"triton-{number}", server, model_of) for number in range(count)]
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
    """Return the methods that a repository has, by the names of their models."""
    from serving.methods import Served, method_at

    homes = {name: config.parameters["home"].string_value for name, config in _methods(repository).items()}
    return {name: Served(name, home, method_at(home)) for name, home in sorted(homes.items())}


def threads_of(repository: Path, cores: int) -> int:
    """Return the threads of a job: the cores shared out among those that run side by side."""
    return max(1, cores // max(_instances(repository).values()))


def _instances(repository: Path) -> dict[str, int]:
    return {name: config.instance_group[0].count for name, config in _methods(repository).items()}


def _methods(repository: Path) -> dict[str, Any]:
    """Return the configurations of a repository's methods."""
    from serving.triton.configs import from_text

    paths = sorted(repository.glob("*/config.pbtxt"))
    configs = {path.parent.name: from_text(path.read_text("utf-8"), str(path)) for path in paths}
    methods = {name: config for name, config in configs.items() if config.backend == "python"}
    if not methods:
        raise UserError(f"repository '{repository}': has no method; build it with: python -m serving build")
    return methods
