"""Each archive is read as it was written, splits are those of the literature, and damage is named."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from runtime.errors import UserError
from tests.train.lmconv.digits import draw_digits, write_digits
from train.lmconv.data import BINARIZATION_SEED, binarize, load_pictures


def idx(pictures: np.ndarray) -> bytes:
    return struct.pack(">4I", 0x803, *pictures.shape) + pictures.tobytes()


def test_idx_files_plain_and_gzipped_are_split_in_fifty_and_ten(tmp_path: Path) -> None:
    train, test = draw_digits(60, 6), draw_digits(10, 6, seed=1)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(train))
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(test)))
    found = load_pictures("mnist", tmp_path)
    assert torch.equal(found.train[:, 0], torch.from_numpy(train[:50]))
    assert torch.equal(found.valid[:, 0], torch.from_numpy(train[50:]))
    assert torch.equal(found.test[:, 0], torch.from_numpy(test))
    assert (found.levels, found.channels, found.size) == (256, 1, (6, 6))


def test_npz_archives_hold_grey_or_colour(tmp_path: Path) -> None:
    grey = load_pictures("mnist", write_digits(tmp_path))
    assert grey.train.shape == (50, 1, 8, 8)
    colours = np.random.default_rng(0).integers(0, 256, (20, 4, 5, 3), dtype=np.uint8)
    np.savez(tmp_path / "c.npz", x_train=colours, x_test=colours[:3])
    found = load_pictures("cifar10", tmp_path / "c.npz")
    assert torch.equal(found.train, torch.from_numpy(colours[:18].transpose(0, 3, 1, 2).copy()))


def test_the_binary_version_of_cifar(tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(0), []
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        rows.append(rng.integers(0, 256, (4, 3073), dtype=np.uint8))
        (tmp_path / f"{name}.bin").write_bytes(rows[-1].tobytes())
    found = load_pictures("cifar10", tmp_path)
    assert found.train.shape == (18, 3, 32, 32) and found.valid.shape == (2, 3, 32, 32)
    assert np.array_equal(found.train[0].numpy().reshape(-1), rows[0][0, 1:])
    assert np.array_equal(found.test.numpy().reshape(4, -1), rows[5][:, 1:])


def test_a_folder_of_faces_is_reduced_to_five_bits_and_a_size(tmp_path: Path) -> None:
    for i in range(11):
        Image.new("RGB", (8, 8), (8 * i + 7, 255, 0)).save(tmp_path / f"{i:02}.png")
    found = load_pictures("celeba-hq", tmp_path, size=4)
    assert found.levels == 32 and found.train.shape == (10, 3, 4, 4) and found.test.shape == (1, 3, 4, 4)
    assert found.train[:, :, 0, 0].tolist() == [[i, 31, 0] for i in range(10)]
    assert load_pictures("images", tmp_path, bits=1).train[0, :, 0, 0].tolist() == [0, 1, 0]


def test_binarization_is_the_same_draw_for_ever() -> None:
    grey = np.arange(256, dtype=np.uint8).repeat(64)
    drawn = binarize(grey, BINARIZATION_SEED)
    assert drawn[:64].sum() == 0 and drawn[-64:].sum() == 64
    assert abs(drawn.mean() - 0.5) < 0.01
    assert np.flatnonzero(drawn[: 64 * 20])[:8].tolist() == FIRST_ONES


FIRST_ONES = [290, 402, 433, 580, 586, 589, 594, 597]
"""Where the draw's first ones lie, as it was when the seed was chosen."""


def test_dynamic_binarization_draws_anew_and_static_does_not(tmp_path: Path) -> None:
    path = write_digits(tmp_path)
    dynamic, static = (load_pictures("mnist", path, binarization=how) for how in ("dynamic", "static"))
    assert dynamic.levels == static.levels == 2
    assert torch.equal(dynamic.test, static.test) and torch.equal(dynamic.valid, static.valid)
    grey = load_pictures("mnist", path).train.float() / 255
    rows = torch.randint(50, (4000,), generator=torch.Generator().manual_seed(3))
    drawn = dynamic.draw(4000, torch.Generator().manual_seed(3)).float()
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert (drawn.mean(0) - grey[rows].mean(0)).abs().max() < 0.03
    again = dynamic.draw(4000, torch.Generator().manual_seed(4))
    assert not torch.equal(again.float(), drawn)
    known = {row.numpy().tobytes() for row in static.train}
    assert {row.numpy().tobytes() for row in static.draw(50, torch.Generator().manual_seed(0))} <= known


GREY = np.zeros((6, 4, 4))
DAMAGE: dict[str, tuple[str, dict[str, bytes | tuple[int, int]]]] = {
    "empty folder": ("mnist", {}),
    "pickles": ("cifar10", {"data_batch_1": b"\x80\x04N."}),
    "short idx": ("mnist", {"train-images-idx3-ubyte": idx(draw_digits(3, 6))[:-1]}),
    "labels": ("mnist", {"train-images-idx3-ubyte": struct.pack(">2I", 0x801, 3) + b"123"}),
    "short cifar": ("cifar10", {"data_batch_1.bin": b"1" * 3000}),
    "one picture": ("images", {"a.png": (4, 4)}),
    "two sizes": ("images", {"a.png": (4, 4), "b.png": (4, 6)}),
    "no picture": ("images", {"a.png": b"not a picture", "b.png": b"neither"}),
}
"""For each kind of damage the data set's name and what its folder holds: bytes, or a picture of a size."""


def test_nothing_at_the_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing is here"):
        load_pictures("mnist", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("empty folder", "expected train-images-idx3-ubyte"),
        ("pickles", "the Python version is a pickle and is not read"),
        ("short idx", "expected 124 bytes, got 123"),
        ("labels", "magic 00000803.*got 00000801"),
        ("short cifar", "a multiple of 3073 bytes, got 3000"),
        ("one picture", "at least two pictures"),
        ("two sizes", "pictures of one size, got 4 x 6; give --size"),
        ("no picture", "cannot be read as a picture"),
    ],
)
def test_damage_is_named(tmp_path: Path, how: str, message: str) -> None:
    name, files = DAMAGE[how]
    for file, content in files.items():
        if isinstance(content, bytes):
            (tmp_path / file).write_bytes(content)
        else:
            Image.new("RGB", content).save(tmp_path / file)
    with pytest.raises(UserError, match=message):
        load_pictures(name, tmp_path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_train": GREY, "x_test": GREY}, "expected uint8"),
        ({"a": GREY}, "expected arrays x_train and x_test, got neither"),
        (None, "expected a .npz archive"),
    ],
)
def test_archives_of_something_else_are_named(tmp_path: Path, arrays: dict | None, message: str) -> None:
    path = tmp_path / "d.npz"
    path.write_bytes(b"PK\x03\x04 but cut")
    if arrays is not None:
        np.savez(path, **arrays)
    with pytest.raises(UserError, match=message):
        load_pictures("mnist", path)


def test_colour_is_not_binarized_and_depth_has_its_range(tmp_path: Path) -> None:
    for name in "abc":
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    with pytest.raises(UserError, match="expected grey pictures, got 3 channels"):
        load_pictures("images", tmp_path, binarization="static")
    with pytest.raises(UserError, match="--bits: expected 1 to 8, got 9"):
        load_pictures("images", tmp_path, bits=9)
