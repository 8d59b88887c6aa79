from pathlib import Path

import pytest

from runtime.engines.bundle import DiffusionBundle
from tests.bundles import make_tiny_bundle


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> DiffusionBundle:
    return DiffusionBundle.load(tiny_folder, threads=1)
