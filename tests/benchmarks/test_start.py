"""The clock of a whole command: parts are split, and any checkout is measured."""

import time
from pathlib import Path

import pytest

from benchmarks.start.__main__ import measure_once, medians, table_of
from benchmarks.start.clock import Clock
from runtime.errors import UserError


def test_a_part_does_not_count_what_it_calls_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "process_time", lambda: 2.0 * now)
    clock = Clock()
    now = 1.0
    with clock.of("outer"):
        now = 3.0
        with clock.of("inner"):
            now = 7.0
        now = 8.0
    assert clock.seconds == {"other": [1.0, 2.0], "outer": [3.0, 6.0], "inner": [4.0, 8.0]}


def test_a_checkout_is_measured(tmp_path: Path) -> None:
    package = tmp_path / "runtime" / "vectorfusion"
    package.mkdir(parents=True)
    package.with_name("slow.py").write_text("import time; time.sleep(0.05)")
    main = package / "__main__.py"
    main.write_text("import pathlib, sys, runtime.slow; pathlib.Path(sys.argv[1] + '.svg').touch(); sys.exit(0)")
    result = measure_once(tmp_path, 1)
    assert result["parts"]["imports"][0] >= 0.05
    assert result["wall"] >= 0.05 and result["peak_mib"] > 1
    main.write_text("raise SystemExit('no bundle')")
    with pytest.raises(UserError, match="the command failed"):
        measure_once(tmp_path, 1)


def test_a_table_has_medians_and_a_row_for_parts_of_either() -> None:
    runs = [{"parts": {"a": [wall, 1.0]}, "wall": wall, "cpu": 2.0, "peak_mib": 10.0} for wall in (1.0, 5.0, 3.0)]
    other = [{"parts": {"b": [1.0, 1.0]}, "wall": 1.0, "cpu": 1.0, "peak_mib": 20.0}]
    assert medians(runs) == {"a": (3.0, 1.0), "whole": (3.0, 2.0)}
    lines = table_of({"before": runs, "here": other})
    assert lines[2:5] == [
        "| a | 3.00 | 1.00 | 0.00 | 0.00 |",
        "| b | 0.00 | 0.00 | 1.00 | 1.00 |",
        "| whole | 3.00 | 2.00 | 1.00 | 1.00 |",
    ]
    assert "10 MiB" in lines[5] and "20 MiB" in lines[5]
