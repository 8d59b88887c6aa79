import os
from pathlib import Path

import pytest
from filelock import FileLock

from export.clip.into import add_encoders
from export.clip.sources import load_encoder
from export.sd import write_sd
from export.sd.load import load_source
from runtime.engines.precision import Storage


def make_bundle(folder: Path, family: str, *, clip: str = "", precision: Storage = Storage.FLOAT16) -> Path:
    """Write the bundle of a small twin with random weights, if asked with an image-text encoder."""
    write_sd(load_source(f"random:{family}"), folder, lambda line: None, precision=precision)
    if clip:
        add_encoders(load_encoder("clip", clip, "random:0"), folder, lambda line: None)
    return folder


@pytest.fixture(scope="session")
def sd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a small Stable Diffusion 1.5 with a small CLIP, which takes a minute to export.

    The processes of a test run share it: the folder of each is in one of the run.
    """
    root = tmp_path_factory.getbasetemp()
    root = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "sd-and-clip"
    root.mkdir(exist_ok=True)
    folder = root / "bundles" / "sd"
    with FileLock(root / "lock"):
        if not (root / "whole").exists():
            folder.parent.mkdir()
            make_bundle(folder, "tiny-sd15", clip="tiny-clip")
            (root / "whole").touch()
    return folder
