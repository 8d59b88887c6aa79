"""The stamp that keeps Numba's cache from serving kernels whose callees have changed."""

from pathlib import Path

from runtime.kernels.jit import stamp_of


def test_the_stamp_is_of_the_sources(tmp_path: Path) -> None:
    file = tmp_path / "kernel.py"
    file.write_text("a = 1\n")
    before = stamp_of(tmp_path)
    assert before.isidentifier()
    assert stamp_of(tmp_path) == before
    file.write_text("a = 2\n")
    assert stamp_of(tmp_path) != before
    (tmp_path / "notes.txt").write_text("no source")
    file.write_text("a = 1\n")
    assert stamp_of(tmp_path) == before
