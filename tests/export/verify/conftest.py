from pathlib import Path

import pytest

from export.verify.stored import BundleReferences
from runtime.engines.bundle import DiffusionBundle
from tests.bundles import make_tiny_bundle


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TGM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> DiffusionBundle:
    return DiffusionBundle.load(make_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny"))


@pytest.fixture(scope="module")
def stored(bundle: DiffusionBundle) -> BundleReferences:
    return BundleReferences(bundle)
