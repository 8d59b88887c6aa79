"""Servers and workers that are really killed: no job is lost, and each ends in the bytes of an uncut run."""

import contextlib
import os
import random
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

from serving.work import Task, perform
from tests.serving.conftest import until
from tests.serving.live import Server, events


def whole(served, folder: Path, **options: object) -> dict[str, bytes]:
    """Return the files of a run that is left alone."""
    from serving.requests import parse_request

    request = parse_request({"method": "toy", "options": options}, served, str)
    task = Task(job="w", home="tests.serving.toy:METHOD", request=request.to_json(), folder=str(folder))
    perform(task, report=lambda *_: None, stop=threading.Event())
    return {path.name: path.read_bytes() for path in sorted((folder / "run" / "result").iterdir())}


def fetched(server: Server, name: str) -> dict[str, bytes]:
    return {
        output["name"]: server.client.get(f"/v1/jobs/{name}/files/{output['name']}").content
        for output in server.job(name)["outputs"]
    }


def workers(server: Server) -> list[psutil.Process]:
    alive = []
    for child in psutil.Process(server.process.pid).children():
        with contextlib.suppress(psutil.Error):  # killed a moment ago, and not yet collected
            alive += [child] if "serving.worker" in child.cmdline() else []
    return alive


def test_killed_server_killed_worker_and_drain(tmp_path: Path, served) -> None:
    options = {"seed": 1, "steps": 120, "pause_s": 0.04}
    server = Server(tmp_path / "store")
    name, waiting = server.submit(**options)["id"], server.submit(seed=2)["id"]
    until(lambda: server.job(name)["done"] >= 3)
    seen = events(server.client, f"/v1/jobs/{name}/events", most=4)
    orphans = workers(server)
    assert server.end(signal.SIGKILL) == -signal.SIGKILL
    server = Server(tmp_path / "store")
    assert server.job(waiting)["state"] in ("queued", "running", "done")
    psutil.wait_procs(orphans, timeout=20.0)
    assert not [orphan for orphan in orphans if orphan.is_running()], "a worker goes with its server"
    until(lambda: server.job(name)["done"] >= 30)
    workers(server)[0].kill()
    until(lambda: server.job(name)["done"] >= 60)
    began = time.monotonic()
    assert server.end(signal.SIGTERM) == 0
    assert time.monotonic() - began < 5.0
    server = Server(tmp_path / "store")
    until(lambda: server.job(name)["state"] == "done")
    assert fetched(server, name) == whole(served, tmp_path / "whole", **options)
    log = events(server.client, f"/v1/jobs/{name}/events", after=seen[-1]["n"])
    assert [event["reason"] for event in log if event["kind"] == "queued"][:1] == ["the server was killed"]
    assert log[-1]["kind"] == "done", "the log goes on over all of it"
    until(lambda: server.job(waiting)["state"] == "done")
    server.end(signal.SIGTERM)


KILLS = 30
"""Kills among the fifty jobs; each costs the start of a Python that loads PyTorch."""


@pytest.mark.slow
def test_fifty_jobs_killed_at_random_moments(tmp_path: Path, served) -> None:
    """Kills the server or a worker until 50 jobs are done; a job may be cut many times."""
    chance = random.Random(0)
    server = Server(tmp_path / "store", lanes=2)
    options = [{"seed": seed, "steps": 40, "pause_s": 0.04} for seed in range(50)]
    names = [server.submit(**each)["id"] for each in options]
    kills = {"server": 0, "worker": 0}
    while listed := [job for job in server.client.get("/v1/jobs").json()["jobs"] if job["state"] != "done"]:
        assert not [job for job in listed if job["state"] == "failed"], listed
        # A process that has just begun loads PyTorch for seconds: a moment is random among those in which it draws.
        if not [job for job in listed if job["state"] == "running" and job.get("step")]:
            time.sleep(0.05)
            continue
        time.sleep(chance.uniform(0.0, 3.0))
        if sum(kills.values()) >= KILLS:
            continue
        if chance.random() < 0.25:
            server.end(signal.SIGKILL)
            kills["server"] += 1
            server = Server(tmp_path / "store", lanes=2)
        elif alive := workers(server):
            os.kill(chance.choice(alive).pid, signal.SIGKILL)
            kills["worker"] += 1
    assert kills["server"] >= 3 and kills["worker"] >= 3, kills
    print(kills)
    for name, each in zip(names, options, strict=True):
        assert fetched(server, name) == whole(served, tmp_path / name, **each), each
    server.end(signal.SIGTERM)


@pytest.mark.slow
def test_nothing_grows_over_300_jobs(tmp_path: Path) -> None:
    """Memory of server and worker grows by at most 20 MiB; file descriptors and threads stay."""
    server = Server(tmp_path / "store")

    def measure() -> tuple[float, int, int]:
        both = [psutil.Process(server.process.pid), *workers(server)]
        memory = sum(process.memory_info().rss for process in both) / 2**20
        return memory, sum(process.num_fds() for process in both), sum(process.num_threads() for process in both)

    def draw(first: int, count: int) -> None:
        names = [server.submit(seed=seed, steps=3)["id"] for seed in range(first, first + count)]
        until(lambda: all(server.job(name)["state"] == "done" for name in names[-3:]), 300.0)

    draw(0, 50)
    before = measure()
    for batch in range(3):
        draw(1000 * (batch + 1), 100)
    after = measure()
    print(before, after)
    assert after[0] - before[0] <= 20.0
    assert abs(after[1] - before[1]) <= 3 and abs(after[2] - before[2]) <= 3
    server.end(signal.SIGTERM)
