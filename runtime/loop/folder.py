"""A run folder: everything that a run leaves, and all that it needs to be resumed after it was killed.

    config.json         what was asked, by which version; its field `format` marks the folder as a run of this program
    inputs/             copies of the files that the run reads
    checkpoint.json     where the run stands, and the name and SHA-256 of the file with its tensors; written last
    checkpoint-*.safetensors    scene and optimizer moments at that moment
    loss.jsonl          one line a step; loss.svg is its picture
    snapshots/          drawings on the way
    result/             the files that the finished run has drawn
    result.json         where else it has written them, with their SHA-256

A folder is made under a temporary name and renamed, so that it is there whole or not at all; nothing in it is ever
deleted but a checkpoint that a later one replaces. `checkpoint.json` is the authority: a file of tensors that it does
not name does not count, so a process that was killed between the two writes resumes from the checkpoint before.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from runtime.errors import UserError
from runtime.files import is_stale, is_temporary, make_temporary_folder, read_ordinary, replace_file, sweep, sync_folder
from runtime.locking import lock_folder
from runtime.loop.plot import loss_picture
from runtime.version import __version__

if TYPE_CHECKING:
    from torch import Tensor

INTERVAL_S = 2.0
"""Seconds between two checkpoints, unless they take so long that they would slow the run down."""

FORMAT = "tgm-run-3"
"""Marks config.json as that of a run of this program, and says the version of the folder's layout."""

LONGEST_JSON = 16 * 2**20
"""Most bytes of a run's JSON files; longer ones are refused before they are parsed."""

GREATEST = 1 << 32
"""Most bytes of a run's other files: a sparse file of any length costs nothing to make, and would fill the memory."""

_CHECKPOINT = re.compile(r"checkpoint-\d{3}-\d{6,}\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """Where a run stands: after `step` steps of stage number `stage`."""

    stage: int
    step: int
    tensors: "Mapping[str, Tensor]"
    numbers: Mapping[str, Any]

    @property
    def scene(self) -> "dict[str, Tensor]":
        """The scene's `state()`."""
        return below("scene/", self.tensors)


def below(prefix: str, values: "Mapping[str, Any]") -> dict[str, Any]:
    """Return the entries under a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


class RunFolder:
    """The folder of one run, locked while it is open.

    Args:
        path: the folder; made by `create`, found by `reopen`.
        interval_s: seconds between two checkpoints, at least 0 (0: after every step); None: `INTERVAL_S`.
    """

    def __init__(self, path: Path, *, interval_s: float | None = None) -> None:
        self.path = path
        self.interval_s = INTERVAL_S if interval_s is None else interval_s
        self._log: IO[str] | None = None
        self._lock = lock_folder(path, f"run folder '{path}'", "choose another --out")
        self._config_sha256 = _digest(read_ordinary(path / "config.json", LONGEST_JSON))

    @classmethod
    def create(
        cls,
        path: Path,
        request: Mapping[str, Any],
        *,
        inputs: Mapping[str, bytes] | None = None,
        interval_s: float | None = None,
    ) -> "RunFolder":
        """Return a new run folder.

        Args:
            path: the folder; there must be none, or an empty one.
            request: what is asked, for config.json.
            inputs: content of the files that the run reads, by name, such as "picture/photo.png".
            interval_s: as of the class.

        Raises:
            UserError: the folder is taken or cannot be written.
        """
        if path.is_dir() and any(path.iterdir()):
            raise UserError(f"run folder '{path}' is not empty: expected a new folder; choose another name")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _sweep_unborn(path.parent)
            # In the same folder, so that the rename stays on one file system and is atomic.
            temporary = make_temporary_folder(path)
            try:
                _fill(temporary, request, inputs or {})
                # Over an empty folder this succeeds; a folder that another process has filled meanwhile makes it fail.
                os.replace(temporary, path)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
            sync_folder(path.parent)
            return cls(path, interval_s=interval_s)
        except OSError as error:
            raise _not_writable(path, error) from error

    @classmethod
    def reopen(cls, path: Path, *, interval_s: float | None = None) -> "RunFolder":
        """Return the folder of an earlier run, to resume it; `read_config` says what was asked of it.

        Raises:
            UserError: it is no run, is damaged, is in use, was made by another version, or an input has been changed.
        """
        config = read_config(path)
        _check_inputs(path, config.get("inputs_sha256"))
        try:
            run = cls(path, interval_s=interval_s)
            # Here, too: a process that began this run may have died twice, and no run is made after it.
            _sweep_unborn(path.parent)
            (path / "snapshots").mkdir(exist_ok=True)
            for folder in (path, path / "snapshots", path / "result"):
                sweep(folder)
        except OSError as error:
            raise _not_writable(path, error) from error
        return run

    def input(self, name: str) -> Path:
        """Return the run's own copy of a file that it reads."""
        return self.path / "inputs" / name

    def store(self, name: str, content: bytes) -> None:
        """Write a file that the rest of the run depends on, such as "sample.png"; `stored` returns it."""
        # First the file: one without a digest is made again, a digest without its file would stop the run.
        replace_file(self.path / name, content)
        replace_file(self.path / f"{name}.sha256", f"{_digest(content)}  {name}\n")

    def stored(self, name: str) -> bytes | None:
        """Return what `store` has written under a name; None where it has not.

        Raises:
            UserError: the file has been changed since.
        """
        file, note = self.path / name, self.path / f"{name}.sha256"
        if not (file.is_file() and note.is_file()):
            return None
        with contextlib.suppress(OSError):
            content = read_ordinary(file, GREATEST)
            # The note is in the form of `sha256sum --check`.
            if read_ordinary(note, LONGEST_JSON).decode("utf-8", "replace").partition(" ")[0] == _digest(content):
                return content
        raise UserError(f"'{file}' is not what the run has written (SHA-256): put it back, or start the run anew")

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint: its tensors, then the note that names them; then delete the one before."""
        from safetensors.torch import save

        # The hash is taken of the bytes in memory: what the disk gives back later is compared with these.
        data = save({name: value.detach().cpu().contiguous() for name, value in checkpoint.tensors.items()})
        file = self.path / f"checkpoint-{checkpoint.stage:03d}-{checkpoint.step:06d}.safetensors"
        replace_file(file, data)
        note = {"stage": checkpoint.stage, "step": checkpoint.step, "file": file.name}
        note |= {"sha256": _digest(data), "config_sha256": self._config_sha256, "numbers": checkpoint.numbers}
        replace_file(self.path / "checkpoint.json", json.dumps(note, indent=2) + "\n")
        for old in self.path.iterdir():  # both files are on the disk now, so that the one before may go
            if _CHECKPOINT.fullmatch(old.name) and old.name != file.name:
                old.unlink()

    def load(self) -> Checkpoint | None:
        """Return the last checkpoint, or None where the run was stopped before its first.

        Raises:
            UserError: the checkpoint was damaged after it was written, or is that of another config.json.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        note = self.path / "checkpoint.json"
        if not note.is_file():
            return None
        try:
            values = _parse(note)
            stage, step, file, digest, numbers = (values[k] for k in ("stage", "step", "file", "sha256", "numbers"))
            whole = type(stage) is int and type(step) is int and min(stage, step) >= 0 and isinstance(numbers, dict)
            # The name comes from a file that anybody may have edited: a path in it must not be followed.
            if not whole or not _CHECKPOINT.fullmatch(file):
                raise ValueError("its fields are not those of a checkpoint")
            # Other options make other scenes: the rest of the run would belong to neither.
            if values["config_sha256"] != self._config_sha256:
                raise UserError(
                    f"'{self.path / 'config.json'}' is not the one that the checkpoint was made with (SHA-256): put it "
                    "back, or start the run anew"
                )
            data = read_ordinary(self.path / file, GREATEST)
            if _digest(data) != digest:
                raise UserError(f"'{self.path / file}' is not what was written (SHA-256): start the run anew")
            return Checkpoint(stage, step, load(data), numbers)
        except UserError:
            raise
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise UserError(f"checkpoint in '{self.path}' cannot be read ({error}): start the run anew") from error

    def forget_after(self, stage: int, step: int) -> None:
        """Drop the lines of loss.jsonl of a checkpoint's future, which the resumed run writes again."""
        self._close_log()
        if not (self.path / "loss.jsonl").is_file():
            return
        # The steps after the checkpoint are taken again, and would stand in the log twice.
        past = [r for r in self.losses() if (r["stage"], r["step"]) < (stage, step)]
        replace_file(self.path / "loss.jsonl", "".join(json.dumps(r) + "\n" for r in past))

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one step's record to loss.jsonl."""
        if self._log is None:
            # Line by line, so that a kill loses at most the line that is being written.
            self._log = (self.path / "loss.jsonl").open("a", buffering=1)
        self._log.write(json.dumps(record) + "\n")

    def losses(self) -> list[dict[str, Any]]:
        """Return the records of loss.jsonl; a last line that a kill cut in half does not count."""
        return list(_records(self.path / "loss.jsonl"))

    def plot(self) -> None:
        """Draw loss.svg; a run without losses gets none."""
        if losses := self.losses():
            replace_file(self.path / "loss.svg", loss_picture(losses))

    def finish(self, outputs: Mapping[Path, str]) -> None:
        """Write result.json: the files that the run has written, by path, and the SHA-256 of each."""
        files = {str(path): digest for path, digest in outputs.items()}
        replace_file(self.path / "result.json", json.dumps({"files": files}, indent=2) + "\n")

    def close(self) -> None:
        """Close the log and release the lock."""
        self._close_log()
        self._lock.release()

    def _close_log(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        self.close()
        # What cannot be written in a folder that has gone is told by what has happened, not by the file that misses it.
        if isinstance(error, OSError | UserError) and not (self.path / "config.json").exists():
            raise UserError(
                f"run folder '{self.path}' has gone: expected it to stay until the end of the run, but somebody has "
                "moved or removed it; put it back and give the same command, or start anew"
            ) from error


def is_run(path: Path) -> bool:
    """Return whether a folder is marked as a run of this program, of whatever version."""
    try:
        config = _parse(path / "config.json")
    except (OSError, ValueError):
        return False
    return str(config.get("format")).startswith("tgm-run-")


def result_of(path: Path) -> dict[Path, str] | None:
    """Return the files that a finished run has written, with their SHA-256; None where it has not finished."""
    try:
        files = _parse(path / "result.json")["files"]
        return {Path(name): str(digest) for name, digest in files.items()}
    except (OSError, ValueError, KeyError, AttributeError):
        return None


def read_config(path: Path) -> dict[str, Any]:
    """Return a run folder's config.json.

    Raises:
        UserError: the folder is no run, or one of another version of the program.
    """
    file = path / "config.json"
    if not file.is_file():
        raise UserError(f"--resume '{path}': no run is here (no config.json): give a folder such as runs/a-red-apple")
    try:
        config = _parse(file)
        writer = (config["format"], config["version"])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"--resume '{path}': config.json is not a run's ({error}); start the run anew") from error
    if writer != (FORMAT, __version__):
        raise UserError(
            f"--resume '{path}': the run is of tgm {writer[1]!r:.40} (format {writer[0]!r:.40}), this is tgm "
            f"{__version__} (format {FORMAT}): a run ends in the same bytes only under the version that began it; "
            "install that one or start anew"
        )
    return config


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _check_inputs(path: Path, digests: object) -> None:
    """Refuse to resume a run whose own copies of what it reads are not those that it began with."""
    if not isinstance(digests, dict):
        raise UserError(f"--resume '{path}': config.json: expected inputs_sha256, got {digests!r:.40}; start anew")
    for name, digest in digests.items():
        file = path / "inputs" / name
        # A name from a file that may have been edited is only ever compared, never opened outside the folder.
        inside = ".." not in Path(name).parts and not Path(name).is_absolute() and "\0" not in name
        try:
            same = inside and _digest(read_ordinary(file, GREATEST)) == digest
        except OSError:
            same = False
        if not same:
            raise UserError(
                f"--resume '{path}': 'inputs/{name}' is not what the run began with (SHA-256): put it back, or start "
                "the run anew"
            )


def _sweep_unborn(folder: Path) -> None:
    """Remove run folders that killed processes have left under their temporary names, half filled."""
    paths: list[Path] = []
    with contextlib.suppress(OSError):  # it may not be readable, which is no reason not to work in a run
        paths = [*folder.iterdir()]
    for path in paths:
        with contextlib.suppress(OSError):  # another process sweeps, too
            if is_stale(path) and not path.is_symlink() and all(_is_filling(file) for file in path.iterdir()):
                shutil.rmtree(path, ignore_errors=True)


def _is_filling(file: Path) -> bool:
    """Return whether `_fill` makes an entry of this name: a folder that holds anything else is somebody's."""
    return file.name in ("snapshots", "inputs", "config.json") or is_temporary(file)


def _fill(folder: Path, request: Mapping[str, Any], inputs: Mapping[str, bytes]) -> None:
    """Write what a run folder begins with."""
    folder.chmod(0o755)  # mkdtemp's 0700 is for secrets
    (folder / "snapshots").mkdir()
    for name, content in inputs.items():
        file = folder / "inputs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, content)
    digests = {name: _digest(content) for name, content in inputs.items()}
    document = {"format": FORMAT, "version": __version__, **request, "inputs_sha256": digests}
    text = json.dumps(document, indent=2) + "\n"
    replace_file(folder / "config.json", text)


def _parse(file: Path) -> dict[str, Any]:
    """Return the object in a JSON file; `ValueError` where it is none or too long."""
    try:
        # A user may point --resume at anything.
        value = json.loads(read_ordinary(file, LONGEST_JSON).decode("utf-8"))
    # Python's parser recurses: 100,000 brackets would end in a traceback.
    except RecursionError as error:
        raise ValueError(f"{file.name} is nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"{file.name} is no JSON object")
    return value


def _records(file: Path) -> Iterator[dict[str, Any]]:
    if not file.is_file():
        return
    try:
        text = read_ordinary(file, GREATEST).decode("utf-8", "replace")
    except OSError as error:
        raise UserError(f"'{file}' cannot be read: {error.strerror or error}; start the run anew") from None
    for line in text.split("\n"):
        try:
            record = json.loads(line)
            place = (record["stage"], record["step"], record["loss"], record["name"])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # cut in half by a kill, or edited
        if all(isinstance(value, int | float) for value in place[:3]):
            yield record


def _not_writable(path: Path, error: OSError) -> UserError:
    """Return what to say of a folder that can't be written."""
    return UserError(f"run folder '{path}' cannot be written: {error.strerror}; choose another --out")
