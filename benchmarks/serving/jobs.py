"""Whole jobs an hour, some side by side: each worker with networks of its own, or all with those of a server."""

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.serving.rows import row
from runtime.errors import UserError
from serving.bundles import Offers
from serving.lanes import ProcessLane
from serving.methods import Served, served_methods
from serving.requests import parse_request
from serving.triton.configs import model_name
from serving.triton.server import TritonServer
from serving.work import Task

SIDE_BY_SIDE = (1, 2, 4, 8)
"""Jobs at once."""

OPTIONS = {"prompt": "a red apple", "route": "scratch", "target_every": 0, "steps": 20, "paths": 32}
"""A short drawing: each step calls the denoiser for a guided pair."""


class Workers:
    """Worker processes as the studio has them, one thread each.

    Args:
        folder: of the jobs.
        count: how many.
    """

    def __init__(self, folder: Path, count: int) -> None:
        environment = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        self.lanes = [ProcessLane(f"worker-{number}", environment) for number in range(count)]
        self.folder, self.seed = folder, 0
        self.served: dict[str, Served] = served_methods(["runtime.vectorfusion"])
        self.offers = Offers()

    def task(self, networks: str) -> Task:
        """Return a new job: a seed that no earlier one had."""
        self.seed += 1
        document = {"method": "vectorfusion", "options": {**OPTIONS, "seed": self.seed}}
        request = parse_request(document, self.served, self.offers.digest_of, defaults=self.offers.defaults_of)
        name = f"{self.seed:05d}"
        home, where = self.served["vectorfusion"].home, str(self.folder / name)
        return Task(job=name, home=home, request=request.to_json(), folder=where, networks=networks)

    def draw(self, lanes: Sequence[ProcessLane], count: int, networks: str) -> float:
        """Return the seconds that some jobs take on some lanes."""
        tasks = [self.task(networks) for _ in range(count)]
        access, failed = threading.Lock(), []

        def work(lane: ProcessLane) -> None:
            while True:
                with access:
                    if not tasks:
                        return
                    task = tasks.pop()
                *_, (kind, data) = lane.run(task)
                if kind != "done":
                    failed.append(f"{kind}: {data}")

        threads = [threading.Thread(target=work, args=(lane,)) for lane in lanes]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise UserError(f"a job did not end: {failed[0]}")
        return time.perf_counter() - began

    def close(self) -> None:
        """End the processes."""
        for lane in self.lanes:
            lane.close()


def count_jobs(server: TritonServer, folder: Path, jobs: int) -> Iterator[dict[str, Any]]:
    """Yield the jobs an hour at each number side by side, and how many pairs a call of the server's network held."""
    folder.mkdir()
    workers = Workers(folder, max(SIDE_BY_SIDE))
    sides = {"own_networks": "", "batched_by_triton": server.http}
    try:
        for networks in sides.values():
            # Each process loads its networks and kernels before anything is timed.
            workers.draw(workers.lanes, len(workers.lanes), networks)
        for count in SIDE_BY_SIDE:
            figures: dict[str, float] = {}
            before = executions(server)
            for name, networks in sides.items():
                seconds = workers.draw(workers.lanes[:count], max(jobs, count), networks)
                figures[f"{name}_jobs_an_hour"] = round(3600 * max(jobs, count) / seconds)
            pairs, calls = (now - then for now, then in zip(executions(server), before, strict=True))
            yield row(f"jobs, {count} side by side", **figures, pairs_a_call=pairs / 2 / max(1, calls))
    finally:
        workers.close()


def executions(server: TritonServer) -> tuple[int, int]:
    """Return how many pictures the server's denoiser was given, and in how many calls."""
    from tritonclient import grpc

    with grpc.InferenceServerClient(server.grpc) as client:
        statistics: Any = client.get_inference_statistics(model_name("icons", "denoiser"))
        (stats,) = statistics.model_stats
        return stats.inference_count, stats.execution_count
