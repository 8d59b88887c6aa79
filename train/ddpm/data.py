"""Pictures to train DDPM on: icons, CIFAR-10, MNIST, or any folder of pictures. Nothing is downloaded or unpickled.

icons       the archive that `python -m train.data.icons` writes, by default data/icons.npz
cifar10     a folder with the binary version, or an npz archive with `x_train` and `x_test`; by default data/cifar10
mnist       a folder with the four IDX files, or such an archive; by default data/mnist
FOLDER      a folder of pictures, all of which are reduced to one size
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from runtime.arrays import read_arrays
from runtime.errors import UserError
from train.data.icons import SETS
from train.lmconv.archives import read_cifar10, read_folder, read_idx_folder, read_npz

HELD_OUT = 20
"""One icon concept, or picture of a folder, in so many is held out."""

_READERS = {"mnist": read_idx_folder, "cifar10": read_cifar10}


@dataclass(frozen=True)
class Pictures:
    """Two splits of square pictures.

    Attributes:
        train: what is trained on.
        held_out: what is not.
        flips: whether a mirrored picture is as likely as the picture, so that training may mirror at random.
    """

    train: UInt8[Tensor, "_ C H W"]
    held_out: UInt8[Tensor, "_ C H W"]
    flips: bool

    def draw(self, count: int, generator: torch.Generator) -> Float[Tensor, "{count} C H W"]:
        """Return random training pictures in [-1, 1], drawn on the generator's device, where the pictures are."""
        device = generator.device
        rows = torch.randint(len(self.train), (count,), generator=generator, device=device)
        pictures = to_unit(self.train[rows])
        if not self.flips:
            return pictures
        mirrored = torch.rand(count, generator=generator, device=device) < 0.5
        return torch.where(mirrored[:, None, None, None], pictures.flip(3), pictures)


def to_unit(levels: UInt8[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Return levels 0 to 255 as numbers from -1 to 1."""
    return levels.float() / 127.5 - 1.0


def load_pictures(data: str, path: Path | None = None, *, size: int = 32, sets: str = "") -> Pictures:
    """Return a data set's splits.

    Args:
        data: icons, cifar10, mnist, or a folder of pictures.
        path: archive or folder of a named data set; by default below data/.
        size: side in pixels to which icons and a folder's pictures are reduced.
        sets: icon sets to take, with commas; empty for all of them.

    Raises:
        UserError: where the files are missing or are not what they should be.
    """
    if data == "icons":
        return _read_icons(Path("data/icons.npz") if path is None else path, size, sets)
    if data in _READERS:
        place = Path("data") / data if path is None else path
        if not place.exists():
            raise UserError(f"--data-dir '{place}': expected {data}, got nothing; see train/ddpm/data.py (no download)")
        train, held_out = read_npz(place) if place.suffix == ".npz" else _READERS[data](place)
        return Pictures(
            *(torch.from_numpy(np.ascontiguousarray(p)) for p in (train, held_out)), flips=data == "cifar10"
        )
    if not Path(data).is_dir():
        raise UserError(f"--data '{data}': expected icons, cifar10, mnist, or a folder of pictures")
    pictures = torch.from_numpy(read_folder(Path(data), size))
    held = max(1, len(pictures) // HELD_OUT)
    return Pictures(pictures[:-held], pictures[-held:], flips=True)


def is_held_out(concept: str) -> bool:
    """Return whether an icon's concept is held out, in every set and colour: by its hash, so the same ones always."""
    return hashlib.sha256(concept.encode()).digest()[0] % HELD_OUT == 0


def _read_icons(archive: Path, size: int, sets: str) -> Pictures:
    """Return single icons of an archive, reduced by the mean over squares."""
    if not archive.is_file():
        raise UserError(f"--data-dir '{archive}': expected the archive of python -m train.data.icons, got no file")
    names = [name.strip() for name in sets.split(",") if name.strip()]
    if not set(names) <= set(SETS):
        raise UserError(f"--sets '{sets}': expected {', '.join(SETS)}, with commas")
    try:
        arrays = read_arrays(archive, ("kinds", "sets", "pictures", "concepts"))
        chosen = (arrays["kinds"] != "pair") & (np.isin(arrays["sets"], names) if names else True)
        pictures, concepts = arrays["pictures"][chosen], arrays["concepts"][chosen].tolist()
    except (ValueError, KeyError, IndexError) as error:
        raise UserError(f"--data-dir '{archive}': not an archive of python -m train.data.icons ({error})") from error
    if pictures.shape[1] % size:
        raise UserError(f"--size: expected a divisor of {pictures.shape[1]}, the side of the icons, got {size}")
    reduced = torch.cat([_reduce(torch.from_numpy(rows), size) for rows in np.array_split(pictures, 64)])
    held = torch.tensor([is_held_out(concept) for concept in concepts])
    return Pictures(reduced[~held], reduced[held], flips=False)


def _reduce(pictures: UInt8[Tensor, "N S S 3"], size: int) -> UInt8[Tensor, "N 3 {size} {size}"]:
    means = functional.avg_pool2d(pictures.permute(0, 3, 1, 2).float(), pictures.shape[1] // size)
    return means.round().to(torch.uint8)
