"""Real processes, really killed: a run that is resumed ends in the bytes of one that was left alone."""

import json
import os
import pkgutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.loop.progress import ProgressBar
from runtime.vectorfusion import main
from tests.bundles import make_tiny_bundle

ROOT = Path(__file__).parents[2]
CODE = (
    "import runtime.loop.folder; runtime.loop.folder.INTERVAL_S = 0.1; "
    "import runtime.vectorfusion as v, runtime.errors as e; e.run_main(v.main)"
)
"""The command with checkpoints so frequent that a short run has some."""


class Command:
    """The command in a working directory of its own."""

    def __init__(self, folder: Path, bundle: Path) -> None:
        folder.mkdir()
        self.folder, self.run = folder, folder / "runs" / "a-red-apple"
        self.first = ["a red apple", "--bundle", str(bundle), "--steps", "30", "--paths", "2", "--samples", "2"]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [sys.executable, "-c", CODE, *(arguments or self.first)],
            cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def steps(self) -> int:
        log = self.run / "loss.jsonl"
        return log.read_bytes().count(b"\n") if log.is_file() else 0

    def stop(self, process: subprocess.Popen[str], when: int, number: signal.Signals) -> tuple[int, str]:
        """Send a signal once the log has this many steps; return the exit code and stderr."""
        until = time.monotonic() + 120.0
        while self.steps() < when and process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        process.send_signal(number)
        _, errors = process.communicate(timeout=120.0)
        return process.returncode, errors


def test_killed_twice_and_interrupted_once_ends_in_the_same_bytes(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "tiny")
    whole, cut = Command(tmp_path / "whole", bundle), Command(tmp_path / "cut", bundle)
    left_alone = whole.start()
    printed, errors = left_alone.communicate(timeout=300.0)
    assert left_alone.returncode == 0, errors
    assert printed == "drew a-red-apple.svg and a-red-apple.png; the run is in runs/a-red-apple/\n"
    total = whole.steps()

    assert cut.stop(cut.start(), 20, signal.SIGKILL)[0] == -signal.SIGKILL  # while tracing
    assert not (cut.folder / "a-red-apple.svg").exists()
    resume = ("--resume", "runs/a-red-apple")
    assert cut.stop(cut.start(*resume), total - 25, signal.SIGKILL)[0] == -signal.SIGKILL  # while distilling
    code, errors = cut.stop(cut.start(*resume), total - 12, signal.SIGINT)
    assert code == 130
    assert errors.splitlines()[-1].endswith("resume with: python -m runtime.vectorfusion --resume runs/a-red-apple")
    assert "Traceback" not in errors and "of stage 'distil'" in errors
    note = json.loads((cut.run / "checkpoint.json").read_text())
    assert note["step"] == cut.steps() - (total - 30)  # the interrupted run saved its last step

    last = cut.start(*resume)
    printed, errors = last.communicate(timeout=300.0)
    assert last.returncode == 0, errors
    assert printed == "drew a-red-apple.svg and a-red-apple.png; the run is in runs/a-red-apple/\n"
    for name in ("a-red-apple.svg", "a-red-apple.png"):
        assert (cut.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    for name in (
        "loss.jsonl",
        "loss.svg",
        "sample.png",
        *(f"snapshots/{p.name}" for p in whole.run.glob("snapshots/*")),
    ):
        assert (cut.run / name).read_bytes() == (whole.run / name).read_bytes(), name


def test_killed_before_the_first_checkpoint(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "tiny")
    command = Command(tmp_path / "cut", bundle)
    process = command.start()
    until = time.monotonic() + 120.0
    while not (command.run / "config.json").is_file() and time.monotonic() < until:
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert not list(command.run.glob("checkpoint*"))
    process = command.start("--resume", "runs/a-red-apple")
    code, errors = command.stop(process, 3, signal.SIGTERM)
    assert code == 128 + signal.SIGTERM and "stopped after step" in errors


@pytest.mark.parametrize("number", [signal.SIGINT])
def test_interrupted_while_sampling(tmp_path: Path, number: signal.Signals) -> None:
    bundle = make_tiny_bundle(tmp_path / "tiny")
    command = Command(tmp_path / "cut", bundle)
    process = command.start()
    until = time.monotonic() + 120.0
    while not (command.run / "config.json").is_file() and time.monotonic() < until:
        time.sleep(0.002)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120.0)
    assert process.returncode == 130
    assert "Traceback" not in errors and "--resume runs/a-red-apple" in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_sampling_waits_for_the_networks(
    tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, before, plain = make_tiny_bundle(tmp_path / "tiny"), signal.getsignal(number), ProgressBar.show
    monkeypatch.chdir(tmp_path)

    def note(self: ProgressBar, stage: str, done: int, total: int) -> None:
        plain(self, stage, done, total)
        if (stage, done) == ("sample", 2):
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patch:
        patch.setattr(ProgressBar, "show", note)
        assert main(["a red apple", "--bundle", str(bundle), "--steps", "3", "--paths", "2"]) == 128 + number
    assert "stopped after step 2 of stage 'sample'; resume with: " in capsys.readouterr().err
    assert signal.getsignal(number) is before
    assert main(["--resume", "runs/a-red-apple"]) == 0
    assert (tmp_path / "a-red-apple.svg").is_file()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("owner", "stage"),
    [("runtime.vectorfusion.stages.sampled_or_stored", "sample"), ("runtime.loop.optimize.optimize", "contours")],
)
def test_a_signal_before_a_loop_stops_it_at_its_first_step(
    owner: str, stage: str, number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    bundle, before = make_tiny_bundle(tmp_path / "tiny"), signal.getsignal(number)
    monkeypatch.chdir(tmp_path)
    plain = pkgutil.resolve_name(owner)

    def signalled(*arguments: object, **options: object) -> object:
        os.kill(os.getpid(), number)
        return plain(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(owner, signalled)
        assert main(["a red apple", "--bundle", str(bundle), "--steps", "3", "--paths", "2"]) == 128 + number
    assert f"stopped after step 1 of stage '{stage}'; resume with: " in capsys.readouterr().err
    assert signal.getsignal(number) is before
    assert main(["--resume", "runs/a-red-apple"]) == 0
