"""The tests marked `gpu`, each as a row."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.clock import Row
from benchmarks.gpu.run import Setting, read_rows

ROOT = Path(__file__).parents[3]


def files() -> list[str]:
    """Return the test files that have such tests."""
    marked = (path for path in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in path.read_text("utf-8"))
    return [path.relative_to(ROOT).as_posix() for path in marked]


def measure(setting: Setting, case: str) -> Iterator[Row]:
    """Yield the outcome of each test as it ends, and why it failed.

    Raises:
        RuntimeError: pytest itself failed.
    """
    chosen = files()[:1] if setting.tiny else files()
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-o", "addopts=", "-p", "no:cacheprovider"]
    # a module of the tests, as none of ours may be loaded before their check of shapes is
    command += ["-p", "tests.outcomes", "--tb=short", *chosen]
    with tempfile.TemporaryDirectory() as temporary:
        path, log = Path(temporary) / "outcomes.jsonl", Path(temporary) / "log.txt"
        # plugins that happen to be installed may warn, and warnings are errors here
        environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "GPU_TEST_OUTCOMES": str(path)}
        with log.open("w") as output:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
        seen, code = 0, None
        while code is None:
            code = process.poll()  # before the rows are read, so that the last ones are
            time.sleep(0.2)
            rows = read_rows(path)
            yield from rows[seen:]
            seen = len(rows)
        if code not in (0, 1, 5):
            raise RuntimeError(log.read_text("utf-8")[-2000:])
