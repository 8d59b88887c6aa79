import subprocess
import sys
from pathlib import Path

import pytest

from runtime.command.threads import SPINS, limit_spinning

ROOT = Path(__file__).parents[2]


def test_what_the_environment_says_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    limit_spinning()
    import os

    assert os.environ["GOMP_SPINCOUNT"] == "7"


def test_after_pytorch_is_loaded_it_is_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    assert torch is not None
    assert not limit_spinning()


@pytest.mark.parametrize("module", ["vectorfusion", "vectorize", "lmconv"])
def test_commands_set_it_before_they_load_pytorch(module: str) -> None:
    code = f"""
import os, sys
import runtime.{module} as command
assert "torch" not in sys.modules
sys.argv = ["x", "--help"]
try:
    command.main()
except SystemExit:
    pass
print(os.environ.get("GOMP_SPINCOUNT"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == SPINS
