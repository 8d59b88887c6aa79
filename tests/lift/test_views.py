"""The route by all sides on tiny bundles: what is asked of which network, and which route a prompt takes."""

import math
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from export.pixelnerf import write_pixelnerf
from runtime.command.method import draw
from runtime.engines.bundle import DiffusionBundle, PixelNeRFBundle
from runtime.errors import UserError
from runtime.field.fields.grid import DenseGrid
from runtime.guidance import samples
from runtime.lift import METHOD, Config, main
from runtime.lift.route import chosen_route, load_sides, noun_of
from runtime.lift.stages import FOCAL, Held
from runtime.lift.views import guessing, load_teacher, premultiplied
from runtime.loop.events import Note, Stepped
from runtime.loop.optimize import generator_of
from runtime.loop.signals import StoppedRun
from runtime.pictures import write_png
from tests.bundles import make_camera_bundle
from tests.field.lifting.pictures import RED, disc, painted
from tests.pixelnerf.small import small_network


@pytest.fixture(scope="module")
def folders(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return folders of a teacher that knows cameras and of a network that knows all sides of apples."""
    folder = tmp_path_factory.mktemp("sides")
    shutil.copytree(tiny_folder, folder / "tiny")
    write_pixelnerf(small_network(), folder / "pixelnerf", lambda line: None, kinds=("apple", "tree"))
    return make_camera_bundle(folder / "seen", folder / "tiny"), folder / "pixelnerf"


@pytest.fixture
def config(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr(samples, "SAMPLER_STEPS", 2)
    teacher, sides = map(str, folders)
    return Config(
        prompt="a red apple", teacher=teacher, sides=sides, nodes=33, render=16, refine=3, samples=2, seen_from=(90, 0)
    )


@pytest.fixture(scope="module")
def tiny_one(tiny_folder: Path) -> DiffusionBundle:
    return DiffusionBundle.load(str(tiny_folder))


def ball(*arguments: object, **options: object) -> torch.Tensor:
    """Stand for the sampler: a red ball left of the middle, before a background that is nearly white."""
    return painted((disc(24, side=128, column=44), RED), background=0.98)


@pytest.mark.parametrize(
    ("text", "noun"),
    [
        ("a pine tree", "tree"),
        ("A Pine Tree with snow on it", "tree"),
        ("two-legged robot, soft shaded icon", "robot"),
        ("a chest full of gold", "chest"),
        ("café", "café"),
        ("the king of hearts", "king"),
        ("42", ""),
        ("with snow", ""),
    ],
)
def test_the_noun_is_the_last_word_before_what_describes_it(text: str, noun: str) -> None:
    assert noun_of(text) == noun


def test_auto_takes_views_for_the_kinds_that_the_network_has_seen(config: Config) -> None:
    sides, notes = load_sides(config), []
    assert sides is not None
    assert sides.manifest.kinds == ("apple", "tree")
    for prompt, route in (("an apple", "views"), ("a fir tree in winter", "views"), ("an apple pie", "inflate")):
        assert chosen_route(replace(config, prompt=prompt), sides, notes.append) == route
    assert [event.text.split(":")[0] for event in notes] == [
        f"pixelnerf has seen things called '{noun}' from all sides" for noun in ("apple", "tree")
    ]
    assert chosen_route(replace(config, route="inflate"), sides) == "inflate"
    assert chosen_route(replace(config, prompt="a penguin", route="views"), sides) == "views"
    # Without the network, and for a photo, which it was not trained on, the front alone is used.
    assert chosen_route(config, None) == "inflate"
    assert chosen_route(replace(config, prompt="apple.png"), sides) == "inflate"
    # A larger model keeps its pictures; the teacher's own bundle is as good as the default.
    assert chosen_route(replace(config, bundle="bundles/sd15"), sides) == "inflate"
    assert chosen_route(replace(config, bundle=config.teacher), sides) == "views"
    assert load_sides(replace(config, sides="nowhere")) is None
    assert load_sides(replace(config, route="inflate")) is None


def test_the_installed_network_knows_the_kinds_of_its_set() -> None:
    kinds = PixelNeRFBundle.load("pixelnerf").manifest.kinds
    assert {"car", "bench", "fox", "spaceship", "tree", "fridge"} <= set(kinds)
    assert not {"penguin", "elephant", "a", "half", "two"} & set(kinds)
    assert list(kinds) == sorted(set(kinds))


def test_a_picture_keeps_its_place_and_gets_a_soft_outline() -> None:
    small = premultiplied(ball(), 32)
    assert small.shape == (4, 32, 32)
    # The ball's middle is at 44 of 128 pixels, its radius 24.
    weight = small[3] / small[3].sum()
    assert float((weight.sum(0) * (torch.arange(32) + 0.5)).sum()) == pytest.approx(44.5 / 4, abs=0.2)
    assert float(small[3].sum()) == pytest.approx(math.pi * 24**2 / 16, rel=0.05)
    assert ((small[3] > 0) & (small[3] < 1)).any()
    assert (small[:3] <= small[3] + 1e-6).all()


def test_a_network_fills_the_grid_where_the_picture_has_the_object(config: Config) -> None:
    sides = load_sides(config)
    assert sides is not None
    begin = guessing(config, ball(), sides).begin
    scene = begin(None, generator_of(0, 0, 0, "lift"))
    assert isinstance(scene, DenseGrid)
    # Seen from the right (+y), what is left in the picture is in front, which is +x; nothing is outside the cone.
    dense = scene.raw_density() > -4
    assert dense.any()
    places = torch.linspace(-1, 1, 33)[dense.nonzero()[:, 0]]
    assert float(places.mean()) > 0.2
    assert float(places.min()) > -0.2


def test_the_picture_is_held_from_where_it_was_drawn() -> None:
    held = Held(ball(), (math.pi / 2, 0.0), 1.9, around=True)
    assert torch.allclose(held.camera.poses[0, :3, 3], torch.tensor([0.0, 4.0, 0.0]), atol=1e-5)
    assert float(held.camera.intrinsics[0, 0]) == pytest.approx(1.9 * 128)
    # All but the ring of three pixels inside the outline; the background is white, not the sample's grey.
    ring = math.pi * (24**2 - 21**2)
    assert len(held.pixels) == pytest.approx(128**2 - ring, rel=0.02)
    assert set(held.colours.unique().tolist()) >= {1.0}
    assert not torch.isclose(held.colours, torch.tensor(0.98)).any()
    assert Held(ball()).focal == FOCAL


def test_a_run_by_views_draws_by_the_teacher_and_a_cut_one_ends_in_the_same_field(
    config: Config, tiny_one: DiffusionBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def sampled(bundle: DiffusionBundle, prompt: object, *arguments: object, **options: object) -> torch.Tensor:
        asked.append((bundle.name, prompt))
        return ball()

    monkeypatch.setattr("runtime.lift.stages.sample_or_read", sampled)
    whole = draw(METHOD, config, tiny_one)
    (name, prompt), *_ = asked
    assert name == "seen"
    # Without the suffix of icons, and from the camera of --seen-from: azimuth, elevation, 1.
    assert prompt.texts == ("a red apple",)
    assert prompt.context[0, -1, :3].tolist() == pytest.approx([math.pi / 2, 0.0, 1.0])
    stop, events = threading.Event(), []

    def report(event: object) -> None:
        events.append(event)
        if isinstance(event, Stepped) and event.stage == "refine" and event.step == 1:
            stop.set()

    with pytest.raises(StoppedRun):
        draw(METHOD, config, tiny_one, run=tmp_path / "run", report=report, stop=stop)
    assert any(isinstance(event, Note) and "--route views" in event.text for event in events)
    resumed = draw(METHOD, config, tiny_one, run=tmp_path / "run")
    for key, value in whole.state().items():
        assert torch.equal(value, resumed.state()[key]), key


def test_a_sample_is_drawn_by_the_teacher(config: Config, folders: tuple[Path, Path]) -> None:
    # A bundle that knows cameras itself needs no other teacher.
    bundle = DiffusionBundle.load(folders[0])
    assert load_teacher(replace(config, teacher="nowhere"), bundle) is bundle
    try:
        scene = draw(METHOD, replace(config, teacher="nowhere", refine=0), bundle)
    except UserError as error:
        assert "empty sample" in str(error)  # what random networks draw may be nothing
    else:
        assert isinstance(scene, DenseGrid)


def test_a_photo_takes_the_route_when_asked(config: Config, tiny_one: DiffusionBundle, tmp_path: Path) -> None:
    write_png(tmp_path / "ball.png", ball())
    photo = replace(config, prompt=str(tmp_path / "ball.png"), refine=2)
    inflated, guessed = draw(METHOD, photo, tiny_one), draw(METHOD, replace(photo, route="views"), tiny_one)
    assert isinstance(inflated, DenseGrid)
    assert isinstance(guessed, DenseGrid)
    assert not torch.equal(inflated.values, guessed.values)
    events = []
    draw(METHOD, replace(photo, route="views", caption="a red apple"), tiny_one, report=events.append)
    assert sum(isinstance(event, Stepped) and event.stage == "refine" for event in events) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--route", "views", "--sides", "nowhere"], "--sides: .*nowhere"),
        (["--route", "views", "--sides", "icons"], "--sides: "),
        (["--route", "views", "--teacher", "nowhere"], "--teacher: .*nowhere.*--route inflate"),
        (
            ["--route", "views", "--teacher", "icons"],
            "expected a bundle that knows cameras, such as objects, got 'icons'",
        ),
        (["--seen-from", "30", "90"], "seen"),
    ],
)
def test_mistakes_are_named(
    words: list[str], message: str, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        main(["a chair", *words, "--bundle", str(tiny_folder)])
    assert list(tmp_path.iterdir()) == []
