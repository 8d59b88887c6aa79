"""`python -m serving studio`: the page and the gateway, with worker processes of this machine."""

import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from annotated_types import Interval

from serving.work import usable_cores

if TYPE_CHECKING:
    from serving.gateway.server import Address, Setup

MOST_LANES = 4
"""Jobs side by side where the user leaves it open: each worker holds its own networks."""


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Where a server listens, to whom, and what it keeps."""

    port: Annotated[int, Interval(ge=0, le=65535)] = 8765
    """Port; 0 takes a free one."""
    host: str = "127.0.0.1"
    """Address; one that other machines reach needs --tokens."""
    store: Path = Path("served")
    """Folder of jobs, results and uploads; a server that is started again resumes them."""
    tokens: Path | None = None
    """JSON file of who may use the server: {"name": {"sha256": hash of the secret, "quota": jobs at once}}."""
    allow_host: tuple[str, ...] = ()
    """Names, such as that of a proxy, that the server answers to beside localhost."""
    webhook_host: tuple[str, ...] = ()
    """Hosts that clients may have notified when their jobs end."""
    queue: Annotated[int, Interval(ge=1, le=100_000)] = 256
    """Jobs that may wait."""
    keep_days: Annotated[float, Interval(ge=0.001, le=36500)] = 30.0
    """Days that a job stays after its end."""
    store_gib: Annotated[float, Interval(ge=0.001, le=1e6)] = 10.0
    """GiB of all jobs that have ended; the oldest go first."""
    log_requests: tyro.conf.FlagCreatePairsOff[bool] = False
    """Also log what clients ask for, prompts included."""
    bundle: tuple[str, ...] = ()
    """Folders of bundles to offer beside the installed ones."""
    probe_minutes: Annotated[float, Interval(ge=0, le=10_000)] = 0.0
    """Minutes between two rounds of one-step jobs, one a method, which readiness depends on; 0: only when asked."""

    def address(self) -> "Address":
        """Return where to listen; a `UserError` where that is open to strangers."""
        from serving.gateway.access import read_tokens
        from serving.gateway.server import Address

        tokens = tuple(read_tokens(self.tokens)) if self.tokens else ()
        return Address(
            host=self.host, port=self.port, names=self.allow_host, tokens=tokens, webhook_hosts=self.webhook_host
        )


@dataclass(frozen=True, kw_only=True)
class Studio(ServerOptions):
    """Serve the studio page and the gateway; jobs run in worker processes of this machine.

    Jobs and results stay in the store: a server that is killed and started again resumes them.
    """

    jobs: Annotated[int, Interval(ge=1, le=256)] | None = None
    """Jobs side by side; by default one a core, at most four."""
    threads: Annotated[int, Interval(ge=1, le=1024)] | None = None
    """Threads of a job; by default the cores shared out evenly."""
    device: str = "cpu"
    """Where networks run: cpu, cuda, cuda:N, or auto: a GPU where there is one."""
    backend: str = "ort"
    """What runs them: ort, tensorrt, torch or auto, as of the methods' own commands."""
    open: tyro.conf.FlagCreatePairsOff[bool] = False
    """Open the page in a browser."""


def run_studio(options: Studio) -> int:
    """Serve until a signal ends it; return the exit code."""
    from serving.gateway.server import serve

    def ready(url: str) -> None:
        print(f"studio: {url}   store: {options.store}   Ctrl-C ends it; jobs resume at the next start", flush=True)
        if options.open:
            webbrowser.open(url)

    return serve(studio_setup(options), ready)


def studio_setup(options: Studio) -> "Setup":
    """Return the server that some options describe."""
    from serving.gateway.server import Setup
    from serving.jobs import Limits
    from serving.lanes import ProcessLane
    from serving.methods import served_methods
    from serving.pool import Placed

    cores = usable_cores()
    count = options.jobs or min(cores, MOST_LANES)
    threads = options.threads or max(1, cores // count)
    # Without it each worker's libraries would start as many threads as there are cores, of which most would wait.
    environment = {"OMP_NUM_THREADS": str(threads), "NUMBA_NUM_THREADS": str(threads)}
    limits = Limits(queue=options.queue, keep_s=options.keep_days * 86400.0, size=round(options.store_gib * 2**30))
    return Setup(
        store=options.store,
        served=served_methods(),
        lanes=[ProcessLane(f"worker-{number}", environment) for number in range(count)],
        address=options.address(),
        placed=Placed(device=options.device, backend=options.backend, threads=threads),
        limits=limits,
        bundles=options.bundle,
        log_requests=options.log_requests,
        probe_s=60.0 * options.probe_minutes,
    )
