"""Jobs in processes of their own."""

import os
from pathlib import Path

from benchmarks.tables.pool import run_all


def note(job: int, out: Path) -> str:
    (out / str(job)).write_text(str(os.getpid()))
    return "odd" if job % 2 else ""


def test_each_job_runs_once_in_another_process_and_says_what_is_wrong(tmp_path: Path) -> None:
    assert dict(run_all([1, 2, 3], tmp_path, 1, note)) == {1: "odd", 2: "", 3: "odd"}
    processes = {(tmp_path / str(job)).read_text() for job in (1, 2, 3)}
    assert len(processes) == 1 and str(os.getpid()) not in processes
    assert list(run_all([], tmp_path, 1, note)) == []
