"""A run folder: everything that one optimization leaves, and all that it needs to go on after it was killed.

    config.json         what was asked, by which version; written first
    checkpoint.json     where the run stands, and the name and SHA-256 of the file with its tensors; written last
    checkpoint-*.safetensors    scene and optimizer moments at that moment
    loss.jsonl          one line a step; loss.svg is its picture
    snapshots/          drawings on the way

`checkpoint.json` is the authority: a file of tensors that it does not name does not count, so a process killed between
the two writes goes on from the checkpoint before.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from runtime import __version__
from runtime.errors import UserError
from runtime.files import replace_file
from runtime.loop.plot import loss_picture

if TYPE_CHECKING:
    from torch import Tensor

INTERVAL_S = 2.0
"""Seconds between two checkpoints, by default: what a killed run loses. Writing one takes milliseconds."""

FORMAT = 1
"""Version of the folder's layout; another one is refused."""


@dataclass(frozen=True)
class Checkpoint:
    """Where a run stands: `step` steps of stage number `stage` are done."""

    stage: int
    step: int
    tensors: "Mapping[str, Tensor]"
    numbers: Mapping[str, Any]


class RunFolder:
    """The folder of one run, locked while it is open.

    Args:
        path: the folder; made by `create`, found by `reopen`.
        interval_s: seconds between two checkpoints, at least 0 (0: after every step); None: `INTERVAL_S`.
    """

    def __init__(self, path: Path, *, interval_s: float | None = None) -> None:
        self.path, self.interval_s = path, INTERVAL_S if interval_s is None else interval_s
        self._log: IO[str] | None = None
        self._lock = _lock(path)

    @classmethod
    def create(
        cls,
        path: Path,
        config: Mapping[str, Any],
        *,
        files: Mapping[str, bytes] | None = None,
        interval_s: float | None = None,
    ) -> "RunFolder":
        """Return a fresh run folder; what an earlier run left in it is deleted.

        Args:
            path: the folder.
            config: what is asked, for config.json.
            files: content of further files that the run needs to go on, by name.
            interval_s: as of the class.

        Raises:
            UserError: where the folder holds something else than a run, is in use, or cannot be written.
        """
        ours = (path / "config.json").is_file() or (path / ".lock").is_file()
        if path.is_dir() and not ours and any(path.iterdir()):
            raise UserError(f"folder '{path}' holds no run but other files: move it away or choose another --out")
        try:
            path.mkdir(parents=True, exist_ok=True)
            run = cls(path, interval_s=interval_s)
        except OSError as error:
            raise _not_writable(path, error) from error
        try:
            run._clear()
            for name, content in (files or {}).items():
                replace_file(path / name, content)
            (path / "snapshots").mkdir(exist_ok=True)
            text = json.dumps({"format": FORMAT, "version": __version__, **config}, indent=2) + "\n"
            replace_file(path / "config.json", text)  # last: a folder that has it has all that the run needs
        except BaseException as error:
            run.close()
            raise (_not_writable(path, error) if isinstance(error, OSError) else error) from None
        return run

    @classmethod
    def reopen(cls, path: Path, *, interval_s: float | None = None) -> "RunFolder":
        """Return the folder of an earlier run, to go on with it; `read_config` tells what was asked of it.

        Raises:
            UserError: where it is no run, is damaged, is in use, or was made by another version.
        """
        read_config(path)
        try:
            run = cls(path, interval_s=interval_s)
            (path / "snapshots").mkdir(exist_ok=True)
        except OSError as error:
            raise _not_writable(path, error) from error
        return run

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint: its tensors, then the note that names them; then delete the one before."""
        from safetensors.torch import save

        data = save({name: value.detach().cpu().contiguous() for name, value in checkpoint.tensors.items()})
        file = self.path / f"checkpoint-{checkpoint.stage:03d}-{checkpoint.step:06d}.safetensors"
        replace_file(file, data)
        note = {"stage": checkpoint.stage, "step": checkpoint.step, "file": file.name}
        note |= {"sha256": hashlib.sha256(data).hexdigest(), "numbers": checkpoint.numbers}
        replace_file(self.path / "checkpoint.json", json.dumps(note, indent=2) + "\n")
        for old in self.path.glob("checkpoint-*.safetensors"):
            if old.name != file.name:
                old.unlink()

    def load(self) -> Checkpoint | None:
        """Return the last checkpoint, or None where the run was stopped before its first.

        Raises:
            UserError: where the checkpoint was damaged after it was written.
        """
        from safetensors.torch import load

        note = self.path / "checkpoint.json"
        if not note.is_file():
            return None
        try:
            values = json.loads(note.read_text())
            data = (self.path / values["file"]).read_bytes()
            whole = hashlib.sha256(data).hexdigest() == values["sha256"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"checkpoint in '{self.path}' cannot be read ({error}): start the run anew") from error
        if not whole:
            raise UserError(f"'{self.path / values['file']}' is not what was written (SHA-256): start the run anew")
        return Checkpoint(values["stage"], values["step"], load(data), values["numbers"])

    def forget_after(self, stage: int, step: int) -> None:
        """Drop the lines of loss.jsonl of a checkpoint's future, which the resumed run writes again."""
        self._close_log()
        kept = [r for r in self.losses() if (r["stage"], r["step"]) < (stage, step)]
        replace_file(self.path / "loss.jsonl", "".join(json.dumps(r) + "\n" for r in kept))

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one step's record to loss.jsonl."""
        if self._log is None:
            self._log = (self.path / "loss.jsonl").open("a", buffering=1)
        self._log.write(json.dumps(record) + "\n")

    def losses(self) -> list[dict[str, Any]]:
        """Return the records of loss.jsonl; a last line that a kill cut off is left out."""
        file = self.path / "loss.jsonl"
        lines = file.read_text().splitlines(keepends=True) if file.is_file() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def plot(self) -> None:
        """Draw loss.svg from loss.jsonl."""
        replace_file(self.path / "loss.svg", loss_picture(self.losses()))

    def close(self) -> None:
        """Close the log and give up the lock."""
        self._close_log()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _close_log(self) -> None:
        """Close loss.jsonl until the next record."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _clear(self) -> None:
        """Delete what an earlier run left, by the names that runs use; anything else stays."""
        for name in ("config.json", "checkpoint.json"):  # first: what is left is then no run
            (self.path / name).unlink(missing_ok=True)
        for pattern in (
            "checkpoint-*.safetensors",
            "loss.*",
            "last-good.*",
            "init.svg",
            "sample*.png",
            ".*.tmp",
            "snapshots/*",
        ):
            for file in self.path.glob(pattern):
                file.unlink()


def _not_writable(path: Path, error: OSError) -> UserError:
    """Return what to tell of a folder that can't be written."""
    return UserError(f"run folder '{path}' cannot be written: {error.strerror}; choose another --out")


def read_config(path: Path) -> dict[str, Any]:
    """Return a run folder's config.json.

    Raises:
        UserError: where the folder is no run, or one of another version of the program.
    """
    file = path / "config.json"
    if not file.is_file():
        raise UserError(f"--resume '{path}': no run is here (no config.json): give a folder as runs/a-red-apple")
    try:
        config = json.loads(file.read_text())
        made_by = (config["format"], config["version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"--resume '{path}': config.json is not a run's ({error}); start the run anew") from error
    if made_by != (FORMAT, __version__):
        raise UserError(
            f"--resume '{path}': the run is of tgm {made_by[1]} (format {made_by[0]}), this is tgm {__version__} "
            f"(format {FORMAT}): a run ends in the same bytes only under the version that began it; install that one "
            "or start anew"
        )
    return config


def _lock(path: Path) -> IO[bytes] | None:
    """Return the folder's lock, which the system drops when the process ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # not on this system: two runs in one folder are then the user's to avoid
        return None
    file = (path / ".lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise UserError(f"run folder '{path}' is in use by another process: wait, or choose another --out") from error
    return file
