"""The pictures and figures of a DDPM bundle, on a tiny one."""

from pathlib import Path

import pytest
import torch

from benchmarks.ddpm import quality, regions, sheets
from runtime.engines.bundle import DdpmBundle, LMConvBundle
from runtime.errors import UserError
from runtime.pictures import read_picture
from runtime.pixels.regions import hidden_region
from runtime.pixels.sampler import Sampler
from tests.ddpm.tiny import make_tiny_ddpm
from train.ddpm.data import Pictures
from train.ddpm.subject import Subject, load_subject


@pytest.fixture
def subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Subject:
    levels = torch.randint(0, 256, (40, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    pictures = Pictures(levels[:30], levels[30:], flips=False)
    monkeypatch.setattr("train.ddpm.subject.load_pictures", lambda *words, **options: pictures)
    return load_subject(make_tiny_ddpm(tmp_path / "tiny"))


def test_each_picture_is_drawn_and_the_codes_figures_are_the_files(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheets, "STEPS", 12)
    bundle = DdpmBundle.load(tmp_path / "tiny")
    options = sheets.Options(out=tmp_path, bundle=str(tmp_path / "tiny"), shown=2, count=3, times=5, bits=3.0)
    lines = list(sheets.draw_all(options, bundle, subject))
    names = ("samples", "rates", "curve", "paths")
    assert all(read_picture(tmp_path / f"ddpm_{name}.png").shape[0] == 3 for name in names)
    assert any(line.startswith("| 1 | ") and line.endswith(" bits/dim |") for line in lines)
    levels = subject.pictures.held_out[:1]
    (scene,) = sheets.code(levels, bundle, 3.0, 0)
    rows = sheets.measured(scene, levels[0])
    assert rows[-1][0] * 192 == pytest.approx(float(scene.total[0]))
    assert rows[0][1] == 0.0 < rows[-1][1] < rows[-1][0] <= 3.0 and rows[-1][2] < rows[0][2]


def test_an_unknown_picture_and_a_bundle_of_another_size_are_refused(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = sheets.Options(out=tmp_path, bundle=str(tmp_path / "tiny"), only="rates,faces")
    with pytest.raises(UserError, match="--only 'rates,faces': expected samples, rates, curve, paths, with commas"):
        list(sheets.draw_all(options, DdpmBundle.load(tmp_path / "tiny"), subject))
    monkeypatch.setattr("sys.argv", ["x", "--bundle", str(tmp_path / "tiny"), "--out", str(tmp_path / "o.png")])
    with pytest.raises(UserError, match="expected grey pictures of 28 x 28, those of LMConv's bundle, got 3 x 8 x 8"):
        regions.main()


def test_held_out_pictures_stand_beside_as_many_samples(subject: Subject) -> None:
    def features(levels: torch.Tensor) -> torch.Tensor:
        return levels.double().flatten(1)[:, :4] / 255.0

    train, held_out = subject.pictures.train, subject.pictures.held_out
    rows = list(quality.rows_of(features, train[:20], train, held_out))
    assert [row.split(" | ")[0] for row in rows] == [
        "samples (20)", "as many samples as held out (10)", "held out (10)",
    ]  # fmt: skip
    # Training pictures as samples: each is its own neighbour.
    near = [float(row.split(" | ")[3]) for row in rows]
    assert near[0] < 1e-4 < near[2]
    cells = quality.neighbours(train[:2], train, features)
    assert cells.shape == (10, 3, 8, 8)
    assert torch.equal(cells[0], cells[1]) and torch.equal(cells[0], cells[3]) and not torch.equal(cells[0], cells[2])


def test_both_ways_to_complete_keep_what_is_observed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.ddpm import tiny

    monkeypatch.setattr(tiny, "SIDE", 28)
    grey = DdpmBundle.load(make_tiny_ddpm(tmp_path / "grey", channels=1))
    ours = LMConvBundle.load("mnist")
    options = regions.Options(bundle=tmp_path / "grey", out=tmp_path / "o.png", samples=2, steps=3, resamples=1)
    file = tmp_path / "3.png"
    regions.write_png(file, regions.draw_digit("3", tmp_path))
    hidden, truth = hidden_region("top", (28, 28)), read_picture(file)
    first = regions.by_lmconv(file, hidden, Sampler.of(ours), ours, options)
    second = regions.by_repaint(file, "top", grey, options)
    assert first.shape == second.shape == (2, 3, 28, 28)
    seen = ~torch.from_numpy(hidden)
    assert (second - truth).abs()[:, :, seen].max() < 1e-6
    assert (first - (truth > 0.5).float()).abs()[:, :, seen].max() < 1e-6
