"""A folder that one process at a time works in."""

import errno
import os
from pathlib import Path

from filelock import FileLock, Timeout

from runtime.errors import UserError

_NONE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What systems say of a file system without locks, such as NFS without its lock daemon."""


def lock_folder(path: Path, what: str, remedy: str) -> FileLock:
    """Return a folder's lock, taken; the system drops it when the process ends, however it ends.

    Args:
        path: the folder, which exists; its file `.lock` is locked.
        what: the folder in words, for messages, such as "run folder 'runs/a'".
        remedy: what to do where another process has it, or where there are no locks.

    Raises:
        UserError: another process has it, or the file system has no locks.
        OSError: the folder cannot be written.
    """
    if not path.is_dir():  # it would be made
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    lock = FileLock(path / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(f"{what} is in use by another process: wait, or {remedy}") from error
    except NotImplementedError as error:
        raise UserError(_no_locks(what, remedy)) from error
    except OSError as error:
        if error.errno not in _NONE:
            raise
        raise UserError(_no_locks(what, remedy)) from error
    return lock


def _no_locks(what: str, remedy: str) -> str:
    return f"{what}: expected a file system with locks, got one without; {remedy} on a local disk"
