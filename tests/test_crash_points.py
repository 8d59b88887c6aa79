"""At whatever moment a process dies or has no room, its work is resumed to the same bytes, and nothing is left over."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.crashing import WORKS

ROOT = Path(__file__).parents[1]


def crash(work: str, every: int) -> None:
    command = [sys.executable, "-m", "tests.crashing", work, "--every", str(every)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the names of open files are read from /proc")
@pytest.mark.parametrize("work", WORKS)
def test_dead_or_full_at_some_operations(work: str) -> None:
    crash(work, 29)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the names of open files are read from /proc")
@pytest.mark.parametrize("work", WORKS)
def test_dead_or_full_at_every_operation(work: str) -> None:
    crash(work, 1)
