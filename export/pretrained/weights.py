"""Weights for a module on the meta device: drawn from a seed, or read from safetensors one tensor at a time."""

import hashlib
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from export.pretrained.mixed import widen_norms
from runtime.errors import UserError

RANDOM = "random:"
"""Prefix of weights that are drawn from a seed; a seed or the name of a family follows."""

PICKLES = (".ckpt", ".bin", ".pt", ".pth", ".pkl")

REFUSAL = (
    "reading it would run whatever code is in it (it is a Python pickle); use the model's .safetensors files, or "
    "convert it on a machine that you can lose"
)

# Rows of a table are looked up, not summed over: a fan-in would say nothing about their size.
_TABLES = ("token_embedding.weight", "positional_embedding")


class Weights(Protocol):
    """Where a module's weights come from."""

    def read(self, name: str, like: Tensor) -> Tensor:
        """Return the weight of a name, of the shape of `like`; a `UserError` says that it is missing."""
        ...


class RandomWeights:
    """Normal weights whose activations stay of order one, the same for a seed and a name in every process."""

    def __init__(self, seed: int) -> None:
        """Remember a seed."""
        self.seed = seed

    def read(self, name: str, like: Tensor) -> Tensor:
        """Return float32 weights: deviation 1 / sqrt(fan-in); biases about 0, normalizations' factors about 1."""
        # A generator for each name: a weight does not depend on which others are read, or in what order. `hash` is
        # salted.
        draws = torch.Generator().manual_seed(zlib.crc32(f"{self.seed} {name}".encode()))
        values = torch.randn(like.shape, generator=draws)
        if like.ndim >= 2:
            return values.mul_(0.02 if name.endswith(_TABLES) else 1.0 / math.sqrt(math.prod(like.shape[1:])))
        # Not exactly 0 and 1, or an export that drops a bias or a factor would pass its verification.
        return values.mul_(0.02) if name.endswith("bias") else values.mul_(0.05).add_(1.0)


class StoredWeights:
    """Weights of a mapping from names to tensors, as `SafetensorsFiles` or one that renames another."""

    def __init__(self, tensors: Mapping[str, Tensor], where: str) -> None:
        """Remember the tensors, and their name for messages."""
        self.tensors, self.where = tensors, where

    def read(self, name: str, like: Tensor) -> Tensor:
        """Return the tensor of a name; a `UserError` says that it is missing or of another shape."""
        if name not in self.tensors:
            raise UserError(
                f"{self.where}: the weight {name!r} is missing; the file is of another network, or the download was cut"
            )
        tensor = self.tensors[name]
        if tensor.shape != like.shape:
            raise UserError(
                f"{self.where}: weight {name!r}: expected {tuple(like.shape)} as its configuration says, "
                f"got {tuple(tensor.shape)}; file and configuration are of different models"
            )
        return tensor


class SafetensorsFiles(Mapping[str, Tensor]):
    """The tensors of one or several safetensors files, each read when it is asked for."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        """Open the files.

        Raises:
            UserError: one is missing, truncated, or of another format.
        """
        from safetensors import SafetensorError, safe_open

        self._places: dict[str, object] = {}
        for path in paths:
            if not path.is_file():
                raise UserError(f"'{path}': expected a safetensors file, got none; download the model again")
            try:
                # Opening reads the header and maps the file; a tensor comes into memory only when it is asked for.
                opened = safe_open(path, "pt")
                self._places |= dict.fromkeys(opened.keys(), opened)
            except (SafetensorError, OSError) as error:
                raise UserError(
                    f"'{path}': expected a whole safetensors file, got one that is truncated or of another format "
                    f"({error!s:.120}; {path.stat().st_size:,} bytes); download it again"
                ) from None

    def __getitem__(self, name: str) -> Tensor:
        """Return a tensor."""
        return self._places[name].get_tensor(name)  # pyright: ignore

    def __iter__(self) -> Iterator[str]:
        """Return the names."""
        return iter(self._places)

    def __len__(self) -> int:
        """Return how many tensors there are."""
        return len(self._places)


class Renamed(Mapping[str, Tensor]):
    """Tensors under other names, each made of one or several of another mapping when it is asked for."""

    def __init__(self, makers: Mapping[str, Callable[[], Tensor]]) -> None:
        """Remember what makes the tensor of each name."""
        self._makers = makers

    def __getitem__(self, name: str) -> Tensor:
        """Return a tensor."""
        # Made anew each time: keeping them would hold a second copy of the weights.
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        """Return the names."""
        return iter(self._makers)

    def __len__(self) -> int:
        """Return how many tensors there are."""
        return len(self._makers)


def fill(module: nn.Module, weights: Weights, dtype: torch.dtype) -> nn.Module:
    """Return a module, made on the meta device, with its weights: normalizations' in float32, others' in `dtype`.

    Args:
        module: with parameters and buffers on the meta device; frozen on return.
        weights: where they come from.
        dtype: of the products.

    Raises:
        UserError: a weight is missing or has another shape.
    """
    # First, while everything is on the meta device: `assign` below puts the loaded tensors into the new modules.
    wide = widen_norms(module)
    state = {}
    for name, like in module.state_dict().items():
        kind = torch.float32 if name in wide else dtype
        # Contiguous, as a transposed weight is a view, and the graph's weights are recognized by address and shape.
        state[name] = weights.read(name, like).to(kind).contiguous()
    # Copying into parameters on the meta device would do nothing; assigning also keeps each one's own type.
    module.load_state_dict(state, assign=True)
    return module.eval().requires_grad_(False)


def hash_files(folder: Path, files: Mapping[str, tuple[Path, ...]]) -> dict[str, str]:
    """Return the SHA-256 of every file of weights, by its path in the folder."""
    hashes = {}
    # Sorted, and relative to the folder: the record must not change with the machine.
    for path in sorted(path for paths in files.values() for path in paths):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        hashes[path.relative_to(folder).as_posix()] = digest
    return hashes
