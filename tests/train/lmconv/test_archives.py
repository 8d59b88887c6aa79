"""Files of data sets that are cut, corrupt or hostile: each is refused in words, and none fills the memory."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.errors import UserError
from train.lmconv import archives
from train.lmconv.archives import read_folder, read_idx, read_npz

MAGIC = b"\x00\x00\x08\x03"


def idx(pictures: np.ndarray) -> bytes:
    return MAGIC + struct.pack(">III", *pictures.shape) + pictures.tobytes()


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_an_idx_file_gives_its_pictures(tmp_path: Path, suffix: str) -> None:
    pictures = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    content = gzip.compress(idx(pictures)) if suffix else idx(pictures)
    path = tmp_path / f"images{suffix}"
    path.write_bytes(content)
    assert np.array_equal(read_idx(path), pictures[:, None])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (MAGIC + bytes(5), "expected an IDX file"),
        (MAGIC + b"\xff" * 12, r"expected \d{29} bytes, got 16"),  # more than 64 bits hold
        (idx(np.zeros((2, 3, 4), np.uint8))[:-1], "expected 40 bytes, got 39"),
    ],
)
def test_a_header_that_promises_something_else_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_idx(tmp_path / "a")


def test_corrupt_gzip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(1000))[:12] + b"\xff" * 300)
    with pytest.raises(UserError, match="cannot be read"):
        read_idx(tmp_path / "a.gz")


def test_gzip_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(1001)))
    with pytest.raises(UserError, match="unpacks to more than 1000 bytes"):
        read_idx(tmp_path / "a.gz")


def test_what_is_no_archive_of_arrays_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.zeros(3))
    np.savez(tmp_path / "objects.npz", x_train=np.array([{}], dtype=object), x_test=np.zeros(1))
    arrays = {name: np.zeros((5, 28, 28), np.uint8) for name in ("x_train", "x_test")}
    np.savez_compressed(tmp_path / "corrupt.npz", **arrays)
    content = bytearray((tmp_path / "corrupt.npz").read_bytes())
    content[60:110] = b"\xff" * 50
    (tmp_path / "corrupt.npz").write_bytes(content)
    for name in ("one.npy", "objects.npz", "corrupt.npz"):
        with pytest.raises(UserError, match=r"expected a \.npz archive"):
            read_npz(tmp_path / name)


def test_a_folder_s_pictures_are_read_by_few_decoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    with pytest.raises(UserError, match="cannot be read as a picture"):
        read_folder(tmp_path, None)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (5, 4), (1, 2, 3)).save(tmp_path / name)
    assert read_folder(tmp_path, None)[:, :, 0, 0].tolist() == [[1, 2, 3]] * 2
    monkeypatch.setattr(archives, "MAX_PIXELS", 19)
    with pytest.raises(UserError, match="expected at most 19 pixels, got 20"):
        read_folder(tmp_path, None)
