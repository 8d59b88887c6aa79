"""Pictures of the archive, and as the networks take them."""

from pathlib import Path

import numpy as np
import torch

from train.data.archive import read_pictures, to_images


def test_pictures_become_images(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
    np.savez(tmp_path / "icons.npz", pictures=pictures, captions=np.array(["a", "b"]))
    read = read_pictures(tmp_path / "icons.npz")
    assert torch.equal(read, torch.from_numpy(pictures))
    images = to_images(read)
    assert images.shape == (2, 3, 128, 128)
    assert images[1, 2, 5, 7] == torch.tensor(float(pictures[1, 5, 7, 2])) / 255.0
