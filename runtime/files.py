"""Files that are never seen half written, and whether one can be made at all."""

import contextlib
import errno
import os
import re
import stat
import tempfile
import time
from pathlib import Path

from runtime.errors import UserError

_SUFFIX = ".tgm.tmp"
"""Ends the names of temporary files and folders; unmistakable, since what has one is swept."""

_TEMPORARY = re.compile(r"\..*\.[a-z0-9_]{8}" + re.escape(_SUFFIX) + r"(\.\w+)?")
"""A dot, the beginning of the file's own name, eight characters of `mkstemp`, perhaps a suffix that a program wants."""

STALE_S = 3600.0
"""Age in seconds from which a temporary file is that of a process which was killed: none takes as long to write one."""

_SWEPT: set[Path] = set()
"""Folders that this process has swept."""


def replace_file(path: Path, content: bytes | memoryview | str, mode: int = 0o644) -> None:
    """Write a whole file under a temporary name in the same folder and rename it over `path`.

    A reader, or a process that is killed at any moment, sees the old content or the new one and nothing between. The
    name is private to the call, so that two writers do not share half a file.

    Args:
        path: the file to make or to replace; its folder exists.
        content: all of it; text is written as UTF-8.
        mode: who may read and write it.

    Raises:
        OSError: where the folder cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    handle, name = make_temporary(path)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            # On the disk before the rename: after a power cut, the new name may otherwise stand for an empty file.
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)  # mkstemp's 0600 is for secrets
        os.replace(name, path)
        sync_folder(path.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def make_temporary(path: Path, suffix: str = "") -> tuple[int, str]:
    """Return the handle and the name of a new file beside `path`, to be written and renamed over it.

    Once a process, the folder is swept of what killed processes have left there.

    Args:
        path: the file that it becomes; its folder exists.
        suffix: that a program wants at the end of the name, such as ".mp4".
    """
    sweep_stale(path.parent)
    return tempfile.mkstemp(prefix=_prefix(path), suffix=_SUFFIX + suffix, dir=path.parent)


def make_temporary_folder(path: Path) -> Path:
    """Return a new folder beside `path`, to be filled and renamed to it."""
    return Path(tempfile.mkdtemp(prefix=_prefix(path), suffix=_SUFFIX, dir=path.parent))


def is_temporary(path: Path) -> bool:
    """Return whether a name is that of a temporary file or folder of this program."""
    return _TEMPORARY.fullmatch(path.name) is not None


def is_stale(path: Path) -> bool:
    """Return whether a temporary file or folder is one that a killed process has left."""
    return is_temporary(path) and time.time() - path.lstat().st_mtime > STALE_S


def _prefix(path: Path) -> str:
    # A name may be as long as file systems allow, and has no room for more then.
    return f".{path.name[:40]}."


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


def sync_file(path: Path) -> None:
    """Bring a file that is written to the disk; a folder that is renamed must not come back with empty files."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_tree(folder: Path) -> None:
    """Bring a folder with all that is in it to the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            sync_file(path)
        elif path.is_dir():
            sync_folder(path)
    sync_folder(folder)


def sweep(folder: Path) -> None:
    """Remove what `replace_file` has left behind in a folder where a process was killed while it wrote.

    Nobody else may be writing there: who calls it has the folder's lock.
    """
    for path in [*folder.iterdir()] if folder.is_dir() else []:
        if is_temporary(path) and path.is_file() and not path.is_symlink():
            path.unlink(missing_ok=True)


def sweep_stale(folder: Path) -> None:
    """Remove, once a process, the old temporary files of a folder where others may be writing.

    Never raises: that a folder cannot be read or swept is no reason not to write.
    """
    folder = folder.absolute()
    if folder in _SWEPT:
        return
    if len(_SWEPT) > 1000:  # a server writes into a folder a job
        _SWEPT.clear()
    _SWEPT.add(folder)
    try:
        for path in folder.iterdir():
            if is_stale(path) and path.is_file() and not path.is_symlink():
                path.unlink(missing_ok=True)
    except OSError:
        pass


def try_writing(file: Path) -> None:
    """Raise a `UserError` where a file beside `file` cannot be made, before work is spent on what goes there."""
    try:
        # A name that is too long shows here; the temporary one is cut.
        with contextlib.suppress(FileNotFoundError):
            file.lstat()
        handle, name = make_temporary(file)
        os.close(handle)
        os.unlink(name)
    except (OSError, ValueError) as error:  # a ValueError is for a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{str(file)!r:.200} cannot be written: {reason}; choose another place with --out") from error


def read_ordinary(path: Path, most: int) -> bytes:
    """Return the content of an ordinary file of at most `most` bytes.

    Raises:
        OSError: as of `check_ordinary`, or it is longer: a sparse file of any length costs nothing to make.
    """
    check_ordinary(path)
    with path.open("rb") as file:
        # One byte beyond the limit shows that there are more, whatever the size was a moment ago.
        content = file.read(most + 1) if path.stat().st_size <= most else b""
        if len(content) > most or path.stat().st_size > most:
            raise OSError(errno.EFBIG, f"expected at most {most} bytes, got {path.stat().st_size}")
    return content


def check_ordinary(path: Path) -> None:
    """Refuse what is no ordinary file: a device or a pipe may never end.

    Raises:
        OSError: it is none, there is none, or its name cannot be one; `strerror` says which.
    """
    try:
        mode = path.stat().st_mode
    except ValueError:
        raise OSError(errno.ENOENT, "its name holds a null byte") from None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no ordinary file")
