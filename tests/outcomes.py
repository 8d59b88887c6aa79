"""A plugin of pytest: writes the outcome of each test, and why it failed, as a line of JSON at once.

A run that is ended keeps the reasons of what had failed until then.
"""

import json
import os
import re
from typing import Any

VARIABLE = "GPU_TEST_OUTCOMES"
"""Environment variable that names the file."""


def reason(text: str) -> str:
    """Return of a traceback where it went through our files and the lines that pytest marks as the error."""
    ours = re.compile(r"E  |(tests|runtime|train|export|benchmarks)/\S+:\d+")
    lines = [line.strip() for line in text.splitlines() if ours.match(line)]
    return "\n".join(lines)[-900:] or text[-900:]


def pytest_runtest_logreport(report: Any) -> None:
    """Write a line for each test: its call, or the preparation that failed or skipped it."""
    if report.when != "call" and report.outcome == "passed":
        return
    row = {"test": report.nodeid.removeprefix("tests/"), "outcome": report.outcome, "s": round(report.duration, 2)}
    if report.failed:
        row["why"] = reason(str(report.longrepr))
    with open(os.environ[VARIABLE], "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
