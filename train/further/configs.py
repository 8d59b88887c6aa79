"""The configuration of a run, read out of an archive as its own reader reads it out of the run's folder."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from train.further.archive import Archive

ConfigT = TypeVar("ConfigT")


def config_of(archive: Archive, read: Callable[[Path], ConfigT]) -> ConfigT:
    """Return an archive's configuration; errors as of `read`."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(archive.config), "utf-8")
        return read(Path(folder))
