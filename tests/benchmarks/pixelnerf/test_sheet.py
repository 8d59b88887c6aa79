import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.pixelnerf.sheet import main
from tests.pixelnerf.small import make_run
from tests.train.pixelnerf.set_of_objects import write_set


def test_each_object_has_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_set(tmp_path / "set")
    out = tmp_path / "sheet.png"
    words = ["--data", str(tmp_path / "set"), "--cache", str(tmp_path), "--run", str(make_run(tmp_path / "run"))]
    monkeypatch.setattr(sys, "argv", ["sheet", *words, "--objects", "2", "--out", str(out)])
    main()
    with Image.open(out) as sheet:
        # Nine pictures of 64 px in a row, 2 px apart.
        assert sheet.size == (9 * 66 - 2, 2 * 66 - 2)
