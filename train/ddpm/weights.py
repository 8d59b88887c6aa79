"""Weights of other code, read as tensors; files that would have to be unpickled are refused."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from runtime.errors import UserError

PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
"""Suffixes of files that would have to be unpickled."""

CONVERT = (
    'python -c "import sys; from torch import load; from safetensors.torch import save_file; '
    "d = load(sys.argv[1], weights_only=True, map_location='cpu'); d = d.get('state_dict', d); "
    'save_file({k: v.contiguous() for k, v in d.items()}, sys.argv[2])"'
)
"""Command that converts such a file; it unpickles tensors only, and the user runs it, once."""


def refuse_pickle(file: Path) -> None:
    """Raise `UserError`, with the command that converts it, where a file would have to be unpickled."""
    if file.suffix in PICKLES:
        raise UserError(
            f"'{file}' is a pickle, which may run any code and is not read; convert it with: {CONVERT} "
            f"'{file}' '{file.with_suffix('.safetensors')}'"
        )


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by name.

    Raises:
        UserError: where there is no file, it is a pickle, or it is damaged.
    """
    if not file.is_file():
        raise UserError(f"'{file}': expected a .safetensors file, got no file")
    refuse_pickle(file)
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise UserError(f"'{file}' cannot be read: {error}") from error
