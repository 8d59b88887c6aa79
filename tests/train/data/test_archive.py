"""Pictures of the archive, and as the networks take them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from runtime.errors import UserError
from train.data.archive import read_icons, read_pictures, read_tensors, to_images


def test_pictures_become_images(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
    np.savez(tmp_path / "icons.npz", pictures=pictures, captions=np.array(["a", "b"]))
    read = read_pictures(tmp_path / "icons.npz")
    assert torch.equal(read, torch.from_numpy(pictures))
    images = to_images(read)
    assert images.shape == (2, 3, 128, 128)
    assert images[1, 2, 5, 7] == torch.tensor(float(pictures[1, 5, 7, 2])) / 255.0


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"captions": np.array(["a"])}, "expected the array pictures, got none"),
        (
            {"pictures": np.zeros((2, 9, 9, 3), np.uint8)},
            r"expected uint8 \(N, 128, 128, 3\), got uint8 \(2, 9,",
        ),
        ({"pictures": np.array([{}], dtype=object)}, "expected a .npz archive of plain arrays"),
    ],
)
def test_another_archive_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "icons.npz", **arrays)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match=message + ".*; make it with python -m train.data.icons"):
        read_pictures(tmp_path / "icons.npz")


def test_arrays_of_different_numbers_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "icons.npz", captions=np.array(["a"]), colours=np.array(["", ""]))
    with pytest.raises(UserError, match="as many of each array"):
        read_icons(tmp_path / "icons.npz", ("captions", "colours"))


def test_tensors_that_are_none_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    with pytest.raises(UserError, match="expected tensors, got No such file or directory; train it"):
        read_tensors(file, (), "train it")
    file.write_bytes(b"hello")
    with pytest.raises(UserError, match="expected tensors"):
        read_tensors(file, (), "train it")
    with pytest.raises(UserError, match="it is no ordinary file"):
        read_tensors(Path("/dev/zero"), (), "train it")
    save_file({"a": torch.zeros(1)}, file)
    assert read_tensors(file, ("a",), "train it")["a"].tolist() == [0.0]
    with pytest.raises(UserError, match="expected b, got none of this name; train it"):
        read_tensors(file, ("a", "b"), "train it")
