from pathlib import Path

import pytest

from export.verify.stored import BundleReferences
from runtime.engines.bundle import DiffusionBundle


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TGM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def bundle(tiny_folder: Path) -> DiffusionBundle:
    return DiffusionBundle.load(tiny_folder)


@pytest.fixture(scope="module")
def stored(bundle: DiffusionBundle) -> BundleReferences:
    return BundleReferences(bundle)
