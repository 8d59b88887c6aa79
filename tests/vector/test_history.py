"""Drawings on the way: when they are kept, that a resumed run keeps the same, and the films of them."""

import threading
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from runtime.loop.events import Stepped
from runtime.loop.folder import RunFolder
from runtime.loop.optimize import Stage, optimize
from runtime.loop.signals import StoppedRun
from runtime.vector.history import format_animation, with_history, write_history
from runtime.vector.paths import random_circles
from runtime.vector.scene import VectorScene
from tests.test_film import read_film

SIZE = (32, 48)


def stages() -> list[Stage]:
    """Return two stages that move circles to the right, by one pixel a step; the second adds a circle."""

    def start(count: int):
        return random_circles(count, size=SIZE, radius=5.0, generator=torch.Generator().manual_seed(0))

    def stage(name: str, steps: int, count: int) -> Stage:
        return Stage(
            name=name,
            steps=steps,
            begin=lambda before, generator: VectorScene(start(count), train=("points",)),
            restore=VectorScene.from_state,
            optimizer=lambda scene: torch.optim.SGD([scene.points], lr=1.0),
            loss=lambda scene, step, generator: {"left": -scene.points[..., 0].sum()},
        )

    return [stage("one", 5, 2), stage("two", 7, 3)]


def test_drawings_are_kept_evenly_over_all_stages() -> None:
    scene = optimize(with_history(stages(), 4), seed=0)
    assert isinstance(scene, VectorScene)
    # Of twelve steps every third: at 3, 6, 9 and 12, of which three are in the second stage; and the first drawing.
    assert [drawing.layout.num_paths for drawing in scene.history] == [2, 2, 3, 3, 3]
    first, third = scene.history[0].points, scene.history[1].points
    assert torch.allclose(third[..., 0] - first[..., 0], torch.tensor(3.0), atol=1e-4)
    assert torch.equal(scene.history[-1].points, scene.points)
    plain = optimize(stages(), seed=0)
    assert isinstance(plain, VectorScene) and plain.history == [] and torch.equal(plain.points, scene.points)


def test_a_run_that_was_stopped_keeps_the_same_drawings(tmp_path: Path) -> None:
    whole = optimize(with_history(stages(), 6), seed=0)
    stop = threading.Event()

    def report(event: object) -> None:
        if isinstance(event, Stepped) and event.done == 8:
            stop.set()

    with RunFolder.create(tmp_path / "run", {}) as run:
        with pytest.raises(StoppedRun):
            optimize(with_history(stages(), 6), seed=0, run=run, report=report, stop=stop)
        resumed = optimize(with_history(stages(), 6), seed=0, run=run)
    assert set(whole.state()) == set(resumed.state())
    assert all(torch.equal(value, resumed.state()[name]) for name, value in whole.state().items())


def test_films_show_the_drawings_and_end_with_the_finished_one(tmp_path: Path) -> None:
    scene = optimize(with_history(stages(), 4), seed=0)
    assert isinstance(scene, VectorScene)
    names = (tmp_path / "a.mp4", tmp_path / "a.animated.svg")
    assert write_history(scene, *names) == list(names)
    film = read_film(names[0], 512, 768)
    assert len(film) == 6 + 29  # five kept and the finished one, which stays a second
    with torch.no_grad():
        last = scene.render((512, 768))[0].permute(1, 2, 0)
    assert (film[-1] - last).abs().mean() < 0.02
    assert (film[0] - film[-1]).abs().mean() > 0.02
    root = ElementTree.parse(names[1]).getroot()
    groups = [child for child in root if child.tag.endswith("}g")]
    assert [group.attrib["display"] for group in groups] == ["none"] * 5 + ["inline"]
    assert [sum(child.tag.endswith("}path") for child in group) for group in groups] == [2, 2, 3, 3, 3, 3]
    write_history(scene, tmp_path / "b.mp4", tmp_path / "b.svg")
    assert (tmp_path / "b.mp4").read_bytes() == names[0].read_bytes()


def test_exactly_one_drawing_is_shown_at_every_time() -> None:
    scene = optimize(with_history(stages(), 4), seed=0)
    assert isinstance(scene, VectorScene)
    root = ElementTree.fromstring(format_animation(scene.history, seconds=2.0))
    animations = [next(child for child in group if child.tag.endswith("}animate")) for group in root]
    assert {one.attrib["dur"] for one in animations} == {"2s"}
    for time in [0.0, 0.1, 0.2001, 0.45, 0.6001, 0.79, 0.8001, 0.99]:
        shown = []
        for one in animations:
            times, values = one.attrib["keyTimes"].split(";"), one.attrib["values"].split(";")
            assert float(times[0]) == 0.0
            shown.append([value for start, value in zip(times, values, strict=True) if float(start) <= time][-1])
        assert shown.count("inline") == 1, time
    assert format_animation(scene.history[:1]).count("<g ") == 1
