"""The commands of DDPM: what they write, tell and refuse, and that a cut run ends in the same bytes."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from runtime.ddpm import main
from runtime.engines.bundle import Bundle, DdpmBundle, LMConvBundle
from runtime.errors import UserError
from runtime.guidance.solvers import DpmSolver
from runtime.pictures import read_picture
from tests.bundles import make_tiny_bundle
from tests.ddpm.tiny import SIDE, make_tiny_ddpm

CELL = 18 * SIDE + 8
"""Pixels from one picture of a sheet to the next."""

PLACES = ((8, 8), (8, 8 + CELL), (8 + CELL, 8))
"""Corners of the first three pictures of a sheet of two columns."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_ddpm(tmp_path_factory.mktemp("bundles") / "noise")


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, size in (("a.png", 8), ("b.png", 8), ("large.png", 16)):
        Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)).save(name)
    Image.fromarray(rng.integers(0, 256, (8, 6, 3), np.uint8)).save("wide.png")
    Path("broken.ddpm").write_bytes(b"DDPM")
    return tmp_path


def run(folder: Path, *words: str) -> int:
    return main([*words, "--bundle", str(folder), "--quiet"])


def cells(path: str, count: int) -> list[torch.Tensor]:
    sheet = read_picture(path)
    return [sheet[:, 8 : 8 + 18 * SIDE, 8 + i * CELL :][:, ::18, : 18 * SIDE : 18] for i in range(count)]


@pytest.mark.parametrize("sampler", ["dpm++", "ddim", "heun", "ancestral"])
def test_every_sampler_draws_by_its_seed(folder: Path, work: Path, sampler: str) -> None:
    drawn = []
    for seed in ("1", "1", "2"):
        run(folder, "sample", "--count", "3", "--sampler", sampler, "--steps", "4", "--seed", seed, "--out", "o.png")
        drawn.append(Path("o.png").read_bytes())
    assert drawn[0] == drawn[1] != drawn[2]
    assert read_picture("o.png").shape == (3, 8 + 2 * CELL, 8 + 2 * CELL)


def test_eta_and_variance_change_what_is_drawn(folder: Path, work: Path) -> None:
    words = ["sample", "--count", "1", "--steps", "5", "--out", "o.png"]
    drawn = set()
    for options in (
        ["--sampler", "ddim"],
        ["--sampler", "ddim", "--eta", "1"],
        ["--sampler", "ancestral"],
        ["--sampler", "ancestral", "--variance", "fixedsmall"],
    ):
        run(folder, *words, *options)
        drawn.add(Path("o.png").read_bytes())
    # eta 1 is ancestral sampling with the posterior's variance, up to rounding.
    assert len(drawn) in (3, 4)


def test_pictures_share_what_is_drawn_down_to_a_time(folder: Path, work: Path) -> None:
    words = ["sample", "--count", "3", "--sampler", "ancestral", "--steps", "20", "--video", "--out", "o.png"]
    apart = []
    for shared in ("0", "60", "999"):
        run(folder, *words, "--shared", shared)
        first, second, third = (read_picture("o.png")[:, y : y + 140, x : x + 140] for y, x in PLACES)
        apart.append(min((first - second).abs().mean().item(), (first - third).abs().mean().item()))
    assert apart[0] == 0.0 < 2 * apart[1] < apart[2]
    with pytest.raises(UserError, match="--shared: expected --sampler ancestral, or ddim with --eta above 0, got dpm"):
        run(folder, "sample", "--shared", "5")
    with pytest.raises(UserError, match="--shared: expected 0 to 999, the times of bundle 'noise', got 1000"):
        run(folder, "sample", "--sampler", "ancestral", "--shared", "1000")


def test_the_moving_picture_ends_in_the_sample(folder: Path, work: Path) -> None:
    run(folder, "sample", "--count", "2", "--steps", "6", "--video")
    with Image.open("sample.gif") as video:
        assert video.n_frames == 6
        video.seek(5)
        last = np.asarray(video.convert("RGB"))
    assert np.abs(last / 255 - read_picture("sample.png").permute(1, 2, 0).numpy()).max() <= 0.05


def test_a_blend_at_time_0_ends_in_the_two_pictures(folder: Path, work: Path) -> None:
    assert run(folder, "interpolate", "a.png", "b.png", "--time", "0", "--count", "3", "--steps", "1") == 0
    found = cells("a-interpolated.png", 3)
    for cell, name in ((found[0], "a.png"), (found[2], "b.png")):
        assert (cell - read_picture(name)).abs().max() < 0.05
    run(folder, "interpolate", "a.png", "b.png", "--count", "4", "--steps", "5", "--out", "far.png")
    assert read_picture("far.png").shape == (3, 8 + CELL, 8 + 4 * CELL)


@pytest.mark.parametrize("resamples", ["1", "3"])
def test_a_completion_keeps_what_is_observed(folder: Path, work: Path, resamples: str) -> None:
    words = ["--steps", "6", "--jump", "2", "--resamples", resamples, "--samples", "2", "--truth", "a.png"]
    assert run(folder, "complete", "a.png", "--hide", "left", *words) == 0
    found = cells("a-completed.png", 4)
    truth = read_picture("a.png")
    assert (found[3] - truth).abs().max() < 1e-6
    for cell in found[1:3]:
        assert (cell[:, :, 4:] - truth[:, :, 4:]).abs().max() < 1e-6
        assert (cell[:, :, :4] - truth[:, :, :4]).abs().max() > 0.1


def test_a_code_is_as_large_as_told_and_is_decoded_to_the_same_picture(folder: Path, work: Path, capsys) -> None:
    assert run(folder, "codec", "a.png", "--bits", "6", "--steps", "30") == 0
    size = Path("a-coded.ddpm").stat().st_size
    told = capsys.readouterr().err
    assert f"{size} bytes: " in told and "relative entropy; RMSE " in told
    assert 0.5 * 6 * 3 * 64 / 8 < size <= 6 * 3 * 64 / 8
    assert run(folder, "codec", "a-coded.ddpm") == 0
    decoded = read_picture("a-coded-decoded.png")
    assert (decoded - cells("a-coded.png", 6)[5]).abs().max() < 1e-6
    error = (decoded - read_picture("a.png")).square().mean().sqrt().item() * 255
    assert f"RMSE {error:.2f} of 255" in told
    run(folder, "codec", "a.png", "--bits", "2", "--steps", "30", "--out", "few.png")
    run(folder, "codec", "few.ddpm")
    assert (read_picture("few-decoded.png") - read_picture("a.png")).square().mean().sqrt().item() * 255 > error


def test_a_code_of_another_network_is_refused(folder: Path, work: Path, tmp_path: Path) -> None:
    run(folder, "codec", "a.png", "--bits", "1", "--steps", "5")
    other = make_tiny_ddpm(tmp_path / "other", seed=1)
    with pytest.raises(UserError, match="got one of another network"):
        run(other, "codec", "a-coded.ddpm")


BAD = {
    "no picture": (["complete", "broken.ddpm", "--hide", "top"], "is not a picture"),
    "no code": (["codec", "broken.ddpm"], "has written, got something else"),
    "no file": (["interpolate", "a.png", "nowhere.png"], "expected a file, got none"),
    "proportions": (["codec", "wide.png"], "expected 8 x 8, or a multiple"),
    "steps": (["sample", "--steps", "0"], "--steps: expected 1 to 1000, got 0"),
    "eta": (["sample", "--eta", "2"], "--eta: expected 0 to 1, got 2"),
    "time": (["interpolate", "a.png", "b.png", "--time", "1000"], "--time: expected 0 to 999"),
    "bits": (["codec", "a.png", "--bits", "0"], "--bits: expected 0.01 to 32"),
    "no region": (["complete", "a.png", "--hide", "middle"], "expected a file, got none"),
    "jump": (["complete", "a.png", "--hide", "top", "--jump", "0"], "--jump: expected 1 to 1000"),
    "its own input": (["complete", "a.png", "--hide", "top", "--out", "a.png"], "is a file that is read"),
    "another format": (["sample", "--out", "o.jpg"], "ending in .png"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_nothing_is_written(folder: Path, work: Path, name: str) -> None:
    arguments, message = BAD[name]
    before = sorted(work.iterdir())
    with pytest.raises(UserError) as caught:
        run(folder, *arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert sorted(work.iterdir()) == before


def test_more_steps_than_times_are_refused(work: Path, tmp_path: Path) -> None:
    few = make_tiny_ddpm(tmp_path / "few", times=10)
    with pytest.raises(UserError, match="--steps: expected at most 10, the times of bundle 'few', got 25"):
        run(few, "sample")


@pytest.mark.parametrize(
    "words",
    [
        ["sample", "--count", "2", "--steps", "6", "--video"],
        ["sample", "--count", "2", "--steps", "6", "--sampler", "ancestral", "--shared", "5"],
        ["complete", "a.png", "--hide", "top", "--steps", "4", "--jump", "2", "--resamples", "2"],
        ["codec", "a.png", "--bits", "4", "--steps", "8"],
    ],
)
def test_a_stopped_run_resumes_to_the_same_bytes(folder: Path, work: Path, words: list[str], monkeypatch) -> None:
    monkeypatch.setattr("runtime.loop.folder.INTERVAL_S", 0.0)
    from runtime.guidance.solvers import _Along

    plain, calls = _Along.estimate, []

    def estimate(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(self, *arguments)

    out = {"sample": "sample", "complete": "a-completed", "codec": "a-coded"}[words[0]]
    with monkeypatch.context() as patch:
        patch.setattr(_Along, "estimate", estimate)
        assert run(folder, *words) == 130
    assert not Path(f"{out}.png").exists() and len(calls) == 3
    assert main([words[0], "--resume", f"runs/{out}", "--quiet"]) == 0
    files = sorted(Path().glob(f"{out}.*"))
    resumed = [file.read_bytes() for file in files]
    assert len(files) == (1 if words[0] == "complete" or "--shared" in words else 2)
    assert run(folder, *words, "--again") == 0
    assert [file.read_bytes() for file in files] == resumed


def test_grey_bundles_take_colours_as_grey(work: Path, tmp_path: Path) -> None:
    grey = make_tiny_ddpm(tmp_path / "grey", channels=1)
    run(grey, "complete", "large.png", "--hide", "bottom", "--steps", "3", "--resamples", "1", "--samples", "1")
    found = cells("large-completed.png", 2)[1]
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_bundles_of_other_methods_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    assert isinstance(Bundle.load(folder), DdpmBundle)
    with pytest.raises(UserError, match="expected a bundle for lmconv, got one for ddpm"):
        LMConvBundle.load(folder)
    with pytest.raises(UserError, match="expected a bundle for ddpm, got one for latent-diffusion"):
        main(["sample", "--bundle", str(make_tiny_bundle(tmp_path / "tiny"))])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("channels", 2, "expected 1 or 3"),
        ("image_size", 0, "expected 4 to 4096"),
        ("variance", "learned", "expected fixedlarge or fixedsmall"),
        ("schedule", {}, "schedule"),
        ("networks", {"step": "denoiser"}, "unknown role 'step'"),
        ("extra", 1, "unknown field"),
    ],
)
def test_a_strange_bundle_json_is_refused(folder: Path, tmp_path: Path, field: str, value, message: str) -> None:
    document = json.loads((folder / "bundle.json").read_text())
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "bundle.json").write_text(json.dumps(document | {field: value}))
    with pytest.raises(UserError, match=message):
        DdpmBundle.load(tmp_path / "b")


def test_the_solver_of_a_bundle_clips(folder: Path) -> None:
    from runtime.ddpm.config import Sample
    from runtime.ddpm.stages import schedule_of, solver_of

    bundle = DdpmBundle.load(folder)
    solver = solver_of(Sample(), bundle, schedule_of(bundle))
    assert isinstance(solver, DpmSolver) and solver.clip and len(solver.visited) == 25
