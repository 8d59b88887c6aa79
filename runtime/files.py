"""Files that are never seen half written, and whether one can be made at all."""

import errno
import os
import re
import stat
import tempfile
from pathlib import Path

from runtime.errors import UserError

# A dot, the file's own name, eight characters of `mkstemp`.
_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp")


def replace_file(path: Path, content: bytes | memoryview | str) -> None:
    """Write a whole file under a temporary name in the same folder and rename it over `path`.

    A reader, or a process that is killed at any moment, sees the old content or the new one and nothing between. The
    name is private to the call, so that two writers do not share half a file.

    Args:
        path: the file to make or to replace; its folder exists.
        content: all of it; text is written as UTF-8.

    Raises:
        OSError: where the folder cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            # On the disk before the rename: after a power cut, the new name may otherwise stand for an empty file.
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # mkstemp's 0600 is for secrets
        os.replace(name, path)
        sync_folder(path.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries to the disk: after a power cut, a file that was renamed into it is there."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # not on Windows, where a folder cannot be opened
        return
    try:
        os.fsync(handle)
    except OSError:  # a file system without it: nothing more can be done
        pass
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what `replace_file` has left behind in a folder where a process was killed while it wrote.

    Nobody else may be writing there: who calls it has the folder's lock.
    """
    for path in [*folder.iterdir()] if folder.is_dir() else []:
        if _TEMPORARY.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            path.unlink(missing_ok=True)


def try_writing(file: Path) -> None:
    """Raise a `UserError` where a file beside `file` cannot be made, before work is spent on what goes there."""
    probe = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"'{file}' cannot be written: {error.strerror}; choose another place with --out") from error


def check_ordinary(path: Path) -> None:
    """Refuse what is no ordinary file: a device or a pipe may never end.

    Raises:
        OSError: it is none, there is none, or its name cannot be one; `strerror` says which.
    """
    try:
        mode = path.stat().st_mode
    except ValueError:
        raise OSError(errno.EINVAL, "its name holds a null byte") from None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no ordinary file")
