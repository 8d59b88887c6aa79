"""Several seeds in one run, and what is written beside a drawing."""

import dataclasses
import threading
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from runtime.command.method import checked
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError
from runtime.loop.events import Event, Stepped
from runtime.loop.folder import RunFolder
from runtime.loop.optimize import optimize
from runtime.loop.signals import StoppedRun
from runtime.pictures import read_png
from runtime.vectorfusion import METHOD, Config, main
from runtime.vectorfusion.stages import build
from tests.vectorfusion.test_vectorfusion import GreyBundle, command, config_of


def test_several_seeds_are_each_as_it_is_alone_and_the_best_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_folder: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["a cat", "--route", "scratch", "--paths", "3", "--bundle", str(tiny_folder), "--steps", "3", "--quiet"]
    assert main([*words, "--seeds", "4,0-1"]) == 0
    several = {seed: Path(f"a-cat.seed-{seed}.svg").read_bytes() for seed in (4, 0, 1)}
    best = Path("a-cat.svg").read_bytes()
    assert len(set(several.values())) == 3 and best in several.values()
    assert read_png("a-cat.sheet.png").shape == (3, 2 * 256 + 8, 2 * 256 + 8)
    names = {path.name for path in Path("runs/a-cat/snapshots").iterdir()}
    assert {f"0{i}-distil-seed-{seed}-00003.svg" for i, seed in enumerate((4, 0, 1))} <= names
    scores = {}
    for seed in (4, 0, 1):
        assert main([*words, "--seed", str(seed), "--out", f"one-{seed}.svg"]) == 0
        assert Path(f"one-{seed}.svg").read_bytes() == several[seed]
        picture = read_png(f"one-{seed}.png")[None]
        small = torch.nn.functional.avg_pool2d(picture, 4)
        scores[seed] = float(DiffusionBundle.load(tiny_folder).scorer()(small, ["a cat"]))
    assert several[max(scores, key=scores.__getitem__)] == best


def test_several_seeds_have_a_sample_each(tmp_path: Path) -> None:
    config = config_of("icon", "trace", paths=2, samples=2, steps=1, seeds="3-4")
    with RunFolder.create(tmp_path / "run", {}) as run:
        stages = build(config, GreyBundle(), torch.Generator(), run=run)
        assert {path.name for path in run.path.glob("*.png")} == {
            f"{name}-seed-{seed}.png" for name in ("sample", "samples") for seed in (3, 4)
        }
    assert [stage.name for stage in stages if stage.name.startswith("distil")] == ["distil-seed-3", "distil-seed-4"]


def test_a_stopped_run_of_several_seeds_ends_in_the_same_drawings(tmp_path: Path) -> None:
    config = config_of("icon", "scratch", paths=3, steps=4, seeds="0-2")
    stages = build(config, GreyBundle(), torch.Generator())
    whole, stop = optimize(stages, seed=0), threading.Event()

    def report(event: Event) -> None:
        if isinstance(event, Stepped) and event.done == 6:
            stop.set()

    with RunFolder.create(tmp_path / "run", {}) as run:
        with pytest.raises(StoppedRun):
            optimize(stages, seed=0, run=run, report=report, stop=stop)
        resumed = optimize(stages, seed=0, run=run)
    assert len(whole.finished) == 2 and set(whole.state()) == set(resumed.state())
    assert all(torch.equal(value, resumed.state()[name]) for name, value in whole.state().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": "0-64"}, "expected 1 to 64 seeds"),
        ({"seeds": "1,1"}, "expected different seeds"),
        ({"seeds": "a"}, "expected a seed, a range or a list"),
        ({"seeds": "0-1", "video": True}, "--video: expected with one --seed"),
        ({"preset": "pixel", "paths": 16, "tidy": True}, "--tidy: expected with paths"),
    ],
)
def test_options_that_do_not_go_together_are_refused(change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        checked(METHOD, dataclasses.replace(Config(prompt="a cat"), **change))


def test_a_film_layers_and_a_tidy_drawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_folder: Path) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["a cat", "--route", "scratch", "--paths", "3"]
    assert command(tiny_folder, *words, "--video", "--layers", "--tidy", "--transparent") == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "a-cat.svg",
        "a-cat.png",
        "a-cat.mp4",
        "a-cat.animated.svg",
        "runs",
    }
    text = Path("a-cat.svg").read_text()
    assert 'inkscape:groupmode="layer"' in text
    frames = ElementTree.parse("a-cat.animated.svg").getroot()
    assert len([child for child in frames if child.tag.endswith("}g")]) == 6  # the start, four steps, the result
