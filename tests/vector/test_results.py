from pathlib import Path

import torch

from runtime.pictures import read_png
from runtime.vector.paths import random_circles
from runtime.vector.results import read_start, write_drawing
from runtime.vector.svg import read_svg, write_svg

SHADED = """<defs><linearGradient id="g"><stop offset="0" stop-color="red"/><stop offset="1"/></linearGradient></defs>
<rect width="4" height="4" fill="url(#g)"/></svg>"""


def test_a_drawing_is_written_as_svg_and_png_without_what_nobody_sees(tmp_path: Path) -> None:
    drawing = random_circles(4, size=(30, 60), radius=8.0, generator=torch.Generator().manual_seed(0))
    drawing.colours[0, 2, 3] = 0.01
    files = write_drawing(drawing, tmp_path / "a.svg", metadata={"prompt": "a ball"}, backend="numba")
    assert files == [tmp_path / "a.svg", tmp_path / "a.png"]
    assert read_svg(files[0]).layout.num_paths == 3
    assert read_png(files[1]).shape == (3, 540, 1080)  # the first whole multiple of 30 from 512 on
    assert "<title>a ball</title>" in files[0].read_text()


def test_what_cannot_be_read_as_it_is_is_noted_under_the_files_name(tmp_path: Path) -> None:
    folder = tmp_path / "inputs"
    folder.mkdir()
    write_svg(folder / "start.svg", random_circles(1, size=(8, 8), generator=torch.Generator().manual_seed(0)))
    text = (folder / "start.svg").read_text().replace("</svg>", SHADED)
    (folder / "start.svg").write_text(text)
    notes: list[str] = []
    assert read_start(folder / "start.svg", (16, 16), notes.append).size == (16, 16)
    assert len(notes) == 1 and "start.svg" in notes[0] and str(folder) not in notes[0]
