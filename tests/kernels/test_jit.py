"""Where kernels are cached, and the stamp that keeps Numba from serving those whose callees have changed."""

import errno
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from numba import config
from numba.core import caching

from runtime.kernels.jit import entry, stamp_of, temporary_cache

FULL_DISK = OSError(errno.ENOSPC, "No space left on device")


def test_the_stamp_is_of_the_sources(tmp_path: Path) -> None:
    file = tmp_path / "kernel.py"
    file.write_text("a = 1\n")
    before = stamp_of(tmp_path)
    assert before.isidentifier()
    assert stamp_of(tmp_path) == before
    file.write_text("a = 2\n")
    assert stamp_of(tmp_path) != before
    (tmp_path / "notes.txt").write_text("no source")
    file.write_text("a = 1\n")
    assert stamp_of(tmp_path) == before


def double(x):
    return 2 * x


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Neither the package's folder nor the user's can be written; temporary files go to the returned folder."""
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [caching.UserProvidedCacheLocator])
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    temporary_cache.cache_clear()
    yield tmp_path
    temporary_cache.cache_clear()


def test_without_a_home_kernels_are_kept_in_a_private_folder(nowhere: Path, caplog: pytest.LogCaptureFixture) -> None:
    kernels = [entry(double) for _ in range(2)]
    assert [kernel(21) for kernel in kernels] == [42, 42]
    (folder,) = nowhere.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.rglob("*.nbc"))
    (record,) = caplog.records  # once, though there are two kernels
    assert record.levelno == logging.WARNING
    assert record.getMessage().endswith(f"in {folder}")


def test_all_kernels_are_compiled_here() -> None:
    """Numba's own decorators end in an error where there is no place for a cache."""
    root = Path(__file__).parents[2]
    files = [path for room in ("runtime", "train", "export", "serving") for path in (root / room).rglob("*.py")]
    own = [path for path in files if re.search(r"\bn?jit\(|@(numba\.)?n?jit\b", path.read_text("utf-8"))]
    assert {path.relative_to(root).as_posix() for path in own} <= {"runtime/kernels/jit.py", "runtime/kernels/card.py"}


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_a_folder_that_others_can_write_is_not_trusted(nowhere: Path, caplog: pytest.LogCaptureFixture) -> None:
    planted = nowhere / f"tgm-kernels-{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    assert entry(double)(21) == 42
    assert list(planted.iterdir()) == []
    assert "every start compiles them again" in caplog.text


def test_a_link_in_the_folder_s_place_is_not_followed(nowhere: Path) -> None:
    target = nowhere / "elsewhere"
    target.mkdir(mode=0o700)
    (nowhere / f"tgm-kernels-{os.getuid()}").symlink_to(target)
    assert temporary_cache() is None


def test_a_full_disk_does_not_stop_a_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise FULL_DISK

    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(caching.Cache, "save_overload", fails)
    assert entry(double)(21) == 42


@pytest.mark.parametrize("pattern", ["*.nbc", "*.nbi"])
@pytest.mark.parametrize("damage", [b"", b"no pickle", None])
def test_a_damaged_cache_is_compiled_anew(
    pattern: str, damage: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    assert entry(double)(21) == 42
    (file,) = tmp_path.rglob(pattern)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert entry(double)(21) == 42
    # It is whole again: the next process has nothing to compile.
    kernel = entry(double)
    assert kernel(21) == 42
    assert sum(kernel.stats.cache_hits.values()) == 1


def test_kernels_of_another_numpy_are_compiled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    assert entry(double)(21) == 42

    def fails(*_: object) -> None:
        raise ValueError("incorrect value for flags variable (overflow)")  # NumPy 1's word for a dtype of NumPy 2's

    with monkeypatch.context() as patched:
        patched.setattr(caching.IndexDataCacheFile, "_load_data", fails)
        assert entry(double)(21) == 42
    kernel = entry(double)
    assert kernel(21) == 42
    assert sum(kernel.stats.cache_hits.values()) == 1
