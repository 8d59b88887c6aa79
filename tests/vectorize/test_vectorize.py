import dataclasses
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from runtime import vectorize
from runtime.command.method import draw
from runtime.errors import UserError
from runtime.loop.events import Stepped
from runtime.loop.folder import RunFolder
from runtime.pictures import write_png
from runtime.vector.raster import rasterize
from runtime.vector.svg import read_svg
from runtime.vectorize import METHOD, Config, main
from runtime.vectorize.stages import scaled_down


@pytest.fixture
def picture(tmp_path):
    """A white picture, 40 high and 60 wide, with a red square and a blue one."""
    image = torch.ones(3, 40, 60)
    image[1:, 5:25, 5:30] = 0
    image[:2, 20:35, 35:55] = 0
    write_png(tmp_path / "two squares.png", image)
    return tmp_path / "two squares.png"


def test_the_command_traces_a_picture_into_the_working_directory(picture, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([str(picture), "--paths", "2", "--stages", "1", "--steps", "30", "--quiet"]) == 0
    assert "two squares.svg" in capsys.readouterr().out
    drawing = read_svg(tmp_path / "two squares.svg")
    assert drawing.size == (40, 60) and drawing.layout.num_paths == 2
    picture_back = rasterize(drawing)[0]
    assert picture_back[:, 15, 15].tolist() == pytest.approx([1, 0, 0], abs=0.05)
    assert picture_back[:, 30, 45].tolist() == pytest.approx([0, 0, 1], abs=0.05)
    root = ElementTree.parse(tmp_path / "two squares.svg").getroot()
    entries = {entry.get("name"): entry.text for entry in root.iter("{urn:tgm:drawing}entry")}
    assert entries["source"] == "two squares.png" and entries["seed"] == "0" and "tgm" in entries["version"]


def test_a_large_picture_is_traced_small_and_drawn_large(picture, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [str(picture), "--paths", "2", "--stages", "1", "--steps", "5", "--size", "30", "--out", "a.svg"]
    assert main(words) == 0
    drawing = read_svg(tmp_path / "a.svg")
    assert drawing.size == (40, 60)
    assert drawing.points[..., 0].max() == pytest.approx(55, abs=3)


def test_scaling_down_takes_means():
    image = torch.rand(3, 64, 32, generator=torch.Generator().manual_seed(0))
    assert scaled_down(image, 64) is image
    assert scaled_down(image, 16).shape == (3, 16, 8)
    torch.testing.assert_close(scaled_down(image, 16).mean(), image.mean(), atol=0.02, rtol=0)


def test_the_same_picture_gives_the_same_file(picture, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.svg", "b.svg"):
        assert main([str(picture), "--out", name, "--paths", "3", "--stages", "2", "--steps", "4", "--quiet"]) == 0
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_the_function_gives_the_drawing_that_the_command_writes(picture, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([str(picture), "--out", "a.svg", "--paths", "3", "--stages", "2", "--steps", "4", "--quiet"]) == 0
    drawing = vectorize(picture, paths=3, stages=2, steps=4)
    torch.testing.assert_close(drawing.points, read_svg("a.svg").points, atol=6e-4, rtol=0)


def test_a_stopped_run_resumes_from_its_own_copy_of_the_picture(picture, tmp_path):
    config = Config(picture=picture, paths=3, stages=2, steps=6, contours=False)
    whole = draw(METHOD, config).drawing().points

    class Killed(BaseException):
        pass

    def killed(event):
        if isinstance(event, Stepped) and event.done == 8:
            raise Killed

    request = {"method": "vectorize"}
    inputs = {f"picture/{picture.name}": picture.read_bytes()}
    with RunFolder.create(tmp_path / "run", request, inputs=inputs, interval_s=0.0) as run, pytest.raises(Killed):
        draw(METHOD, config, run=run, report=killed)
    picture.unlink()
    with RunFolder.reopen(tmp_path / "run") as run:
        assert torch.equal(draw(METHOD, config, run=run).drawing().points, whole)


RANGES = {
    "paths": (1, 1024), "segments": (2, 16), "stages": (1, 16), "steps": (0, 10_000), "lr": (0.0, 10),
    "self_intersection": (0, 10), "min_gain": (0, 1), "size": (16, 2048), "seed": (0, 2**31 - 1),
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, (low, high) in RANGES.items() for v in (low - 1, high + 1)])
def test_numbers_out_of_range_are_named(picture, name, value):
    with pytest.raises(UserError, match=f"--{name.replace('_', '-')}: expected .*, got {value}"):
        draw(METHOD, Config(picture=picture, **{name: value}))


def test_what_is_not_a_number_is_out_of_range(picture):
    for value in (float("nan"), 0.0):
        with pytest.raises(UserError, match="--lr: expected above 0 to 10, got"):
            draw(METHOD, Config(picture=picture, lr=value))


def test_what_may_not_be_written_is_named_before_any_work(picture, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = picture.read_bytes()
    with pytest.raises(UserError, match="folder 'missing' does not exist"):
        main([str(picture), "--out", "missing/a.svg"])
    with pytest.raises(UserError, match=r"ending in \.svg, got '.*two squares\.png'"):
        main([str(picture), "--out", picture.name])
    picture.rename("squares.svg")  # a picture by another name must not be replaced by its drawing
    with pytest.raises(UserError, match=r"'squares\.svg' is a file that is read"):
        main(["squares.svg", "--force"])
    assert (tmp_path / "squares.svg").read_bytes() == before
    (tmp_path / "squares.svg").rename("photo.png")
    (tmp_path / "photo.svg").write_text("<svg>drawn by hand</svg>")
    with pytest.raises(UserError, match=r"'photo\.svg' exists, and no run in 'runs' wrote it"):
        main(["photo.png"])
    assert (tmp_path / "photo.svg").read_text() == "<svg>drawn by hand</svg>" and not (tmp_path / "runs").exists()


def test_a_users_mistake_is_one_line_and_exit_code_2(tmp_path):
    command = [sys.executable, "-m", "runtime.vectorize", str(tmp_path / "missing.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert "missing.png" in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_help_names_units_and_imports_nothing_heavy():
    code = (
        "import sys, runtime.vectorize as v\n"
        "try: v.main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'numba', 'scipy'} & set(sys.modules), 'heavy'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    for option in ("--out", "--paths", "--seed", "--steps", "--size"):
        assert option in done.stdout
    assert "pixels" in done.stdout and "1 to" in done.stdout


@pytest.fixture
def logo(tmp_path):
    """A white ring on nothing, with a translucent red square beside it."""
    axis = torch.arange(60) + 0.5
    radius = ((axis[:, None] - 30) ** 2 + (axis[None] - 30) ** 2).sqrt()
    rgba = torch.zeros(60, 100, 4)
    rgba[:, :60][(radius < 24) & (radius > 12)] = 1.0
    rgba[15:45, 65:95] = torch.tensor([1.0, 0, 0, 0.5])
    Image.fromarray((rgba * 255).round().byte().numpy(), "RGBA").save(tmp_path / "logo.png")
    return tmp_path / "logo.png"


def test_a_white_logo_on_nothing_stays_one(logo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([str(logo), "--paths", "6", "--stages", "2", "--steps", "40", "--quiet"]) == 0
    text = Path("logo.svg").read_text()
    assert "<rect" not in text
    rgba = torch.from_numpy(np.array(Image.open(logo))).permute(2, 0, 1) / 255
    for paper in (torch.zeros(1, 3), torch.tensor([[0.0, 0, 1]])):
        drawing = dataclasses.replace(read_svg(Path("logo.svg")), background=paper)
        expected = rgba[:3] * rgba[3:] + paper[0, :, None, None] * (1 - rgba[3:])
        assert (rasterize(drawing)[0] - expected).abs().mean() < 0.02
    # The ring has a hole, and no patch in the paper's colour lies on it.
    contours = read_svg(Path("logo.svg")).layout.contours
    assert sorted(len(path) for path in contours)[-1] == 2


def test_an_opaque_picture_with_an_alpha_channel_is_traced_as_one_without(picture, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.open(picture).convert("RGBA").save(tmp_path / "rgba.png")
    words = ["--paths", "2", "--stages", "1", "--steps", "5", "--quiet"]
    assert main([str(picture), "--out", "a.svg", *words]) == 0
    assert main([str(tmp_path / "rgba.png"), "--out", "b.svg", *words]) == 0
    plain = Path("a.svg").read_text().replace("two squares.png", "rgba.png")
    assert Path("b.svg").read_text() == plain


def test_what_is_left_out_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    image = torch.ones(3, 60, 60)
    for row in range(3):
        for column in range(3):
            # Nine colours far from each other: parts of one colour would share a path.
            colour = torch.tensor([row / 2, column / 2, 0.0])[:, None, None]
            image[:, 5 + 20 * row : 15 + 20 * row, 5 + 20 * column : 15 + 20 * column] = colour
    write_png(tmp_path / "nine.png", image)
    words = ["nine.png", "--stages", "1", "--steps", "5", "--no-contours", "--quiet"]
    assert main([*words, "--paths", "2", "--out", "two.svg"]) == 0
    assert "not drawn: 7 parts of the picture (700 pixels; the largest 10 x 10 at " in capsys.readouterr().err
    assert main([*words, "--paths", "9", "--out", "nine.svg"]) == 0
    assert "not drawn" not in capsys.readouterr().err


def test_a_flat_picture_is_resumed_to_the_same_drawing(tmp_path):
    axis = torch.arange(60) + 0.5
    disc = (24.3 - ((axis[:, None] - 30) ** 2 + (axis[None] - 30.2) ** 2).sqrt()).clamp(0, 1)
    write_png(tmp_path / "disc.png", torch.stack([1 - disc, 1 - disc, torch.ones(60, 60)]))
    config = Config(picture=tmp_path / "disc.png", steps=8)
    whole = draw(METHOD, config).drawing()
    assert whole.layout.contours == ((4,),)

    class Killed(BaseException):
        pass

    def killed(event):
        if isinstance(event, Stepped) and event.done == 5:
            raise Killed

    inputs = {"picture/disc.png": (tmp_path / "disc.png").read_bytes()}
    run = RunFolder.create(tmp_path / "run", {"method": "vectorize"}, inputs=inputs, interval_s=0.0)
    with run, pytest.raises(Killed):
        draw(METHOD, config, run=run, report=killed)
    with RunFolder.reopen(tmp_path / "run") as run:
        assert torch.equal(draw(METHOD, config, run=run).drawing().points, whole.points)


def test_more_areas_than_paths_share_paths_by_colour(tmp_path):
    image = torch.ones(3, 100, 100)
    for row in range(10):
        for column in range(10):
            image[(row + column) % 2, 3 + 10 * row : 8 + 10 * row, 3 + 10 * column : 8 + 10 * column] = 0
    write_png(tmp_path / "hundred.png", image)
    drawing = vectorize(tmp_path / "hundred.png")
    assert drawing.layout.num_paths == 2
    assert (rasterize(drawing)[0] - image).abs().max() < 2e-3


def test_a_picture_in_shades_is_traced_in_layers(tmp_path):
    shade = torch.linspace(0, 1, 64).expand(3, 48, 64)
    write_png(tmp_path / "shade.png", shade)
    options = {"paths": 4, "stages": 1, "steps": 5}
    drawing = vectorize(tmp_path / "shade.png", **options)
    assert 1 <= drawing.layout.num_paths <= 4
    assert torch.equal(drawing.points, vectorize(tmp_path / "shade.png", contours=False, **options).points)
