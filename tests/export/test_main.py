import sys
from pathlib import Path

import pytest

from export.__main__ import main
from export.write.sizes import format_sizes
from runtime.errors import run_main
from tests.bundles import make_tiny_bundle


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs `python -m export` with arguments; gives its exit code, output and error output."""

    def run(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["export", *arguments])
        with pytest.raises(SystemExit) as stop:
            run_main(main)
        out = capsys.readouterr()
        return stop.value.code, out.out, out.err

    return run


def test_a_missing_folder_ends_in_one_line_and_code_2(run, tmp_path: Path) -> None:
    code, _, error = run("icons", "--weights", str(tmp_path / "none"), "--out", str(tmp_path / "icons"))
    assert code == 2
    assert error.startswith("error: --weights ")
    assert error.count("\n") == 1
    assert not (tmp_path / "icons").exists()


def test_a_limit_that_is_none_is_refused(run, tmp_path: Path) -> None:
    code, _, error = run("icons", "--weights", str(tmp_path), "--limit", "0")
    assert (code, error) == (2, "error: --limit: expected MiB above 0, got 0\n")


def test_check_prints_the_sizes_or_refuses(run, tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path / "tiny")
    code, out, _ = run("check", str(folder))
    assert code == 0
    assert "bundle tiny (Apache-2.0): every file has its hash" in out
    (folder / "denoiser" / "model.onnx").write_bytes(b"")
    code, _, error = run("check", str(folder))
    assert code == 2
    assert "denoiser/model.onnx is truncated" in error


def test_the_size_table_adds_up(tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path / "tiny")
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    lines = format_sizes(folder).splitlines()
    assert lines[-1] == f"| all | {total:,} ({total / 2**20:.2f} MiB) |"
    assert sum(int(line.split("|")[2].replace(",", "")) for line in lines[2:-1]) == total
