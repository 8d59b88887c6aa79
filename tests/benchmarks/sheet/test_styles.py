"""The picture of styles: a cell for each drawing, in its place; what is there is not drawn again; failures are told."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks.sheet import styles
from runtime.errors import UserError
from runtime.pictures import write_png


def test_each_drawing_is_in_its_place(tmp_path: Path) -> None:
    levels = [[0.0, 0.2], [0.4, 0.6], [0.8, 1.0]]
    rows = []
    for i, row in enumerate(levels):
        rows.append([tmp_path / f"{i}{j}.png" for j in range(2)])
        for path, level in zip(rows[-1], row, strict=True):
            write_png(path, torch.full((3, 64, 64), level))
    sheet = styles.sheet_of(rows)
    pitch = styles.SIDE + styles.GAP
    assert sheet.shape == (3, 3 * pitch - styles.GAP, 2 * pitch - styles.GAP)
    centres = sheet[0, styles.SIDE // 2 :: pitch, styles.SIDE // 2 :: pitch]
    torch.testing.assert_close(centres, torch.tensor(levels), atol=1 / 255, rtol=0)
    assert float(sheet[0, 0, styles.SIDE]) == pytest.approx(0.88)


def test_what_is_missing_is_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []

    def run(command: list[str], *, cwd: Path, **options: object) -> SimpleNamespace:
        calls.append(command[2:])
        write_png(cwd / "a-cat.png", torch.zeros(3, 8, 8))
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    config = styles.Config(out=tmp_path / "out.png", pictures=tmp_path)
    for _ in range(2):
        assert styles.draw("a cat", "sketch", config) == tmp_path / "sketch" / "a-cat.png"
    expected = ["runtime.vectorfusion", "a cat", "--preset", "sketch", "--bundle", "icons", "--out", "a-cat.svg"]
    assert calls == [expected]
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: SimpleNamespace(returncode=2, stderr="too long"))
    with pytest.raises(UserError, match=r"runtime\.clipdraw 'a cat': exit code 2: too long"):
        styles.draw("a cat", "clipdraw", config)
