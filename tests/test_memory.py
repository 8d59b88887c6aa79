"""Limits by the machine's memory: of pictures, and of arrays."""

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
