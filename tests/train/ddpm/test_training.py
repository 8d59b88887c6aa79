"""Training lowers the loss, goes on after a cut to the same weights, and refuses what does not fit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import train.ddpm.__main__ as command
from runtime.errors import UserError
from runtime.pictures import read_picture
from train.ddpm.data import is_held_out, load_pictures
from train.ddpm.network import Architecture
from train.ddpm.runs import SCHEDULE, load_run, read_run

TINY = Architecture(size=8, widths=(8, 16), blocks=1, attention=(2,), dropout=0.0, groups=4, patch=2)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> command.Config:
    monkeypatch.setitem(command.PRESETS, "tiny", TINY)
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(24):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / f"{number:02d}.png")
    return command.Config(data=str(folder), out=tmp_path / "run", size=8, steps=6, batch=4, minutes=0, sheet_minutes=0)


def test_a_cut_training_ends_in_the_weights_of_an_uncut_one(config: command.Config, tmp_path: Path) -> None:
    lines: list[str] = []
    command.train(replace(config, out=tmp_path / "whole"), lines.append)
    assert lines[0].startswith("23 pictures, 1 held out; ") and "loss" in lines[-1]

    original = command.SampleSheets.__call__
    calls: list[int] = []

    def saved(sheets: command.SampleSheets, step: int) -> None:
        original(sheets, step)
        calls.append(step)
        if step == 3:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(command.SampleSheets, "__call__", saved)
        command.train(config, lambda line: None)
    network = command.train(config, lines.append)
    assert "resumed at step 3" in lines
    whole, cut = (load_file(folder / "ema.safetensors") for folder in (tmp_path / "whole", config.out))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    loaded, run = load_run(config.out)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), network.parameters(), strict=True))
    assert run.schedule == {**SCHEDULE, "prediction_type": "v_prediction"} and run.architecture == TINY
    assert read_picture(config.out / "samples-0000003.png").shape == (3, 6 * 8 * 3, 6 * 8 * 3)


def test_training_lowers_the_loss(config: command.Config) -> None:
    lines: list[str] = []
    command.train(replace(config, steps=60, minutes=9, sheet_minutes=9, lr=5e-3), lines.append)
    assert float(lines[-1].split("loss ")[1].split()[0]) < 0.97  # of 1 at the start, over all 60 steps


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "nowhere"}, "expected icons, cifar10, mnist, or a folder of pictures"),
        ({"data": "mnist"}, "expected mnist, got nothing"),
        ({"data": "icons"}, r"expected the archive of python -m train\.data\.icons, got no file"),
        ({"steps": 0}, "--steps: expected at least 1, got 0"),
        ({"size": 9}, "multiple of"),
    ],
)
def test_what_does_not_fit_is_refused(config: command.Config, change: dict, message: str, monkeypatch) -> None:
    monkeypatch.chdir(config.out.parent)
    with pytest.raises(UserError, match=message):
        command.train(replace(config, **change), lambda line: None)
    assert not config.out.exists()


def test_a_run_of_something_else_is_refused(config: command.Config) -> None:
    command.train(replace(config, steps=1), lambda line: None)
    with pytest.raises(UserError, match="sets: expected noto as asked, got a checkpoint of"):
        command.train(replace(config, sets="noto"), lambda line: None)
    (config.out / "config.json").write_text("{}")
    with pytest.raises(UserError, match="not one of this version"):
        read_run(config.out)


def test_icons_are_reduced_by_squares_and_some_concepts_held_out(tmp_path: Path) -> None:
    concepts = [f"icon{number}" for number in range(120)]
    pictures = np.random.default_rng(0).integers(0, 256, (120, 16, 16, 3), np.uint8)
    kinds, sets = np.array(["plain"] * 119 + ["pair"]), np.array(["noto", "twemoji"] * 60)
    np.savez(tmp_path / "icons.npz", pictures=pictures, concepts=concepts, kinds=kinds, sets=sets)
    loaded = load_pictures("icons", tmp_path / "icons.npz", size=8, sets="noto")
    held = [number for number in range(0, 119, 2) if is_held_out(concepts[number])]
    assert 0 < len(held) == len(loaded.held_out) and len(loaded.train) == 60 - len(held)
    expected = pictures[held[0]].reshape(8, 2, 8, 2, 3).mean((1, 3)).transpose(2, 0, 1)
    assert np.abs(loaded.held_out[0].numpy() - expected).max() <= 0.5
    drawn = loaded.draw(5, torch.Generator().manual_seed(0))
    assert drawn.min() >= -1 and drawn.max() <= 1
    with pytest.raises(UserError, match="--sets 'nowhere': expected fluent"):
        load_pictures("icons", tmp_path / "icons.npz", sets="nowhere")


def test_the_papers_recipe(tmp_path: Path) -> None:
    fit = command.fit_config(command.Config(data="cifar10", out=tmp_path, preset="cifar10"))
    assert (fit.lr, fit.warmup, fit.constant, fit.ema, fit.clip) == (2e-4, 5000, True, 0.9999, 1.0)
    assert (fit.steps, fit.betas, fit.weight_decay) == (800_000, (0.9, 0.999), 0.0)
    assert command.RECIPES["cifar10"]["batch"] == 128 and command.RECIPES["lsun-256"]["lr"] == 2e-5


def test_what_a_network_predicts_is_the_presets_or_as_asked(config: command.Config) -> None:
    pictures = load_pictures(config.data, None, size=8)
    kinds = [command.run_of(replace(config, preset=preset), pictures).schedule for preset in ("tiny", "cifar10")]
    assert [kind["prediction_type"] for kind in kinds] == ["v_prediction", "epsilon"]
    asked = command.run_of(replace(config, prediction="sample"), pictures).schedule
    assert asked == {**SCHEDULE, "prediction_type": "sample"}


def test_training_begins_with_the_weights_of_another_run(config: command.Config, tmp_path: Path) -> None:
    command.train(replace(config, prediction="epsilon"), lambda line: None)
    # A learning rate too small to move a weight by more than its last bits.
    options = {"out": tmp_path / "next", "init": config.out, "lr": 1e-8, "steps": 1}
    second = command.train(replace(config, **options), lambda line: None)
    averaged, _ = load_run(config.out)
    for one, other in zip(averaged.parameters(), second.parameters(), strict=True):
        assert (one - other).abs().max() < 1e-6
    with pytest.raises(UserError, match=r"no ema\.safetensors is here"):
        command.train(replace(config, out=tmp_path / "other", init=tmp_path), lambda line: None)
    assert not (tmp_path / "other").exists()
