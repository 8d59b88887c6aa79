"""NumPy's files: one array, or an archive of several. Nothing is unpickled."""

import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np

from runtime.errors import UserError
from runtime.files import check_ordinary
from runtime.memory import machine_memory

GREATEST_ARRAYS = 1 << 33
"""Greatest size of an archive of arrays that is read, bytes."""


def most_bytes() -> int:
    """Return the most bytes of arrays that are read: half of the machine's memory, at most `GREATEST_ARRAYS`."""
    memory = machine_memory()
    return GREATEST_ARRAYS if memory is None else min(GREATEST_ARRAYS, memory // 2)


def read_array(path: Path) -> np.ndarray:
    """Return the numbers of a .npy file.

    Raises:
        UserError: there is no such file, or it holds something else.
    """
    try:
        check_ordinary(path)
        if path.stat().st_size > most_bytes():
            raise UserError(f"'{path}': expected at most {most_bytes()} bytes, got {path.stat().st_size}")
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except UserError:
        raise
    # NumPy parses the header as Python: beside its own errors come those of the tokenizer and the parser. A header of a
    # few bytes can promise any size, too.
    except Exception as error:
        raise UserError(f"'{path}': expected an array of numbers, got {error!s:.100}") from None
    if array.dtype.kind not in "fiu":
        raise UserError(f"'{path}': expected an array of numbers, got {array.dtype} {array.shape}")
    return array


def read_arrays(path: Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Return the arrays of a .npz file by name.

    Args:
        path: the file.
        names: of the arrays that are read, where they are there; None: all.

    Raises:
        UserError: there is no such file, or it holds something else than plain arrays.
    """
    try:
        check_ordinary(path)
        with zipfile.ZipFile(path) as archive:
            total = sum(entry.file_size for entry in archive.infolist())
        # Before anything is unpacked: a small archive can promise any size.
        if total > most_bytes():
            raise UserError(f"'{path}': expected at most {most_bytes()} bytes of arrays, got {total}")
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files if names is None or name in names}
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"'{path}': expected a .npz archive of plain arrays, got nothing of that name") from None
    # zipfile and numpy raise a whole family of errors for damaged archives
    except Exception as error:
        raise UserError(f"'{path}': expected a .npz archive of plain arrays, got {error!s:.120}") from None
