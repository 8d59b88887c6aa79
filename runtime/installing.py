"""How this package is installed and updated where it runs: the one place that messages take such commands from."""

from pathlib import Path

DISTRIBUTION = "transferable-generative-models"
"""Name of the distribution. It is on no package registry, where `tgm` is another project's: no message says either."""

HOUSE = Path(__file__).absolute().parents[1]
"""Folder that holds `runtime/` and the packages beside it: a clone, or the environment's site-packages."""


def in_clone() -> bool:
    """Return whether the package runs from a clone, not from an installed wheel."""
    return (HOUSE / "pyproject.toml").is_file()


def install_command(*extras: str) -> str:
    """Return the command that adds what some extras need, such as `pip install -e ".[export]"`.

    Args:
        extras: names out of pyproject.toml's optional dependencies, at least one.
    """
    names = ",".join(extras)
    if not in_clone():
        return f'pip install "WHEEL[{names}]", where WHEEL is the .whl file that you installed'
    source = "." if Path.cwd() == HOUSE else HOUSE
    return f'pip install -e "{source}[{names}]"'


def update_advice() -> str:
    """Return how to get a newer version, as the end of an error message."""
    if in_clone():
        return f"update the clone '{HOUSE}' (git pull)"
    return "install a newer wheel of this package"
