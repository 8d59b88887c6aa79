"""Pictures as whole numbers: MNIST, CIFAR-10, CelebA-HQ at 5 bits, or any folder of pictures.

Nothing is downloaded and nothing is unpickled. `--data-dir` (by default data/NAME) names what
the user has:

    mnist       a folder with the four IDX files (also gzipped), or an npz archive with `x_train` and `x_test`
    cifar10     a folder with the binary version (data_batch_1.bin ... test_batch.bin), or such an npz archive
    celeba-hq   a folder of pictures; 5 bits
    images      a folder of pictures; 8 bits
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from runtime.errors import UserError
from train.lmconv.archives import read_cifar10, read_folder, read_idx_folder, read_npz

Name = Literal["mnist", "cifar10", "celeba-hq", "images"]
Binarization = Literal["none", "dynamic", "static"]

BINARIZATION_SEED = 20200707
"""Seed of the one draw that binarizes validation and test pictures, and training pictures of static binarization."""


@dataclass(frozen=True)
class Pictures:
    """Three splits of pictures.

    Attributes:
        train: (N, channels, H, W) uint8 in [0, levels); for dynamic binarization intensities in [0, 256).
        valid: like `train`, in [0, levels).
        test: like `valid`; for data without a test split the same pictures.
        levels: intensities of a channel.
        dynamic: whether a training picture is binarized anew whenever it is drawn.
    """

    train: UInt8[Tensor, "_ C H W"]
    valid: UInt8[Tensor, "_ C H W"]
    test: UInt8[Tensor, "_ C H W"]
    levels: int
    dynamic: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.train.shape[2], self.train.shape[3]

    @property
    def channels(self) -> int:
        """Colour channels."""
        return self.train.shape[1]

    def draw(self, count: int, generator: torch.Generator) -> UInt8[Tensor, "{count} C H W"]:
        """Return random training pictures in [0, levels), drawn on the generator's device, where the pictures are."""
        device = generator.device
        rows = torch.randint(len(self.train), (count,), generator=generator, device=device)
        pictures = self.train[rows]
        if not self.dynamic:
            return pictures
        return (torch.rand(pictures.shape, generator=generator, device=device) * 255.0 < pictures).to(torch.uint8)


def binarize(intensities: UInt8[np.ndarray, "*shape"], seed: int) -> UInt8[np.ndarray, "*shape"]:
    """Return uint8 of 0 and 1: each pixel is 1 with probability intensity / 255, always the same for one seed.

    The draw is made of a PCG64's raw output, which no version of NumPy changes.
    """
    source = np.random.PCG64(seed)
    drawn = source.random_raw(intensities.size) >> np.uint64(32)
    return (drawn.reshape(intensities.shape) * np.uint64(255) < intensities.astype(np.uint64) << np.uint64(32)).astype(
        np.uint8
    )


def load_pictures(
    name: Name,
    path: Path | None = None,
    *,
    binarization: Binarization = "none",
    size: int | None = None,
    bits: int | None = None,
) -> Pictures:
    """Return a data set's splits.

    Args:
        name: which data set it is.
        path: folder or archive; by default the folder data/NAME.
        binarization: of grey pictures: none, anew at every draw, or once for all.
        size: side in pixels to which a folder's pictures are reduced, bilinearly.
        bits: depth of a channel, 1 to 8; 5 for `celeba-hq` and 8 for the others by default.

    Raises:
        UserError: where the files are missing or are not what they should be.
    """
    path = Path("data") / name if path is None else path
    if not path.exists():
        raise UserError(
            f"--data-dir '{path}': nothing is here; give a folder or an npz archive (nothing is downloaded)"
        )
    train, test = _read(name, path, size)
    held = {"mnist": len(train) // 6, "cifar10": len(train) // 10}.get(name, 0)
    train, valid = (train[: len(train) - held], train[len(train) - held :]) if held else (train, test)
    depth = bits or (5 if name == "celeba-hq" else 8)
    if not 1 <= depth <= 8:
        raise UserError(f"--bits: expected 1 to 8, got {depth}")
    if min(len(train), len(valid), len(test)) == 0:
        raise UserError(f"--data-dir '{path}': expected pictures to train and to test on, got too few")
    if binarization != "none":
        return _binarized(train, valid, test, binarization)
    splits = (torch.from_numpy(np.ascontiguousarray(part >> (8 - depth))) for part in (train, valid, test))
    return Pictures(*splits, levels=2**depth)


def _read(
    name: Name, path: Path, size: int | None
) -> tuple[UInt8[np.ndarray, "_ C H W"], UInt8[np.ndarray, "_ C H W"]]:
    """Return training and test pictures; a folder's last tenth is for testing."""
    if path.suffix == ".npz":
        return read_npz(path)
    if name == "mnist":
        return read_idx_folder(path)
    if name == "cifar10":
        return read_cifar10(path)
    pictures = read_folder(path, size)
    held = max(1, len(pictures) // 10)
    return pictures[:-held], pictures[-held:]


def _binarized(
    train: UInt8[np.ndarray, "_ C H W"],
    valid: UInt8[np.ndarray, "_ C H W"],
    test: UInt8[np.ndarray, "_ C H W"],
    how: Binarization,
) -> Pictures:
    if train.shape[1] != 1:
        raise UserError(f"--binarized: expected grey pictures, got {train.shape[1]} channels; leave it out")
    seeds = BINARIZATION_SEED, BINARIZATION_SEED + 1, BINARIZATION_SEED + 2
    drawn = train if how == "dynamic" else binarize(train, seeds[0])
    parts = (np.ascontiguousarray(drawn), binarize(valid, seeds[1]), binarize(test, seeds[2]))
    return Pictures(*(torch.from_numpy(part) for part in parts), levels=2, dynamic=how == "dynamic")
