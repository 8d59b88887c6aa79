"""The parts of `python -m benchmarks.gpu` on the CPU at tiny sizes, so that they are ready where a card is at hand."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.clock import difference
from benchmarks.gpu.command import chosen
from benchmarks.gpu.parts import PARTS, WHEELS, advice
from benchmarks.gpu.run import Part, Result, Setting, read_rows, run_part
from benchmarks.gpu.tables import cell, document_tables, merge, rows_table
from runtime.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Return what a dry run of everything writes; it runs in processes of its own, away from the checks of shapes."""
    out = tmp_path_factory.mktemp("gpu") / "gpu.json"
    command = [sys.executable, "-m", "benchmarks.gpu", "--dry-run", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"written: {out}" in done.stdout
    return json.loads(out.read_text())


def test_a_dry_run_goes_through_every_part(document: dict) -> None:
    assert [part["name"] for part in document["parts"]] == [part.name for part in PARTS]
    assert {part["name"]: part["reason"] for part in document["parts"] if part["status"] != "done"} == {}
    assert document["device"] == "cpu" and document["dry_run"] and document["environment"]
    for part in document["parts"]:
        assert part["rows"], part["name"]
        failed = [row["failed"] for row in part["rows"] if "failed" in row]
        # the one backend that refuses a machine without a card
        assert not [text for text in failed if "expected an NVIDIA GPU" not in text], part["name"]


def test_what_is_measured_on_the_cpu_is_exact(document: dict) -> None:
    rows = next(part["rows"] for part in document["parts"] if part["name"] == "correctness")
    assert len(rows) >= 11
    # the device is the CPU itself, so any difference would be the comparison's own
    assert all(row["error"] == 0.0 and row["same_bits_again"] for row in rows)


def test_the_tables_have_every_part(document: dict) -> None:
    text = document_tables(document)
    assert all(f"### {part.name}\n" in text for part in PARTS)
    assert "| case | way | ms |" in text


def test_only_names_parts() -> None:
    assert [part.name for part in chosen("svg, machine")] == ["machine", "svg"]
    assert chosen("") == list(PARTS)
    with pytest.raises(UserError, match=r"--only: expected parts out of machine, .* got card"):
        chosen("card")


def test_every_module_that_is_needed_has_its_packages() -> None:
    assert {name for part in PARTS for name in part.needs} <= set(WHEELS)
    text = advice(["diffusers", "tyro"], "3.12")
    assert "--python-version 3.12" in text and "diffusers importlib-metadata lazy-importer tyro" in text
    assert advice([], "3.12") == "nothing is missing"


class Inline:
    """Starts a part as its context does, by forking, without the server."""

    def Process(self, target, args):
        import multiprocessing

        return multiprocessing.get_context("fork").Process(target=target, args=args)


def measured(monkeypatch: pytest.MonkeyPatch, measure, seconds: float = 20.0) -> Result:
    """Return the result of a part whose rows a function yields."""
    from benchmarks.gpu import run

    class Module:
        pass

    Module.measure = staticmethod(measure)
    monkeypatch.setattr(run, "import_module", lambda name: Module)
    part = Part(name="some", module="some", seconds=seconds)
    return run_part(Inline(), part, Setting(device="cpu", tiny=True, seconds=0.0), 20.0)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_part_that_hangs_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(setting: Setting, case: str) -> Iterator[dict]:
        yield {"first": 1}
        time.sleep(60)
        yield {"second": 2}

    result = measured(monkeypatch, rows, seconds=1.5)
    assert (result.status, result.rows) == ("cut", [{"first": 1}])
    assert result.seconds < 15


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_part_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(setting: Setting, case: str) -> Iterator[dict]:
        yield {"first": 1}
        raise MemoryError("too large")

    result = measured(monkeypatch, rows)
    assert (result.status, result.rows) == ("failed", [{"first": 1}])
    assert "MemoryError: too large" in result.reason


def test_half_a_line_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "rows").write_text('{"a": 1}\n{"a": ')
    assert read_rows(tmp_path / "rows") == [{"a": 1}]
    assert read_rows(tmp_path / "none") == []


def test_errors_are_those_of_the_worst_result() -> None:
    one = torch.tensor([3.0, 4.0]).double()
    assert difference([one, 1.1 * one], [one, one])["error"] == pytest.approx(0.1)
    assert difference([one, one.flip(0)], [one, one])["cosine"] == pytest.approx(0.96)
    assert difference([one / 0.0], [one]) == {"error": "not finite"}


def test_cells_have_four_digits() -> None:
    assert [cell(value) for value in (0.123456, 12345.6, 1e-9, 3, "a|b", [1.0, 2.5], True)] == [
        "0.1235",
        "12,346",
        "1.0e-09",
        "3",
        "a/b",
        "1-2.5",
        "True",
    ]
    assert rows_table([{"a": 1}, {"b_c": 2.0}]).splitlines()[0] == "| a | b c |"


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    from benchmarks.gpu.tables import main

    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(UserError, match=r"x\.json': expected a file of python -m benchmarks\.gpu"):
        main([str(tmp_path / "x.json")])
    with pytest.raises(UserError, match="expected a file, got none"):
        main([])


def test_without_a_card_the_remedy_is_named() -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--only", "machine"]
    if torch.cuda.is_available():
        pytest.skip("there is a card")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert "no CUDA device: expected a graphics card that PyTorch sees, got none; try --dry-run" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_later_run_takes_the_place_of_what_failed() -> None:
    def run(device: str = "card", **statuses: str) -> dict:
        parts = [{"name": name, "status": status, "rows": []} for name, status in statuses.items()]
        return {"device": device, "environment": "", "parts": parts}

    whole = merge([run(a="failed", b="done"), run(a="done", b="skipped", c="done")])
    assert {part["name"]: part["status"] for part in whole["parts"]} == {"a": "done", "b": "done", "c": "done"}
    with pytest.raises(UserError, match="expected runs on one device, got card, other"):
        merge([run(a="done"), run("other", a="done")])


def test_parts_side_by_side_are_all_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.gpu import run

    monkeypatch.setattr(run, "describe", lambda device, context: {"device": device, "environment": ""})
    monkeypatch.setattr(run, "run_part", lambda context, part, setting, left: Result(part.name, "done"))
    monkeypatch.setattr(run, "COMPILE", ["true"])
    parts = [Part(name=name, module="", seconds=1.0, timed=name > "b") for name in "abcd"]
    results = list(run.run_parts(parts, tmp_path / "x.json", device="card", minutes=1.0))
    assert [result.name for result in results] == list("abcd")
    assert [part["name"] for part in json.loads((tmp_path / "x.json").read_text())["parts"]] == list("abcd")


def test_reasons_are_the_lines_of_the_error() -> None:
    from tests.outcomes import reason

    text = "tests/x/test_y.py:3: in test_z\n    assert f() == 1\nlib/a.py:7: in f\n    g()\nE   ValueError: no\n"
    assert reason(text) == "tests/x/test_y.py:3: in test_z\nE   ValueError: no"
    assert reason("a collection that failed") == "a collection that failed"


def test_outcomes_are_written_as_tests_end(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text("def test_a():\n    assert 1 == 2\n\n\ndef test_b():\n    pass\n")
    out = tmp_path / "rows.jsonl"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.outcomes", "-c", "/dev/null"]
    environment = {**os.environ, "GPU_TEST_OUTCOMES": str(out), "PYTHONPATH": str(ROOT)}
    subprocess.run([*command, str(tmp_path)], cwd=tmp_path, env=environment, capture_output=True, check=False)
    rows = read_rows(out)
    assert [(row["test"].split("::")[1], row["outcome"]) for row in rows] == [
        ("test_a", "failed"),
        ("test_b", "passed"),
    ]
    assert "assert 1 == 2" in rows[0]["why"]
