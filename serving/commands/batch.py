"""`python -m serving batch`: many requests, on all cores or on a Ray cluster."""

import os
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from annotated_types import Interval

from runtime.command.seeds import parse_seeds
from runtime.errors import UserError
from runtime.installing import HOUSE

if TYPE_CHECKING:
    import serving.batch


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Draw what each line of a file says, on all cores or on a Ray cluster; finished ones are skipped the next time.

    python -m serving batch prompts.txt --out drawings
    python -m serving batch requests.jsonl --out drawings --ray auto
    """

    file: tyro.conf.Positional[Path]
    """A prompt a line; or .jsonl: {"method": ..., "options": {...}} a line, with paths of files from its folder on."""
    out: Path
    """Folder of the results and of results.jsonl, a line a job."""
    method: str = "vectorfusion"
    """What draws the lines that name no method."""
    seeds: str = "0"
    """Seeds of each line that names none: 0, 0-3, 1,5,9."""
    jobs: Annotated[int, Interval(ge=1, le=1024)] | None = None
    """Jobs side by side on this machine; by default one a core."""
    threads: Annotated[int, Interval(ge=1, le=1024)] = 1
    """Threads of a job."""
    bundle: tuple[str, ...] = ()
    """Folders of bundles that requests may name beside the installed ones."""
    ray: str | None = None
    """Address of a Ray cluster, or auto: the one that runs here. All nodes have to see the folder of the results."""


def run_batch(options: Batch) -> int:
    """Draw what is left; return the exit code: 1 where a job has failed, 130 after Ctrl-C."""
    import serving.batch as batches
    from serving.bundles import Offers
    from serving.methods import served_methods

    served, offers = served_methods(), Offers(options.bundle)
    rows = batches.read_rows(options.file, served, offers, options.method, parse_seeds(options.seeds))
    batch = batches.Batch(options.out, rows, served, offers, threads=options.threads, note=print)
    if batch.skipped:
        print(f"{batch.skipped} of {len(rows)} are done already")
    code = _on_ray(batch, options.ray) if options.ray else _on_cores(batch, options.jobs)
    print(f"a line a job is in {options.out / batches.RESULTS}")
    return code or (1 if batch.failed else 0)


def _on_cores(batch: "serving.batch.Batch", jobs: int | None) -> int:
    """Draw on the cores of this machine."""
    from serving.lanes import ProcessLane
    from serving.work import usable_cores

    threads = str(batch.threads)
    count = min(jobs or max(1, usable_cores() // batch.threads), max(1, len(batch.left)))
    environment = {"OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}
    lanes = [ProcessLane(f"worker-{number}", environment) for number in range(count)]
    stop, number = threading.Event(), 0

    def handle(signal_number: int, _: object) -> None:
        nonlocal number
        number = signal_number
        stop.set()

    before = {each: signal.signal(each, handle) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        batch.run_on_lanes(lanes, stop)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        for lane in lanes:
            lane.close()
    if number:
        print("stopped; the same command resumes", file=sys.stderr)
    return 128 + number if number else 0


def _on_ray(batch: "serving.batch.Batch", address: str) -> int:
    """Draw on a Ray cluster."""
    from serving.batch import run_on_ray

    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError("--ray: needs Ray: pip install ray") from error
    cluster: Any = ray
    try:
        path = os.pathsep.join([str(HOUSE), *filter(None, [os.environ.get("PYTHONPATH")])])
        cluster.init(address=address, runtime_env={"env_vars": {"PYTHONPATH": path}}, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(f"--ray {address}: no cluster answers ({error}); start one: ray start --head"[:300]) from None
    try:
        run_on_ray(batch, cluster)
    finally:
        cluster.shutdown()
    return 0
