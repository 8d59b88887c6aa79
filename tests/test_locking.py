"""Locks of folders, and file systems without them."""

import errno
from pathlib import Path

import pytest
from filelock import FileLock

from runtime.errors import UserError
from runtime.locking import lock_folder


def test_one_at_a_time(tmp_path: Path) -> None:
    lock = lock_folder(tmp_path, "run 'a'", "choose another --out")
    with pytest.raises(UserError, match=r"^run 'a' is in use by another process: wait, or choose another --out$"):
        lock_folder(tmp_path, "run 'a'", "choose another --out")
    lock.release()
    lock_folder(tmp_path, "run 'a'", "choose another --out").release()


@pytest.mark.parametrize("error", [NotImplementedError("no flock"), OSError(errno.ENOLCK, "No locks available")])
def test_a_file_system_without_locks_is_named(tmp_path: Path, error: Exception, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with pytest.raises(
        UserError, match=r"expected a file system with locks, got one without; choose .* on a local disk"
    ):
        lock_folder(tmp_path, "run 'a'", "choose another --out")


def test_another_error_is_not_taken_for_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No such file"):
        lock_folder(tmp_path / "none", "run 'a'", "choose another --out")
