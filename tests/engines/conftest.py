from pathlib import Path

import pytest

from runtime.engines.bundle import DiffusionBundle


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> DiffusionBundle:
    return DiffusionBundle.load(tiny_folder, threads=1)
