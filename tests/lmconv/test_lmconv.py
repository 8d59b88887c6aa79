"""The command of LMConv: what it writes, what it tells, and what it refuses."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from export.commands.lmconv import Lmconv, run_lmconv
from runtime import complete, sample
from runtime.engines.bundle import Bundle, DiffusionBundle, LMConvBundle, installed_bundles
from runtime.errors import UserError
from runtime.lmconv import main
from runtime.pictures import read_picture
from runtime.pixels.walks import Walks
from tests.bundles import make_tiny_bundle
from tests.pixels.walks import SHORT, exported, make_bundle, make_run

SIZE = (6, 8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "digits", SHORT["binary"], SIZE)


@pytest.fixture
def work(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, with a picture and a mask."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (6, 8), np.uint8)).save("digit.png")
    Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).save("large.png")
    Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save("square.png")
    for name, size in (("mask.png", (6, 8)), ("large-mask.png", (12, 16)), ("wrong-mask.png", (5, 8))):
        mask = np.zeros(size, np.uint8)
        mask[: size[0] // 2, size[1] // 2 :] = 255
        Image.fromarray(mask).save(name)
    for name, value in (("all.png", 255), ("none.png", 0)):
        Image.fromarray(np.full(SIZE, value, np.uint8)).save(name)
    np.save("order.npy", rng.permutation(48))
    np.savetxt("order.txt", rng.permutation(48)[None], fmt="%d")
    np.savetxt("twice.txt", np.zeros(48), fmt="%d")
    Path("words.txt").write_text("one two")
    Path("folder.png").mkdir()
    return tmp_path


def run(folder: Path, *arguments: str) -> int:
    return main([*arguments, "--bundle", str(folder)])


@pytest.mark.parametrize("hide", ["top", "left", "bottom", "right", "centre", "mask.png"])
def test_a_completion_keeps_what_is_observed(folder: Path, work: Path, hide: str, capsys) -> None:
    assert run(folder, "complete", "digit.png", "--hide", hide, "--samples", "2", "--truth", "digit.png") == 0
    assert capsys.readouterr().out == "drew digit-completed.png; the run is in runs/digit-completed/\n"
    sheet = read_picture("digit-completed.png")
    side, wide = 18 * 6, 18 * 8
    assert sheet.shape == (3, 8 + side + 8, 8 + 4 * (wide + 8))
    cells = [sheet[:, 8 : 8 + side, 8 + i * (wide + 8) :][:, ::18, :wide:18] for i in range(4)]
    observed = (cells[0][0] == cells[0][2]).numpy()  # the tint is no grey
    binary = (read_picture("digit.png") > 0.5).float()
    assert 0 < observed.sum() < 48
    for cell in cells[1:]:
        assert torch.equal(cell[:, observed], binary[:, observed])
    assert torch.equal(cells[3], binary)


@pytest.mark.parametrize(
    "order", ["max-context", "max-context:hilbert:3", "raster", "s-curve:7", "order.npy", "order.txt"]
)
def test_orders_and_seeds_decide_what_is_drawn(folder: Path, work: Path, order: str) -> None:
    pictures = []
    for seed in ("1", "1", "2"):
        run(folder, "complete", "digit.png", "--hide", "left", "--order", order, "--seed", seed, "--out", "o.png")
        pictures.append(Path("o.png").read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]


def test_a_larger_picture_of_the_same_proportions_is_scaled_and_told(folder: Path, work: Path, capsys) -> None:
    assert run(folder, "complete", "large.png", "--hide", "large-mask.png", "--invert") == 0
    assert "'large.png' has 16 x 12 pixels: scaled to 8 x 6\n" in capsys.readouterr().err


def test_a_sample_and_its_making(folder: Path, work: Path) -> None:
    assert run(folder, "sample", "--count", "3", "--order", "hilbert", "--video") == 0
    assert read_picture("sample.png").shape == (3, 8 + 2 * (108 + 8), 8 + 2 * (144 + 8))
    with Image.open("sample.gif") as video:
        assert video.n_frames == 49
        first = np.asarray(video.convert("RGB"))
        video.seek(48)
        last = np.asarray(video.convert("RGB"))
    assert np.abs(first[10, 10].astype(int) - [92, 135, 199]).max() <= 4
    assert np.abs(last / 255 - read_picture("sample.png").permute(1, 2, 0).numpy()).max() <= 0.02


BAD = {
    "another size": (["complete", "square.png", "--hide", "top"], "expected 8 x 6, or a multiple"),
    "no picture": (["complete", "order.npy", "--hide", "top"], "is not a picture"),
    "no file": (["complete", "nowhere.png", "--hide", "top"], "expected a file, got none"),
    "truth of another size": (["complete", "digit.png", "--hide", "top", "--truth", "square.png"], "multiple"),
    "no region": (["complete", "digit.png", "--hide", "middle"], "expected a file, got none"),
    "mask's size": (["complete", "digit.png", "--hide", "wrong-mask.png"], "expected 8 x 6 pixels, got 8 x 5"),
    "all hidden": (["complete", "digit.png", "--hide", "all.png"], "hides everything"),
    "none hidden": (["complete", "digit.png", "--hide", "none.png"], "hides nothing"),
    "no permutation": (["complete", "digit.png", "--hide", "top", "--order", "twice.txt"], "permutation"),
    "no numbers": (["complete", "digit.png", "--hide", "top", "--order", "words.txt"], "expected whole numbers"),
    "no order file": (
        ["complete", "digit.png", "--hide", "top", "--order", "nowhere.npy"],
        "expected a file, got none",
    ),
    "no order": (["complete", "digit.png", "--hide", "top", "--order", "zigzag"], "expected names as raster"),
    "several orders": (["complete", "digit.png", "--hide", "top", "--order", "s-curve:8"], "expected one order"),
    "no region's order": (["sample", "--order", "max-context"], "expected an order of whole pictures"),
    "no folder": (["sample", "--out", "nowhere/o.png"], "does not exist"),
    "a folder": (["sample", "--out", "folder.png"], "is a folder"),
    "another format": (["sample", "--out", "o.jpg"], "ending in .png"),
    "its own input": (["complete", "digit.png", "--hide", "top", "--out", "digit.png"], "is a file that is read"),
    "samples": (["complete", "digit.png", "--hide", "top", "--samples", "0"], "expected 1 to 256"),
    "count": (["sample", "--count", "1000"], "expected 1 to 256"),
    "temperature": (["sample", "--temperature", "0"], "expected 0.01 to 100"),
    "seed": (["sample", "--seed", "-1"], "--seed: expected 0 to 9223372036854775807, got -1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_nothing_is_written(folder: Path, work: Path, name: str) -> None:
    arguments, message = BAD[name]
    before = sorted(work.iterdir())
    with pytest.raises(UserError) as caught:
        run(folder, *arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(work.iterdir()) == before


def test_an_unwritable_folder_is_refused(folder: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("runtime.loop.folder.make_temporary_folder", refuse)
    with pytest.raises(UserError, match="cannot be written: Permission denied"):
        run(folder, "sample")


def test_a_missing_bundle_is_named_with_those_that_are_there(work: Path) -> None:
    names = "icons, icons-ddpm, mnist, objects, pixelnerf"
    message = rf"bundle 'nowhere': expected the name of an installed bundle \({names}\)"
    with pytest.raises(UserError, match=message):
        main(["sample", "--bundle", "nowhere"])


def test_a_stopped_completion_resumes_to_the_same_bytes(folder: Path, work: Path, monkeypatch) -> None:
    words = ["complete", "digit.png", "--hide", "top", "--order", "raster", "--samples", "9", "--quiet"]
    monkeypatch.setattr("runtime.lmconv.stages.BLOCK", 5)
    monkeypatch.setattr("runtime.loop.folder.INTERVAL_S", 0.0)
    plain, blocks = Walks.advance, []

    def advance(self: Walks, count: int) -> None:
        blocks.append(count)
        if len(blocks) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        plain(self, count)

    with monkeypatch.context() as patch:
        patch.setattr(Walks, "advance", advance)
        assert run(folder, *words) == 130
    assert not Path("digit-completed.png").exists() and len(blocks) == 3
    Path("digit.png").rename("moved.png")  # the run has a copy
    assert main(["complete", "--resume", "runs/digit-completed"]) == 0
    resumed = Path("digit-completed.png").read_bytes()
    Path("moved.png").rename("digit.png")
    assert run(folder, *words, "--again") == 0
    assert Path("digit-completed.png").read_bytes() == resumed


def test_functions_give_the_pictures_of_the_commands(folder: Path, work: Path) -> None:
    drawn = complete("digit.png", "top", bundle=str(folder), samples=2, seed=3)
    assert drawn.shape == (2, 3, *SIZE) and set(drawn.unique().tolist()) <= {0.0, 1.0}
    binary = (read_picture("digit.png") > 0.5).float()
    assert torch.equal(drawn[:, :, 3:], binary[None, :, 3:].expand(2, -1, -1, -1))
    assert torch.equal(drawn, complete("digit.png", "top", bundle=str(folder), samples=2, seed=3))
    assert sample(bundle=str(folder), count=3, order="hilbert").shape == (3, 3, *SIZE)


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_the_subcommands_are_listed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "python -m runtime.lmconv complete" in text and "python -m runtime.lmconv sample" in text


def test_another_subcommand_is_refused() -> None:
    with pytest.raises(UserError, match="expected one of complete, sample, got 'draw'"):
        main(["draw"])


def test_an_error_is_one_line_and_code_2(work: Path) -> None:
    root = Path(__file__).parents[2]
    code = f"import sys; sys.path.insert(0, {str(root)!r}); import runpy; sys.argv = ['x', 'sample', '--bundle', 'no']"
    command = [sys.executable, "-c", f"{code}; runpy.run_module('runtime.lmconv', run_name='__main__')"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=work, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: bundle 'no'")
    assert done.stderr.count("\n") == 1


def test_bundles_of_other_methods_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    tiny = make_tiny_bundle(tmp_path / "tiny")
    with pytest.raises(UserError, match="bundle 'tiny': expected a bundle for lmconv, got one for latent-diffusion"):
        main(["sample", "--bundle", str(tiny)])
    with pytest.raises(UserError, match="bundle 'digits': expected a bundle for latent-diffusion, got one for lmconv"):
        DiffusionBundle.load(folder)
    assert Bundle.load(folder).name == "digits"


def test_bundles_of_both_methods_are_listed(folder: Path, tmp_path: Path) -> None:
    make_tiny_bundle(tmp_path / "tiny")
    (tmp_path / "digits").symlink_to(folder)
    found = [(b.name, b.kind, b.licence, b.problem) for b in installed_bundles(tmp_path)]
    assert found == [("digits", "lmconv", "Apache-2.0", ""), ("tiny", "latent-diffusion", "Apache-2.0", "")]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("channels", 2, "expected 1 or 3"),
        ("levels", 1, "expected 2 to 256"),
        ("size", [28], "height and width"),
        ("kind", "magic", "expected one of"),
        ("networks", {"denoiser": "x"}, "unknown role 'denoiser'"),
        ("extra", 1, "unknown field"),
    ],
)
def test_a_strange_bundle_json_is_refused(folder: Path, tmp_path: Path, field: str, value, message: str) -> None:
    document = json.loads((folder / "bundle.json").read_text())
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "bundle.json").write_text(json.dumps(document | {field: value}))
    with pytest.raises(UserError, match=message):
        LMConvBundle.load(tmp_path / "b")


def test_export_writes_a_bundle_that_passes_its_gates(tmp_path: Path, monkeypatch, capsys) -> None:
    architecture = SHORT["binary"]
    run_folder, out = make_run(tmp_path / "run", architecture, SIZE), tmp_path / "digits"
    monkeypatch.setattr("export.lmconv.export_networks", lambda networks, report: exported(architecture))
    options = Lmconv(run=run_folder, out=out, storage="float32")
    assert run_lmconv(options) == 0
    assert capsys.readouterr().out.count("passed") == 2
    said = LMConvBundle.load(out).manifest
    assert (said.name, said.size, said.orders, said.levels) == ("digits", SIZE, "s-curve:8", 2)
    (tmp_path / "run2").mkdir()
    with pytest.raises(UserError, match=r"no config\.json"):
        run_lmconv(Lmconv(run=tmp_path / "run2", out=out))
    with pytest.raises(UserError, match="expected a bundle, an empty folder or none, got other files"):
        run_lmconv(Lmconv(run=run_folder, out=tmp_path))
