"""Files that a command of training leaves in a folder: what it has not written, or what was changed, is not replaced.

    outputs = Outputs(config.out, "train.x", ("latents.npy", "objects.json"))  # refuses before any work
    outputs.write("latents.npy", content)

The folder's `written.json` holds the SHA-256 of each file as it was written.
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from runtime.engines.strict_json import parse_value
from runtime.errors import UserError
from runtime.files import read_ordinary, replace_file, try_writing

RECORD = "written.json"
"""File of the digests: for each name, those of what the command has written, or was about to write, under it."""

FORMAT = "tgm-written-1"
"""Says that the record is of this program."""


class Outputs:
    """The files of a command in its folder, which is made when the first one is written.

    Args:
        folder: where.
        command: whose they are, such as "train.latent_diffusion.objects".
        names: of all files that the command will write.
        force: whether files may be replaced whoever wrote them.

    Raises:
        UserError: a file of such a name is not as this command has written it, or the folder cannot be written.
    """

    def __init__(self, folder: Path, command: str, names: Sequence[str], *, force: bool = False) -> None:
        self.folder, self.command = folder, command
        self.digests = _read(folder / RECORD, command)
        for name in (*names, RECORD):
            file = folder / name
            if file.is_dir():
                raise UserError(f"'{file}' is a folder; choose another --out")
            if file.exists() and not force and not self.is_ours(name):
                raise UserError(
                    f"'{file}' exists, and {command} has not written it as it is now; choose another --out, or replace "
                    "it with --force"
                )
        if folder.exists():
            try_writing(folder / RECORD)

    def is_ours(self, name: str) -> bool:
        """Return whether a file that is there holds what was written under its name."""
        if name == RECORD:
            return self.digests is not None
        return self._digest(name) in (self.digests or {}).get(name, [])

    def _digest(self, name: str) -> str:
        """Return the SHA-256 of the file that is there now, "" where there is none."""
        try:
            with (self.folder / name).open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except FileNotFoundError:
            return ""

    def write(self, name: str, content: bytes | memoryview | str) -> None:
        """Write a file, whole or not at all.

        Raises:
            UserError: the folder cannot be made.
            OSError: there is no room.
        """
        make_folder(self.folder)
        data = content.encode() if isinstance(content, str) else content
        digest = hashlib.sha256(data).hexdigest()
        before = self._digest(name)
        ours = [before] if before in (self.digests or {}).get(name, []) else []
        # First the record: a process that is killed between the two has one file or the other, and both are its own.
        self._record({**(self.digests or {}), name: [*ours, digest]})
        replace_file(self.folder / name, data)

    def _record(self, digests: Mapping[str, list[str]]) -> None:
        self.digests = dict(digests)
        document = {"format": FORMAT, "command": self.command, "files": dict(sorted(digests.items()))}
        replace_file(self.folder / RECORD, json.dumps(document, indent=1) + "\n")


def make_folder(folder: Path) -> None:
    """Make a folder for what training writes, where there is none.

    Raises:
        UserError: it cannot be made: something else has its name, or the folder above cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"'{folder}' cannot be made: {error.strerror}; choose another --out") from error


def _read(path: Path, command: str) -> dict[str, list[str]] | None:
    """Return a record's digests by name; None where there is no record of a command."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        document = parse_value(read_ordinary(path, 1 << 20))
        if (document.get("format"), document.get("command")) == (FORMAT, command):
            return {
                name: [digest for digest in digests if isinstance(digest, str)]
                for name, digests in document["files"].items()
                if isinstance(digests, list)
            }
    return None
