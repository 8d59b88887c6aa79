"""Real worker processes, really killed: jobs end in the bytes of a run that was left alone."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from serving.jobs import Jobs
from serving.lanes import ProcessLane
from serving.pool import Placed, Pool
from serving.store import CANCELLED, DONE, FAILED, QUEUED, Store
from serving.work import Task, perform
from tests.serving.conftest import TOY, Lasting, ended, results, steps, until


def whole(request, folder: Path) -> dict[str, bytes]:
    """Return the files of a run that is left alone."""
    task = Task(job="w", home="tests.serving.toy:METHOD", request=request.to_json(), folder=str(folder))
    perform(task, report=lambda *_: None, stop=threading.Event())
    return {path.name: path.read_bytes() for path in sorted((folder / "run" / "result").iterdir())}


def test_jobs_are_done_in_turn(pool: Pool, store: Store, ask, tmp_path: Path) -> None:
    requests = [ask(seed=seed, steps=20) for seed in range(3)]
    names = [pool.jobs.submit(request)[0].id for request in requests]
    for name, request in zip(names, requests, strict=True):
        assert ended(pool.jobs, name).state == DONE
        assert results(store, name) == whole(request, tmp_path / name)
    kinds = [event.kind for event in store.events(0, names[0])]
    assert kinds[:2] == ["queued", "running"] and kinds[-1] == "done"
    assert "preview" in kinds and "note" in kinds and "step" in kinds
    assert list((store.job_folder(names[0]) / "preview").iterdir())


def test_cancel_stops_a_running_job_between_two_steps(pool: Pool, ask) -> None:
    name = pool.jobs.submit(ask(steps=5000, pause_s=0.02))[0].id
    until(lambda: steps(pool.jobs, name) >= 2)
    asked = time.monotonic()
    pool.jobs.cancel(name)
    assert ended(pool.jobs, name, 10.0).state == CANCELLED
    assert time.monotonic() - asked < 5.0
    assert pool.jobs.submit(ask(seed=8))[1]
    assert ended(pool.jobs, pool.jobs.listed()[0].id).state == DONE, "the worker goes on"


@pytest.mark.parametrize(("die", "message"), [("fail", "RuntimeError: a mistake of the method")])
def test_a_mistake_fails_the_job_alone(pool: Pool, ask, die: str, message: str) -> None:
    name = pool.jobs.submit(ask(die=die))[0].id
    assert ended(pool.jobs, name).state == FAILED
    assert pool.jobs.get(name).message == message


def test_killed_workers_and_drains_end_in_the_same_bytes(
    store: Store, served, lanes: list[ProcessLane], ask, tmp_path: Path
) -> None:
    request = ask(seed=5, steps=60, pause_s=0.03)
    jobs = Jobs(store)
    pool = Pool(jobs, served, [Lasting(lane) for lane in lanes], Placed(threads=1))
    pool.start()
    name = jobs.submit(request)[0].id
    until(lambda: steps(jobs, name) >= 5)
    os.kill(lanes[0].pid or 0, signal.SIGKILL)
    until(lambda: any(event.data.get("reason") for event in store.events(0, name)))
    until(lambda: steps(jobs, name) >= 10)
    began = time.monotonic()
    pool.drain()
    assert time.monotonic() - began < 5.0
    assert jobs.get(name).state == QUEUED and pool.deaths == 1
    jobs = Jobs(store)
    pool = Pool(jobs, served, [Lasting(lane) for lane in lanes], Placed(threads=2))
    pool.start()
    assert ended(jobs, name).state == DONE
    pool.drain()
    assert results(store, name) == whole(request, tmp_path / "whole")
    assert jobs.get(name).threads == 1


@pytest.mark.slow
def test_a_job_that_kills_its_process_fails_in_the_end(store: Store, served, ask) -> None:
    pool = Pool(Jobs(store), served, [ProcessLane("lane-0", TOY)], Placed())
    pool.start()
    name = pool.jobs.submit(ask(die="always"))[0].id
    assert ended(pool.jobs, name, 120.0).state == FAILED
    assert "dies again and again" in str(pool.jobs.get(name).message)
    pool.drain()
