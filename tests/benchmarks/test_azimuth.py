"""The probe of azimuths: what it is trained on, what it reads, and the figures."""

import math
import shutil
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks.azimuth import measure as commands
from benchmarks.azimuth.measure import MeasureOptions, figures_of, measure
from benchmarks.azimuth.probe import BINS, Probe, difference, load_probe, read_azimuths, targets, train
from benchmarks.azimuth.views import KINDS, SIDE, Views, augment, load_views
from runtime.errors import UserError
from tests.bundles import make_camera_bundle
from tests.train.latent_diffusion.made import write_set
from train.latent_diffusion.objects import read_cameras, read_objects


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # a set this small would be held out as a whole
    monkeypatch.setattr("benchmarks.azimuth.views.hold_out", lambda every: torch.arange(len(every)) == 0)
    return write_set(tmp_path / "set", side=64)


def test_views_are_those_of_objects_with_a_front(folder: Path) -> None:
    views = load_views(folder)
    assert views.pictures.shape == (48, 3, SIDE, SIDE)
    assert [KINDS[kind] for kind in views.kinds[::16].tolist()] == ["vehicle", "vehicle", "seat"]
    assert views.held_out.tolist() == [True] * 16 + [False] * 32
    cameras = read_cameras(folder, read_objects(folder))
    torch.testing.assert_close(views.azimuths[16:32], cameras[1, :, 0])


def test_a_set_without_fronts_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    # all three objects with a front are held out
    with pytest.raises(UserError, match=r"expected objects of the kinds animal, boat, .*, some held out, got 3, 3 of"):
        load_views(tmp_path / "set")


def test_a_mirrored_view_is_seen_from_the_negated_azimuth() -> None:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.ones(64, 3, SIDE, SIDE)
    pictures[:, :, 12:20, 20:26] = 0.0  # right of the middle, further than any shift
    azimuths = torch.rand(64) + 0.1
    changed, seen_from = augment(pictures, azimuths, generator)
    ink = 1.0 - changed.mean(1)
    columns = (ink.sum(1) * torch.arange(SIDE)).sum(1) / ink.sum((1, 2))
    mirrored = columns < SIDE / 2
    assert 16 < int(mirrored.sum()) < 48
    torch.testing.assert_close(seen_from, torch.where(mirrored, -azimuths, azimuths))
    # what comes in from outside is paper, and black paint has no hue
    assert changed[:, :, 0].min() > 0.999 and changed.min() < 0.01


def test_angles_and_classes() -> None:
    a, b = torch.tensor([0.1, 3.0, -3.0]), torch.tensor([6.2, -3.0, 3.1])
    torch.testing.assert_close(
        difference(a, b), torch.tensor([0.1 - 6.2 + 2 * math.pi, 2 * math.pi - 6.0, 2 * math.pi - 6.1])
    )
    torch.testing.assert_close(
        difference(torch.tensor([0.1]), torch.tensor([3.1]), math.pi), torch.tensor([math.pi - 3.0])
    )
    wanted = targets(torch.tensor([0.0, math.pi / 2, -math.radians(15.0)]))
    assert wanted.argmax(1).tolist() == [0, BINS // 4, BINS - 1]
    torch.testing.assert_close(wanted.sum(1), torch.ones(3))
    torch.testing.assert_close(wanted[0, 1:], wanted[0, 1:].flip(0))


def test_what_is_read_is_the_mean_of_the_best_class_and_its_neighbours() -> None:
    shares = torch.full((2, BINS), 1e-9)
    shares[0, 0], shares[0, 1], shares[0, 12] = 0.4, 0.25, 0.35  # a little right of the front, or the back
    shares[1, BINS - 1], shares[1, 0] = 0.5, 0.5

    class Fixed(Probe):
        def forward(self, pictures: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
            return shares.log()

    read = read_azimuths(Fixed(), torch.zeros(2, 3, SIDE, SIDE), torch.zeros(2, dtype=torch.int64))
    step = math.radians(15.0)
    right = math.atan2(0.25 * math.sin(step), 0.4 + 0.25 * math.cos(step))
    torch.testing.assert_close(read, torch.tensor([right, -step / 2]), atol=1e-5, rtol=0)


def test_figures_are_degrees_and_shares() -> None:
    azimuths = torch.zeros(4)
    figures = figures_of(torch.tensor([0.0, 29.0, 170.0, 180.0]).deg2rad(), azimuths)
    assert figures["under 30"] == 0.5 and figures["over 150"] == 0.5
    assert figures["median"] == pytest.approx(29.0, abs=1e-3)
    assert figures["modulo 180"] == pytest.approx(0.0, abs=1e-3)


def test_a_probe_learns_from_which_side_a_mark_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.azimuth.probe.BATCH", 24)
    # A dark bar right of the middle is seen from one side, left of it from the other.
    pictures = torch.full((8, 3, SIDE, SIDE), 255, dtype=torch.uint8)
    azimuths = torch.tensor([math.pi / 2, -math.pi / 2] * 4)
    for i, azimuth in enumerate(azimuths.tolist()):
        left = 20 if azimuth > 0 else 6
        pictures[i, :, 8 + i : 20 + i, left : left + 6] = 30 * i
    views = Views(pictures, azimuths, torch.zeros(8, dtype=torch.int64), torch.arange(8) >= 6)
    train(views, tmp_path / "run", 25, lambda line: None)
    probe = load_probe(tmp_path / "run")
    seen = pictures[:6].float() / 255.0
    assert difference(read_azimuths(probe, seen, views.kinds[:6]), azimuths[:6]).max() < math.radians(31.0)


def test_commands_train_and_measure(
    folder: Path, tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    monkeypatch.setattr(sys, "argv", ["x", "train", "--data", str(folder), "--run", str(run), "--steps", "1"])
    commands.main()
    shutil.copytree(tiny_folder, tmp_path / "tiny")
    bundle, out = make_camera_bundle(tmp_path / "seen", tmp_path / "tiny"), tmp_path / "sheet.png"
    words = ["x", "measure", "--data", str(folder), "--run", str(run), "--bundle", str(bundle), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", [*words, "--seeds", "2", "--views", "3", "--steps", "2", "--count", "2"])
    commands.main()
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| ")]
    assert [row[0] for row in rows[1:]] == [
        "| held-out objects", "| vehicle", '| drawn: "a car"', '| drawn: "a chair"', "| drawn by `seen`",
    ]  # fmt: skip
    assert [row[1] for row in rows[1:]] == ["16", "16", "6", "6", "12"]
    with Image.open(out) as sheet:
        assert sheet.size == (3 * 64, 4 * 64)


def test_what_is_missing_is_named(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"expected the run folder of a probe, got .*; train one: python -m"):
        measure(MeasureOptions(data=folder, run=tmp_path / "none"), print)
    monkeypatch.setattr(sys, "argv", ["x", "draw"])
    with pytest.raises(UserError, match="expected train or measure, got draw"):
        commands.main()


def test_another_networks_weights_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"stem.weight": torch.zeros(3)}, tmp_path / "ema.safetensors")
    with pytest.raises(UserError, match="expected the run folder of a probe, got Error"):
        load_probe(tmp_path)
    assert sum(weight.numel() for weight in Probe().parameters()) < 1_500_000
