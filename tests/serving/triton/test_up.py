"""The commands as a user types them: build a repository, serve it by a real tritonserver, submit, kill, end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.serving.conftest import until
from tests.serving.live import end

ROOT = Path(__file__).parents[3]

pytestmark = [pytest.mark.slow]


def run(*words: str, folder: Path) -> str:
    """Return what a command prints; it has to succeed."""
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=variables(), capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def variables() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


class Running:
    """`python -m serving up` in a process of its own."""

    def __init__(self, folder: Path, environment: Path, *more: str) -> None:
        words = [sys.executable, "-m", "serving", "up", "repository", "--port", "0", "--store", "served"]
        words += ["--environment", str(environment), *more]
        self.process = subprocess.Popen(words, cwd=folder, env=variables(), stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert "starting tritonserver" in self.process.stdout.readline()
        line = self.process.stdout.readline()
        assert line.startswith("studio: http://localhost:"), line
        self.url = line.split()[1]
        self.client = httpx.Client(base_url=self.url, trust_env=False, timeout=60.0)
        until(self.answers)

    def answers(self) -> bool:
        with suppress(httpx.HTTPError):
            return self.client.get("/v1/health/live").status_code == 200
        return False

    def below(self, word: str) -> list[psutil.Process]:
        """Return the processes below it whose command line has a word."""
        there = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.Error):
                there += [process] if word in " ".join(process.cmdline()) else []
        return there

    def end(self, number: int) -> int:
        return end(self.client, self.process, number)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("up")
    printed = run("serving", "build", "mnist", "--out", "repository", folder=folder)
    assert "lmconv_sample  python" in printed and "mnist_step  onnxruntime" in printed
    return folder


@pytest.fixture
def up(folder: Path, environment: Path) -> Iterator[Any]:
    running = Running(folder, environment)
    yield running
    if running.process.poll() is None:
        running.end(signal.SIGTERM)


def test_a_digit_through_the_commands_has_the_bytes_of_its_own_command(up: Running, folder: Path) -> None:
    words = ["--method", "lmconv_sample", "--set", "count=2", "--seeds", "3", "--wait", "--server", up.url]
    assert "drew sample-3.png" in run("serving", "submit", *words, folder=folder)
    run("runtime.lmconv", "sample", "--count", "2", "--seed", "3", "--out", "own.png", folder=folder)
    assert (folder / "sample-3.png").read_bytes() == (folder / "own.png").read_bytes()


def test_killed_and_drained_it_leaves_nothing_behind(up: Running, folder: Path, environment: Path) -> None:
    document = {"method": "lmconv_sample", "options": {"count": 2, "seed": 4}}
    stub = until(lambda: up.below("/lmconv_sample/"))[0]
    stub.kill()
    name = up.client.post("/v1/jobs", json=document).json()["id"]
    job = until(lambda: (j := up.client.get(f"/v1/jobs/{name}").json())["state"] in ("done", "failed") and j)
    assert job["state"] == "done", job["message"]
    left = up.below("")
    assert len(left) > 3 and up.end(signal.SIGKILL) == -signal.SIGKILL
    again = Running(folder, environment)
    psutil.wait_procs(left, timeout=10.0)
    assert not [process for process in left if process.is_running()], "the next one ends what a killed one has left"
    assert again.client.get(f"/v1/jobs/{name}").json()["state"] == "done"
    below, began = again.below(""), time.monotonic()
    assert again.end(signal.SIGTERM) == 0
    assert time.monotonic() - began < 10.0
    psutil.wait_procs(below, timeout=5.0)
    assert not [process for process in below if process.is_running()]


def test_a_signal_before_it_is_ready(folder: Path, environment: Path) -> None:
    words = [sys.executable, "-m", "serving", "up", "repository", "--port", "0", "--store", "other"]
    words += ["--environment", str(environment)]
    process = subprocess.Popen(words, cwd=folder, env=variables(), stdout=subprocess.PIPE, text=True)
    until(lambda: psutil.Process(process.pid).children())
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20.0) == 128 + signal.SIGTERM
    psutil.wait_procs(below, timeout=5.0)
    assert not [each for each in below if each.is_running()]
    assert process.stdout is not None
    process.stdout.close()
