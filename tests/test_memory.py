"""Limits by the machine's memory: of pictures, and of arrays."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime import arrays, memory, pictures
from runtime.arrays import GREATEST_ARRAYS, most_bytes, read_array, read_arrays
from runtime.errors import UserError
from runtime.pictures import MAX_PIXELS, most_pixels, read_picture


def test_a_system_that_does_not_say_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (memory.machine_memory() or 1 << 30) > 1 << 20

    def refuse(_: str) -> int:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(memory.os, "sysconf", refuse)
    assert memory.machine_memory() is None


def test_a_picture_takes_no_more_than_a_share_of_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (40, 30)).save(tmp_path / "a.png")
    monkeypatch.setattr(pictures, "machine_memory", lambda: 100 * 1000)
    with pytest.raises(UserError, match=r"40 x 30 pixels: expected at most 1000; scale it down"):
        read_picture(tmp_path / "a.png")
    for size, most in ((None, MAX_PIXELS), (1 << 50, MAX_PIXELS)):
        monkeypatch.setattr(pictures, "machine_memory", lambda size=size: size)
        assert most_pixels() == most
    assert read_picture(tmp_path / "a.png").shape == (3, 30, 40)


def test_arrays_take_no_more_than_half_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(1000))
    np.save(tmp_path / "a.npy", np.zeros(1000))
    monkeypatch.setattr(arrays, "machine_memory", lambda: 2000)
    for read, name in ((read_arrays, "a.npz"), (read_array, "a.npy")):
        with pytest.raises(UserError, match="expected at most 1000 bytes"):
            read(tmp_path / name)
    monkeypatch.setattr(arrays, "machine_memory", lambda: None)
    assert most_bytes() == GREATEST_ARRAYS
    assert read_arrays(tmp_path / "a.npz")["a"].shape == (1000,)


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(memory._trim() is None, reason="libc is not glibc")
def test_what_was_freed_goes_back_to_the_system() -> None:
    # Pieces below the size that malloc maps by itself, every other one of which stays in use.
    pieces = [bytes(60_000) for _ in range(2000)]
    kept = pieces[::2]
    before = resident()
    del pieces
    memory.return_freed_memory()
    assert before - resident() > 0.7 * 1000 * 60_000
    assert len(kept) == 1000


def test_a_system_without_glibc_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise OSError("libc.so.6: cannot open shared object file")

    memory._trim.cache_clear()
    monkeypatch.setattr(memory.ctypes, "CDLL", refuse)
    try:
        memory.return_freed_memory()
        assert memory._trim() is None
    finally:
        memory._trim.cache_clear()
