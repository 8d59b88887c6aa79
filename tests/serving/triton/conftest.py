"""The environment of a real tritonserver, for the tests of this folder."""

import os
from pathlib import Path

import pytest

from runtime.errors import UserError
from serving.triton.server import environment_folder, make_environment


@pytest.fixture(scope="session")
def environment() -> Path:
    """Return the server's environment, made in the user's cache on first use unless TGM_TRITON names one."""
    folder = Path(os.environ.get("TGM_TRITON", environment_folder()))
    try:
        make_environment(folder)
    except UserError as error:
        pytest.skip(f"no tritonserver: {error}")
    return folder
