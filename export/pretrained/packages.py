"""Checks before an export starts: its packages are installed, and the disk has room for what it writes."""

import shutil
from importlib.util import find_spec
from pathlib import Path

from runtime.errors import UserError
from runtime.installing import install_command

SPARE = 1.05
"""Share of an export's own estimate that has to be free: graphs, tokenizers and block sizes come on top of weights."""


def require(*modules: str) -> None:
    """Raise a `UserError` that names the extra to install where a package is missing."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise UserError(
            f"expected the package {missing[0]!r} for this export, found none; install it with: "
            f"{install_command('export')}"
        )


def check_space(folder: Path, size: int) -> None:
    """Raise a `UserError` where a file system has no room.

    Args:
        folder: where files will go; it need not exist.
        size: of the files, bytes.
    """
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    free, needed = shutil.disk_usage(there).free, int(size * SPARE)
    if free < needed:
        raise UserError(
            f"'{folder}': expected {needed / 2**30:.2f} GiB of free space for what is written, got "
            f"{free / 2**30:.2f} GiB; make room, or choose another place"
        )
