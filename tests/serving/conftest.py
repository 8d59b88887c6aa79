"""The toy method, a store, and a pool of real processes, for the tests of serving."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.jobs import Jobs, Limits
from serving.lanes import ProcessLane
from serving.methods import Served, served_methods
from serving.pool import Placed, Pool
from serving.requests import Request, parse_request
from serving.store import ENDED, Job, Store

TOY = {"PYTHONPATH": str(Path(__file__).parents[2])}


def no_bundle(name: str) -> str:
    raise AssertionError(name)


@pytest.fixture(scope="session")
def served() -> dict[str, Served]:
    return served_methods(["tests.serving.toy"])


@pytest.fixture
def ask(served: dict[str, Served]) -> Callable[..., Request]:
    return lambda **options: parse_request({"method": "toy", "options": options}, served, no_bundle)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    yield store
    store.close()


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jobs(store: Store, clock: Clock) -> Jobs:
    return Jobs(store, Limits(queue=8), clock)


@pytest.fixture(scope="module")
def lanes() -> Iterator[list[ProcessLane]]:
    """Worker processes for a whole module: each loads PyTorch."""
    workers = [ProcessLane("lane-0", TOY)]
    yield workers
    for lane in workers:
        lane.close()


@pytest.fixture
def pool(store: Store, served: dict[str, Served], lanes: list[ProcessLane]) -> Iterator[Pool]:
    pool = Pool(Jobs(store), served, [Lasting(lane) for lane in lanes], Placed(threads=1))
    pool.start()
    yield pool
    pool.drain()


class Lasting:
    """A lane that outlives its pool."""

    def __init__(self, lane: ProcessLane) -> None:
        self.lane, self.name = lane, lane.name

    def close(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self.lane, name)


def until(happened: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Return what a function returns once that is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := happened():
            return value
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")


def ended(jobs: Jobs, name: str, seconds: float = 60.0) -> Job:
    """Return a job once it has ended."""
    return until(lambda: (job := jobs.get(name)).state in ENDED and job, seconds)


def steps(jobs: Jobs, name: str) -> int:
    return jobs.get(name).done


def results(store: Store, name: str) -> dict[str, bytes]:
    """Return the files of a job that is done."""
    return {path.name: path.read_bytes() for path in sorted((store.job_folder(name) / "run" / "result").iterdir())}
