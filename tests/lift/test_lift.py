"""Text and pictures to 3D: the method on a tiny bundle, small."""

import json
import math
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from runtime.command.method import checked, draw
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError
from runtime.field.fields.grid import DenseGrid
from runtime.field.lifting import lift
from runtime.field.results import Surface
from runtime.guidance import samples
from runtime.lift import METHOD, Config, main
from runtime.lift.config import picture_of, stem, text_of
from runtime.lift.stages import Held, seen
from runtime.loop.events import Note, Snapshot, Stepped
from runtime.loop.signals import StoppedRun
from runtime.pictures import write_png
from tests.field.lifting.pictures import GREEN, RED, disc, painted


@pytest.fixture(scope="module")
def bundle(tiny_folder: Path) -> DiffusionBundle:
    return DiffusionBundle.load(str(tiny_folder))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A red ball with a green cap on grey."""
    picture = painted((disc(36, side=128), RED), (disc(14, side=128, row=24), GREEN), background=0.6)
    write_png(tmp_path / "ball.png", picture)
    return tmp_path / "ball.png"


def small(photo: Path, **change) -> Config:
    return replace(Config(prompt=str(photo), caption="a red apple", nodes=33, render=16, refine=4), **change)


def test_a_picture_becomes_a_solid(photo: Path, bundle: DiffusionBundle) -> None:
    events = []
    scene = draw(METHOD, small(photo, caption=""), bundle, report=events.append)
    assert isinstance(scene, DenseGrid)
    assert [event.text for event in events if isinstance(event, Note)] == ["a picture without --caption is not refined"]
    shape = Surface.of(scene, scene.box).shape()
    assert shape["watertight"]
    assert shape["largest_piece"] == 1.0
    # A ball fills pi / 6 of its box.
    assert 0.3 < shape["volume_over_box"] < 0.6
    assert 0.7 < shape["depth_over_width"] < 1.1


def test_refinement_changes_the_solid_and_holds_the_front(photo: Path, bundle: DiffusionBundle) -> None:
    before = draw(METHOD, small(photo, refine=0), bundle)
    events = []
    after = draw(METHOD, small(photo), bundle, report=events.append)
    assert not torch.equal(before.state()["values"], after.state()["values"])
    steps = [event for event in events if isinstance(event, Stepped)]
    assert [step.stage for step in steps] == ["lift", *["refine"] * 4]
    assert set(steps[-1].terms) == {"sds", "front", "variation"}
    assert steps[-1].terms["front"] < 0.02
    bare = draw(METHOD, small(photo, front=0.0, variation=0.0), bundle, report=events.append)
    assert set(events[-1].terms) == {"sds"}
    assert not torch.equal(bare.state()["values"], after.state()["values"])


@pytest.mark.usefixtures("small_films")
def test_the_command_writes_three_files_and_the_same_bytes_again(
    photo: Path, tiny_folder: Path, bundle: DiffusionBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--caption", "a red apple", "--nodes", "33", "--render", "16", "--refine", "4"]
    assert main([str(photo), *words, "--bundle", str(tiny_folder), "--quiet"]) == 0
    config = small(photo)
    METHOD.write(config, bundle, draw(METHOD, config, bundle), tmp_path / "again.glb")
    for suffix in (".glb", ".mp4"):
        assert (tmp_path / f"ball{suffix}").read_bytes() == (tmp_path / f"again{suffix}").read_bytes()
    figures = json.loads((tmp_path / "ball.json").read_text())
    assert [row["azimuth"] for row in figures["cosines"]] == [45.0 * view for view in range(8)]
    assert all(math.isfinite(row["cosine"]) for row in figures["cosines"])
    assert figures["mesh"]["watertight"]
    names = sorted(path.name for path in (tmp_path / "runs" / "ball" / "snapshots").iterdir())
    # The first is there as soon as the picture is lifted.
    assert names[0] == "00-lift-00001.png"
    assert len(names) == 4


def test_a_prompt_is_sampled_and_a_cut_run_ends_in_the_same_field(
    bundle: DiffusionBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "SAMPLER_STEPS", 2)
    config = Config(prompt="a red apple", route="inflate", nodes=33, render=16, refine=5, samples=2)
    whole = draw(METHOD, config, bundle)
    stop, events = threading.Event(), []

    def report(event: object) -> None:
        events.append(event)
        if isinstance(event, Stepped) and event.stage == "refine" and event.step == 2:
            stop.set()

    with pytest.raises(StoppedRun):
        draw(METHOD, config, bundle, run=tmp_path / "run", report=report, stop=stop)
    assert any(isinstance(event, Snapshot) for event in events)
    resumed = draw(METHOD, config, bundle, run=tmp_path / "run")
    for name, value in whole.state().items():
        assert torch.equal(value, resumed.state()[name]), name


def test_a_lifted_picture_has_almost_no_error_from_in_front() -> None:
    picture = painted((disc(40, side=128), RED), (disc(12, side=128, row=50), GREEN))
    scene = lift(picture, nodes=97, back="mirror").field
    generator = torch.Generator().manual_seed(0)
    held = Held(picture)
    assert held.error(scene, generator) < 2e-3
    assert Held(torch.ones(3, 32, 32)).error(scene, generator) == 0
    shown, *_ = seen(scene, 16, generator)
    assert shown.shape == (1, 3, 16, 16)
    assert shown[0, :, 0, 0].min() > 0.99


def test_an_empty_sample_is_named(bundle: DiffusionBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.lift.stages.sample_or_read", lambda *arguments, **options: torch.ones(3, 128, 128))
    with pytest.raises(UserError, match="use another --seed"):
        draw(METHOD, Config(prompt="a red apple", route="inflate"), bundle)


def test_names_and_texts() -> None:
    apple, mug = Config(prompt="a red apple"), Config(prompt="x/Mug.PNG", caption="a mug")
    assert (stem(apple), picture_of(apple), text_of(apple)) == ("red-apple", None, "a red apple")
    assert (stem(mug), picture_of(mug), text_of(mug)) == ("Mug", Path("x/Mug.PNG"), "a mug")
    assert [stem(Config(prompt=prompt)) for prompt in ("a", "The old man", "?!")] == ["a", "old-man", "object"]
    assert checked(METHOD, Config(prompt=" a cat ")).prompt == "a cat"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected a few words"),
        (["  "], "expected a few words"),
        (["a cat", "--caption", "a dog"], "with a picture only"),
        (["a\ncat"], "one line of printable text"),
        (["x" * 501], "at most 500 characters"),
        (["a cat", "--nodes", "98"], "a multiple of 4 and one more, such as 97"),
        (["a cat", "--refine", "-1"], "refine"),
        (["nowhere.png"], "expected a file, got none"),
        (["plain.png"], "expected a picture of one object"),
        (["a cat", "--out", "x.obj"], "GLB"),
    ],
)
def test_mistakes_are_named(
    words: list[str], message: str, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_png(tmp_path / "plain.png", torch.ones(3, 32, 32))
    with pytest.raises(UserError, match=message):
        main([*words, "--bundle", str(tiny_folder)])
    assert [path.name for path in tmp_path.iterdir()] == ["plain.png"]
