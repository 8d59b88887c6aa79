"""Jobs in processes of their own, some side by side, as they end."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

J = TypeVar("J")


def run_all(jobs: Sequence[J], out: Path, workers: int, run: Callable[[J, Path], str]) -> Iterator[tuple[J, str]]:
    """Run jobs and yield each, as it ends, with what `run` says of it: an error in words, or "".

    Args:
        jobs: in the order in which they begin.
        out: folder that `run` is given.
        workers: processes side by side, each on its share of the cores.
        run: a function of a module: other processes have to find it.
    """
    waiting = list(jobs)
    if not waiting:
        return
    # Spawned processes read these as they begin; one that is set already, by whoever shares the machine out, holds.
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(name, str(max(1, (os.cpu_count() or 1) // workers)))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running: dict[Future[str], J] = {}
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    job = waiting.pop(0)
                    running[pool.submit(run, job, out)] = job
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
