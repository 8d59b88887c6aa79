"""Which files a command may write: nothing that it did not write itself, and never one that it reads."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from runtime.errors import UserError
from runtime.files import try_writing
from runtime.loop.folder import is_run, result_of

RUNS = Path("runs")
"""Folder of the run folders, in the working directory."""

VIDEO_SUFFIXES = (".mp4", ".animated.svg")
"""Suffixes of what methods that draw paths write with --video."""


def check_outputs(out: Path, suffixes: Sequence[str], inputs: Iterable[Path], *, force: bool) -> None:
    """Refuse names that cannot be written, or that hold what no run in `RUNS` has written.

    Args:
        out: the file to write.
        suffixes: of all files to write; `out` has to have the first.
        inputs: files that are read; they are never replaced.
        force: whether other files may be replaced, whoever wrote them.

    Raises:
        UserError: naming the file and the remedy.
    """
    if out.suffix != suffixes[0]:
        kind = suffixes[0].removeprefix(".").upper()
        raise UserError(f"--out: expected the name of a file of kind {kind}, ending in {suffixes[0]}, got '{out}'")
    if not out.parent.is_dir():
        raise UserError(f"--out '{out}': folder '{out.parent}' does not exist; make it, or choose another")
    # By inode, not by name: a link to the input is the input.
    read = [path for path in inputs if path.exists()]
    for file in (out.with_suffix(suffix) for suffix in suffixes):
        if file.is_dir():
            raise UserError(f"--out '{out}': '{file}' is a folder; choose another name")
        # Found out now, not after minutes of work.
        try_writing(file)
        if file.exists() and any(file.samefile(path) for path in read):
            raise UserError(f"--out '{out}': '{file}' is a file that is read; choose another name")
        if file.exists() and not force and not is_ours(file):
            raise UserError(
                f"'{file}' exists, and no run in '{RUNS}' wrote it as it is now; choose another --out, or replace it "
                "with --force"
            )


def is_ours(file: Path) -> bool:
    """Return whether a file holds what some run in `RUNS` has written."""
    # By content: a file of ours that somebody has edited since is theirs.
    digest = digest_of(file)
    return any(digest in (result_of(folder) or {}).values() for folder in _runs())


def digest_of(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def free_names(stem: str) -> Iterator[Path]:
    """Yield the run folders that a request may use: stem, stem-2, stem-3 and so on."""
    yield RUNS / stem
    number = 2
    while True:
        yield RUNS / f"{stem}-{number}"
        number += 1


def _runs() -> Iterator[Path]:
    if RUNS.is_dir():
        yield from (folder for folder in sorted(RUNS.iterdir()) if is_run(folder))
