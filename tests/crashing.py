"""Work that dies, or has no room, at each of its file operations in turn, and is then done again.

`python -m tests.crashing loop --every 1` tries a kind of work; what is wrong is printed, and the exit code counts it.
It is a process of its own, since it forks one for each try: a process with threads should not.
"""

import argparse
import errno
import hashlib
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from export.write.bundle import write_bundle
from export.write.network import NetworkFiles
from runtime.command.run import main_of
from runtime.errors import UserError
from runtime.files import STALE_S, is_temporary, replace_file
from runtime.loop.folder import RunFolder
from runtime.loop.optimize import Stage, optimize
from runtime.loop.scene import Scene
from tests.bundles import MANIFEST, SPECS
from tests.serving import toy
from train.fit import FitConfig, fit

EVENTS = {
    "open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.listdir", "os.scandir", "os.truncate",
    "shutil.rmtree", "tempfile.mkstemp", "tempfile.mkdtemp", "tests.fsync",
}  # fmt: skip
"""Audit events of file operations; reading is among them, which does no harm."""

NEVER = 10**9

# --- Kinds of work -------------------------------------------------------------------------------------------------


class Point(Scene):
    """Four numbers that are fitted to noise."""

    def __init__(self, place: torch.Tensor) -> None:
        super().__init__()
        self.place = torch.nn.Parameter(place.clone())


def do_run(folder: Path) -> None:
    """Do a run of two stages, with a checkpoint after every step, or the rest of it."""
    path = folder / "run"

    def loss(scene: Point, step: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        return {"far": ((scene.place - torch.randn(4, generator=generator)) ** 2).sum()}

    def snapshot(scene: Point, stem: str) -> Path:
        file = path / "snapshots" / f"{stem}.svg"
        replace_file(file, str(scene.place.tolist()))
        return file

    def stage(name: str, begin: Callable[[Any, torch.Generator], Point]) -> Stage:
        descent = {"optimizer": lambda scene: torch.optim.Adam([scene.place], lr=0.1), "loss": loss}
        return Stage(name=name, steps=3, begin=begin, restore=Point.from_state, snapshots=2, **descent)

    stages = [
        stage("a", lambda before, generator: Point(torch.randn(4, generator=generator))),
        stage("b", lambda before, generator: Point(before.place.detach() * 2)),
    ]
    if (path / "config.json").is_file():
        opened = RunFolder.reopen(path, interval_s=0)
    else:
        opened = RunFolder.create(path, {"method": "x", "config": {}}, inputs={"init/a.svg": b"x"}, interval_s=0)
    with opened as run:
        if run.stored("sample.png") is None:
            run.store("sample.png", b"a sample")
        optimize(stages, seed=1, run=run, snapshot=snapshot)
        run.plot()
        run.finish({Path("a.svg"): "0"})


def do_command(folder: Path) -> None:
    """Give a method's command: its frame makes the run, its results and what is written in the working directory."""
    os.chdir(folder)
    code = main_of(toy.METHOD)(["bars", "--steps", "3", "--quiet"])
    if code:
        raise OSError(code, "the command has ended in an error")  # which it has put in words itself


def do_training(folder: Path) -> None:
    """Train for some steps, with a checkpoint after each, or the rest of it."""
    torch.manual_seed(0)

    def loss(network: torch.nn.Module, generator: torch.Generator) -> torch.Tensor:
        return network(torch.randn(8, 3, generator=generator)).square().mean()

    config = FitConfig(out=folder / "run", steps=5, warmup=2, bf16=False, minutes=0.0)
    fit(torch.nn.Linear(3, 1), loss, config, lambda line: None)


def do_export(folder: Path) -> None:
    """Write a bundle, then another version in its place; only the second where the first is there."""
    bundle = folder / "tiny"
    for version in ("one", "two") if not (bundle / "bundle.json").is_file() else ("two",):
        networks = {
            role: NetworkFiles(SPECS[role], {"model.onnx": f"{role} {version}".encode(), "more.json": b"{}"})
            for role in ("denoiser", "latent_decoder")
        }
        texts = {"ATTRIBUTION.md": version.encode()}
        write_bundle(bundle, MANIFEST, networks, texts, weights=f"weights {version}".encode())


@dataclass(frozen=True)
class Work:
    """A kind of work."""

    do: Callable[[Path], None]
    """Does it in a folder, or what a dead process has left of it."""
    differing: tuple[str, ...] = field(default=())
    """Files whose bytes depend on the clock or on the folder's name."""


WORKS = {
    "loop": Work(do_run),
    "command": Work(do_command, ("result.json", "config.json", "checkpoint.json")),
    "training": Work(do_training, ("log.jsonl",)),
    "export": Work(do_export),
}

# --- Trying it -----------------------------------------------------------------------------------------------------


class Saboteur:
    """Ends the process, or lets an operation fail, at the n-th file operation below a folder."""

    def __init__(self, folder: Path, at: int, failure: int | None) -> None:
        self.folder, self.at, self.failure, self.count = str(folder), at, failure, 0
        plain = os.fsync

        def fsync(handle: int) -> None:
            # Python audits no fsync; a full disk is often noticed there first.
            sys.audit("tests.fsync", os.readlink(f"/proc/self/fd/{handle}"))
            plain(handle)

        os.fsync = fsync
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.at < 0 or event not in EVENTS or self.folder not in os.fsdecode(str(arguments[0])):
            return
        self.count += 1
        if self.count - 1 == self.at:
            if self.failure is None:
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(self.failure, os.strerror(self.failure), str(arguments[0]))


def attempt(work: Work, folder: Path, at: int, failure: int | None = None, size: int | None = None) -> tuple[int, str]:
    """Do work in a process of its own; return its wait status and what it has said, or the number of operations."""
    note = folder.with_suffix(".note")
    note.unlink(missing_ok=True)
    folder.mkdir(exist_ok=True)
    pid = os.fork()
    if pid:
        status = os.waitpid(pid, 0)[1]
        return status, note.read_text() if note.is_file() else ""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    saboteur = Saboteur(folder, at, failure)
    if size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    code, said = 0, ""
    try:
        work.do(folder)
    except (OSError, UserError) as error:  # what every command puts in words
        code, said = 3, f"{type(error).__name__}: {error}"
    except BaseException as error:
        code, said = 4, f"{type(error).__name__}: {error}"
    saboteur.at = -1
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    note.write_text(said or str(saboteur.count))
    os._exit(code)


def digest_of(folder: Path, work: Work) -> dict[str, str]:
    """Return the SHA-256 of every file, by its path."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    contents = {path: b"" if path.name in work.differing else path.read_bytes() for path in files}
    return {str(path.relative_to(folder)): hashlib.sha256(content).hexdigest() for path, content in contents.items()}


def age(folder: Path) -> None:
    """Make what a dead process has left half written old enough to be swept."""
    then = time.time() - 2 * STALE_S
    for path in folder.rglob("*"):
        if is_temporary(path):
            os.utime(path, (then, then))


class Trial:
    """Tries of one kind of work beside one that nothing has disturbed."""

    def __init__(self, work: Work, base: Path) -> None:
        self.work, self.base, self.bad = work, base, 0
        here = Path.cwd()
        (base / "first").mkdir()
        work.do(base / "first")  # what it imports, all later processes have from this one
        os.chdir(here)
        status, said = attempt(work, base / "whole", NEVER)
        if status:
            raise SystemExit(f"undisturbed, it fails: {said}")
        self.operations = int(said)
        self.expected = digest_of(base / "whole", work)

    def __call__(self, label: str, *disturbed: dict[str, Any]) -> None:
        """Disturb the work once or more, then do it in peace and compare."""
        folder = self.base / "tried"
        shutil.rmtree(folder, ignore_errors=True)
        for options in disturbed:
            status, said = attempt(self.work, folder, **options)
            # Dead, in peace, or in words; never by an exception that no command catches.
            if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 4:
                self.wrong(label, f"fails by {said}")
        age(folder)
        status, said = attempt(self.work, folder, NEVER)
        after = digest_of(folder, self.work)
        if status:
            self.wrong(label, f"cannot be resumed: {said}")
        elif after != self.expected:
            names = {name for name in {*after, *self.expected} if after.get(name) != self.expected.get(name)}
            self.wrong(label, f"other bytes in {sorted(names)}")
        elif left := [path for path in folder.rglob("*") if is_temporary(path) or path.name.endswith(".partial")]:
            self.wrong(label, f"left over: {[path.name for path in left]}")

    def wrong(self, label: str, what: str) -> None:
        self.bad += 1
        print(f"{label}: {what}", flush=True)


def try_all(name: str, every: int) -> int:
    """Try a kind of work at every n-th of its operations; return how many tries went wrong."""
    with tempfile.TemporaryDirectory() as base:
        trial = Trial(WORKS[name], Path(base))
        tries = 0
        for at in range(0, trial.operations, every):
            trial(f"{name}, killed at {at}", {"at": at})
            for failure in (errno.ENOSPC, errno.EIO):
                trial(f"{name}, {os.strerror(failure)} at {at}", {"at": at, "failure": failure})
            tries += 3
        for size in range(1, 2000, 60 * every):
            trial(f"{name}, no file above {size} bytes", {"at": NEVER, "size": size})
            tries += 1
        for at in range(1, trial.operations, 3 * every):
            for again in range(0, trial.operations, 11 * every):
                trial(f"{name}, killed at {at} and {again}", {"at": at}, {"at": again})
                tries += 1
        print(f"{name}: {trial.operations} operations, {tries} tries, {trial.bad} wrong")
        return trial.bad


def main() -> int:
    """Try a kind of work from a command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=WORKS)
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    return min(try_all(options.work, options.every), 99)


if __name__ == "__main__":
    sys.exit(main())
