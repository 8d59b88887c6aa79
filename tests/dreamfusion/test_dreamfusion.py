"""DreamFusion: the method on a tiny bundle, small."""

import json
import math
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from runtime.command.method import checked, draw
from runtime.dreamfusion import METHOD, Config, main
from runtime.dreamfusion.config import preset_config, stem
from runtime.dreamfusion.grid_stages import new_grid, parts_of, raw_of
from runtime.dreamfusion.looks import ALBEDO_SHARE, CAMERAS, UNIT, draw_look, seen
from runtime.dreamfusion.teacher import Teacher
from runtime.dreamfusion.terms import terms_of
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError
from runtime.field import results
from runtime.field.fields.grid import DenseGrid
from runtime.loop.events import Stepped
from runtime.loop.signals import StoppedRun
from tests.bundles import make_tiny_bundle

SMALL = Config(prompt="a red apple", nodes=17, render=16, steps=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="module")
def bundle(folder: Path) -> DiffusionBundle:
    return DiffusionBundle.load(str(folder))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stepped(events: list[object]) -> list[Stepped]:
    return [event for event in events if isinstance(event, Stepped)]


def test_the_command_writes_three_files_and_the_same_bytes_again(
    folder: Path, bundle: DiffusionBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results, "TEXTURE_SIDE", 64)
    words = ["--nodes", "17", "--render", "16", "--steps", "6", "--bundle", str(folder), "--quiet"]
    assert main(["a red apple", *words]) == 0
    METHOD.write(SMALL, bundle, draw(METHOD, SMALL, bundle), tmp_path / "again.glb")
    for suffix in (".glb", ".mp4"):
        assert (tmp_path / f"red-apple{suffix}").read_bytes() == (tmp_path / f"again{suffix}").read_bytes()
    figures = json.loads((tmp_path / "red-apple.json").read_text())
    assert figures["prompt"] == "a red apple"
    assert [row["azimuth"] for row in figures["cosines"]] == [45.0 * view for view in range(8)]
    assert {"largest_piece", "volume_over_box", "mesh"} <= set(figures)
    names = {path.name for path in (tmp_path / "runs" / "red-apple" / "snapshots").iterdir()}
    assert {"00-grid 9-00001.png", "02-grid 17-00002.png"} <= names


def test_a_cut_run_ends_in_the_same_field(bundle: DiffusionBundle, tmp_path: Path) -> None:
    config = replace(SMALL, shading=0.6, orientation=0.1, views="mixed", latent=0.5)
    events: list[object] = []
    whole = draw(METHOD, config, bundle, report=events.append)
    assert [event.stage for event in stepped(events)] == ["grid 9"] * 2 + ["grid 13"] * 2 + ["grid 17"] * 2
    stop = threading.Event()

    def report(event: object) -> None:
        if isinstance(event, Stepped) and event.stage == "grid 13" and event.step == 1:
            stop.set()

    with pytest.raises(StoppedRun):
        draw(METHOD, config, bundle, run=tmp_path / "run", report=report, stop=stop)
    resumed = draw(METHOD, config, bundle, run=tmp_path / "run")
    for name, value in whole.state().items():
        assert torch.equal(value, resumed.state()[name]), name


@pytest.mark.parametrize(
    ("change", "terms"),
    [
        ({}, {"sds", "entropy", "variation"}),
        ({"entropy": 0.0, "variation": 0.0, "views": "perp-neg", "cameras": "paper"}, {"sds"}),
        ({"orientation": 1.0, "opacity": 0.1, "distortion": 0.1, "blob": "cone", "cameras": "threestudio"}, None),
        ({"shading": 1.0, "textureless": 1.0, "background": "random", "views": "nearest", "latent": 1.0}, None),
        ({"weighting": "uniform", "upper_t": (60, 50), "omega": 0.0}, None),
    ],
)
def test_each_option_changes_the_field(
    change: dict[str, object], terms: set[str] | None, bundle: DiffusionBundle
) -> None:
    events: list[object] = []
    scene = draw(METHOD, replace(SMALL, steps=2, **change), bundle, report=events.append)
    expected = {"sds", "entropy", "variation"} | ({"orientation", "opacity", "distortion"} & set(change))
    assert set(stepped(events)[-1].terms) == (terms or expected)
    assert all(math.isfinite(value) for value in stepped(events)[-1].terms.values())
    assert torch.isfinite(scene.state()["values"]).all()
    if change:
        plain = draw(METHOD, replace(SMALL, steps=2), bundle)
        assert not torch.equal(plain.state()["values"], scene.state()["values"])


def test_the_schedule_of_shading_is_the_papers() -> None:
    config = replace(preset_config("thesis"), prompt="a cat", render=8)
    draws = generator()
    early = [draw_look(config, 0.99 * ALBEDO_SHARE, draws) for _ in range(50)]
    assert not any(look.light or look.textureless for look in early)
    looks = [draw_look(config, 0.5, draws) for _ in range(600)]
    shaded = [look for look in looks if look.light]
    assert len(shaded) / len(looks) == pytest.approx(0.75, abs=0.055)
    assert sum(look.textureless for look in shaded) / len(shaded) == pytest.approx(0.5, abs=0.075)
    assert not any(look.textureless for look in looks if not look.light)
    for look in shaded[:50]:
        assert look.light is not None
        assert 0.8 * UNIT - 1e-4 <= look.light.position.norm() <= 1.5 * UNIT + 1e-4


def test_distant_cameras_see_the_box_as_icons_show_things() -> None:
    camera = CAMERAS["distant"].draw(1, 64, generator())
    corners = torch.tensor([[0.0, 0.0, 0.0]])
    assert torch.allclose(camera.project(corners)[0], torch.tensor([[[32.0, 32.0]]]), atol=1e-3)
    # At the distance of the middle the frame is 2 wide.
    assert (64 / camera.intrinsics[0, 0] * camera.centres.norm()).item() == pytest.approx(2.0, rel=1e-5)


@pytest.mark.parametrize("kind", ["gaussian", "cone"])
def test_a_new_grid_is_a_ball_of_fog(kind: str) -> None:
    grid = new_grid(kind, 33, generator())
    raw = grid.raw_density()
    # The middle is densest, and the field is alike along all axes.
    assert raw.argmax().item() == (16 * 33 + 16) * 33 + 16
    assert torch.allclose(raw, raw.transpose(0, 2), atol=1e-5)
    assert raw[16, 16, 16] - raw[16, 16, 0] > 1.0
    density = math.exp(5) / UNIT if kind == "gaussian" else math.log1p(math.exp(10.0))
    # Densities by world unit, of which the box has 2, in a grid's own unit, of which it has 64.
    assert torch.nn.functional.softplus(raw[16, 16, 16]).item() == pytest.approx(density / 32, rel=1e-4)
    assert raw_of(torch.zeros(1)).item() == -4.0


def test_steps_are_shared_among_grids() -> None:
    parts = parts_of(replace(SMALL, nodes=73, steps=1000))
    assert [(part.size, part.steps, part.before) for part in parts] == [(37, 300, 0), (55, 350, 300), (73, 350, 650)]
    assert [part.size for part in parts_of(replace(SMALL, nodes=73, steps=1))] == [55]
    for nodes in range(9, 100, 8):
        assert all(DenseGrid.empty(part.size, torch.zeros(4)) for part in parts_of(replace(SMALL, nodes=nodes)))


def test_a_step_repeats_itself(bundle: DiffusionBundle) -> None:
    config = replace(SMALL, shading=1.0, orientation=1.0)
    teacher = Teacher.of(config, bundle, generator())
    scene = new_grid("gaussian", 17, generator())
    one, two = (terms_of(config, teacher, scene, 0.5, generator(3)) for _ in range(2))
    assert {name: value.item() for name, value in one.items()} == {name: value.item() for name, value in two.items()}
    picture, shown = seen(
        scene, draw_look(config, 0.5, generator()), draw_look(config, 0.5, generator()).rays(), normals=False
    )
    assert picture.shape == (1, 3, 16, 16)
    assert shown.normal is not None


def test_the_prompt_is_encoded_once(bundle: DiffusionBundle) -> None:
    views = Teacher.of(replace(SMALL, views="nearest"), bundle, generator()).prompt
    assert views.texts[0].startswith("a red apple, front view")
    assert len(views.texts) == 4
    assert len(Teacher.of(SMALL, bundle, generator()).prompt.texts) == 1


def test_names_and_presets() -> None:
    assert [stem(Config(prompt=prompt)) for prompt in ("a", "The old man", "?!")] == ["a", "old-man", "object"]
    assert checked(METHOD, Config(prompt=" a cat ")).prompt == "a cat"
    thesis = preset_config("thesis")
    assert (thesis.steps, thesis.omega, thesis.upper_t, thesis.cameras) == (15_000, 100.0, (980, 980), "paper")
    assert preset_config("none such") == Config()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected a few words"),
        (["  "], "expected a few words"),
        (["a\ncat"], "one line of printable text"),
        (["x" * 501], "at most 500 characters"),
        (["a cat " * 20], "tokens"),
        (["a cat", "--nodes", "98"], "a multiple of 8 and one more, such as 97"),
        (["a cat", "--steps", "0"], "steps"),
        (["a cat", "--lower-t", "400"], "at most --upper-t, 300"),
        (["a cat", "--shading", "1.5"], "shading"),
        (["a cat", "--out", "x.obj"], "GLB"),
    ],
)
def test_mistakes_are_named(
    words: list[str], message: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        main([*words, "--bundle", str(folder)])
    assert list(tmp_path.iterdir()) == []
