"""The tests marked `gpu`, each as a row."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.clock import Row
from benchmarks.gpu.run import Setting

ROOT = Path(__file__).parents[3]

OUTCOME = re.compile(r"^(tests/\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b")


def files() -> list[str]:
    """Return the test files that have such tests."""
    marked = (path for path in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in path.read_text("utf-8"))
    return [path.relative_to(ROOT).as_posix() for path in marked]


def measure(setting: Setting, case: str) -> Iterator[Row]:
    """Yield the outcome of each test as it ends; the last row has the end of what pytest wrote about failures.

    Raises:
        RuntimeError: pytest itself failed.
    """
    chosen = files()[:1] if setting.tiny else files()
    command = [sys.executable, "-m", "pytest", "-v", "-m", "gpu", "-o", "addopts=", "-p", "no:cacheprovider"]
    command += ["--tb=short", "--no-header", "-rN", *chosen]
    # plugins that happen to be installed may warn, and warnings are errors here
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    text = []
    for line in process.stdout:
        text.append(line)
        match = OUTCOME.match(line)
        if match:
            yield {"test": match[1].removeprefix("tests/"), "outcome": match[2].lower()}
    code = process.wait()
    if code == 1:
        yield from reasons("".join(text))
    elif code not in (0, 5):
        raise RuntimeError("".join(text)[-2000:])


def reasons(text: str) -> Iterator[Row]:
    """Yield where each failed test of pytest's output failed and the lines that say why, 900 characters at most."""
    failures = text.partition("= FAILURES =")[2]
    for part in re.split(r"^_{3,} (?=\S)", failures, flags=re.MULTILINE)[1:]:
        name = part.split(" _", 1)[0]
        lines = part.splitlines()
        why = [line for line in lines if line.startswith("E  ") or re.match(r"(tests|runtime|train)/\S+:\d+", line)]
        yield {"test": f"{name}: why", "outcome": "\n".join(why)[-900:] or part[-900:]}
    if not failures:
        yield {"test": "failures", "outcome": text[-2000:]}
