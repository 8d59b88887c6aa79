"""DreamFusion: the method on a tiny bundle, small."""

import json
import math
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from runtime.command.method import checked, draw
from runtime.dreamfusion import METHOD, Config, main, output
from runtime.dreamfusion.config import preset_config, stem
from runtime.dreamfusion.grid_stages import new_grid, parts_of
from runtime.dreamfusion.looks import ALBEDO_SHARE, CAMERAS, UNIT, draw_look, seen
from runtime.dreamfusion.network import PaperField, covariance_of, paper_options
from runtime.dreamfusion.network_stages import lr_factor
from runtime.dreamfusion.output import Seen
from runtime.dreamfusion.teacher import Teacher
from runtime.dreamfusion.terms import terms_of
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError
from runtime.field.cameras import Rays
from runtime.field.fields import residual
from runtime.field.fields.grid import DenseGrid
from runtime.field.results import Orbit
from runtime.loop.events import Stepped
from runtime.loop.signals import StoppedRun
from tests.bundles import make_camera_bundle
from tests.dreamfusion.cutting import check_cut_run

SMALL = Config(prompt="a red apple", nodes=17, render=16, steps=6)


@pytest.fixture(scope="module")
def bundle(tiny_folder: Path) -> DiffusionBundle:
    return DiffusionBundle.load(str(tiny_folder))


every_frame = Orbit.cameras


@pytest.fixture
def small_files(small_films: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make films and meshes small."""
    monkeypatch.setattr(residual, "NODES", 17)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stepped(events: list[object]) -> list[Stepped]:
    return [event for event in events if isinstance(event, Stepped)]


@pytest.mark.usefixtures("small_files")
def test_the_command_writes_three_files_and_the_same_bytes_again(
    tiny_folder: Path, bundle: DiffusionBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--nodes", "17", "--render", "16", "--steps", "6", "--bundle", str(tiny_folder), "--quiet"]
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
    events = check_cut_run(config, bundle, tmp_path / "run", "grid 13")
    assert [event.stage for event in stepped(events)] == ["grid 9"] * 2 + ["grid 13"] * 2 + ["grid 17"] * 2


@pytest.mark.parametrize(
    ("change", "terms"),
    [
        ({}, {"sds", "entropy", "variation", "solid"}),
        ({"entropy": 0.0, "variation": 0.0, "solid": 0.0, "views": "perp-neg", "cameras": "paper"}, {"sds"}),
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
    expected = {"sds", "entropy", "variation", "solid"} | ({"orientation", "opacity", "distortion"} & set(change))
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
    density = (math.exp(5) - 1) / UNIT if kind == "gaussian" else math.log1p(math.exp(10.0))
    # Densities by world unit, of which the box has 2, in a grid's own unit, of which it has 64.
    assert torch.nn.functional.softplus(raw[16, 16, 16]).item() == pytest.approx(density / 32, rel=1e-4)
    assert raw.min().item() == -6.0


def test_steps_are_shared_among_grids() -> None:
    parts = parts_of(replace(SMALL, nodes=73, steps=1000))
    assert [(part.size, part.steps, part.before) for part in parts] == [(37, 300, 0), (55, 350, 300), (73, 350, 650)]
    assert [part.size for part in parts_of(replace(SMALL, nodes=73, steps=1))] == [55]
    for nodes in range(9, 100, 8):
        assert all(
            DenseGrid.empty(part.size, torch.tensor([-1.0, -1, -1, 2]))
            for part in parts_of(replace(SMALL, nodes=nodes))
        )


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


def test_what_is_inside_is_filled_once_the_shape_is_there(bundle: DiffusionBundle) -> None:
    teacher = Teacher.of(SMALL, bundle, generator())
    scene = new_grid("gaussian", 17, generator())
    early, late = (terms_of(SMALL, teacher, scene, progress, generator(3)) for progress in (0.29, 0.3))
    assert set(late) - set(early) == {"solid"}
    # The ball of fog lets some of the light through.
    assert 0 < late["solid"].item() < 1
    twice = terms_of(replace(SMALL, solid=2.0), teacher, scene, 0.3, generator(3))
    assert twice["solid"].item() == pytest.approx(2 * late["solid"].item())


def test_the_prompt_is_encoded_once(bundle: DiffusionBundle) -> None:
    views = Teacher.of(replace(SMALL, views="nearest"), bundle, generator()).prompt
    assert views.texts[0].startswith("a red apple, front view")
    assert len(views.texts) == 4
    assert len(Teacher.of(SMALL, bundle, generator()).prompt.texts) == 1


def test_cameras_are_for_bundles_that_know_them(bundle: DiffusionBundle, tiny_folder: Path, tmp_path: Path) -> None:
    config = replace(SMALL, views="camera", latent=0.0)
    with pytest.raises(UserError, match="--views camera: expected a bundle that knows cameras, such as objects, got "):
        Teacher.of(config, bundle, generator())
    shutil.copytree(tiny_folder, tmp_path / "tiny")
    seeing = DiffusionBundle.load(make_camera_bundle(tmp_path / "seen", tmp_path / "tiny"))
    teacher = Teacher.of(config, seeing, generator())
    contexts: list[torch.Tensor] = []

    def watched(z: torch.Tensor, t: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        contexts.append(context)
        return teacher.denoise(z, t, context)

    look = draw_look(config, 0.5, generator())
    replace(teacher, denoise=watched).loss(torch.zeros(1, 3, 16, 16), look, 0.5, generator())
    azimuth, elevation = look.angles
    assert contexts[0].shape == (2, 18, 384)  # the text's and the empty text's, from the same place
    assert torch.equal(contexts[0][:, -1, :3], torch.tensor([[azimuth, elevation, 1.0]]).expand(2, 3))


def test_a_shell_of_fog_has_the_colours_that_are_seen() -> None:
    size = 33
    axis = torch.linspace(-1, 1, size)
    radius = (axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2).sqrt()
    values = torch.zeros(size, size, size, 1, 4)
    # Faint fog around an opaque red ball, green from a little farther out.
    values[..., 0, 0] = torch.where(radius < 0.5, 6.0, torch.where(radius < 0.75, -5.0 - 4 * (radius - 0.5), -12.0))
    values[..., 0, 1] = (radius < 0.6).float()
    values[..., 0, 2] = (radius >= 0.6).float()
    grid = DenseGrid(values, torch.ones(16, 16, 16, dtype=torch.uint8), torch.tensor([-1.0, -1, -1, 2]))
    points = 0.7 * torch.nn.functional.normalize(torch.randn(40, 3, generator=generator()), dim=1)
    assert grid.colour_at(points)[:, 0].mean() < 0.5
    seen_there = Seen(grid).colour_at(points)
    assert (seen_there[:, 0] > 0.85).all() and (seen_there[:, 1] < 0.15).all()


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
        (["a cat", "--background", "learned"], "with --preset thesis only"),
        (["a cat", "--out", "x.obj"], "GLB"),
    ],
)
def test_mistakes_are_named(
    words: list[str], message: str, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        main([*words, "--bundle", str(tiny_folder)])
    assert list(tmp_path.iterdir()) == []


# The paper's network

TINY = replace(preset_config("thesis"), prompt="a red apple", render=8, samples=8, steps=4)


@pytest.mark.usefixtures("small_files")
def test_the_thesis_preset_writes_and_resumes_to_the_same_field(
    bundle: DiffusionBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A network takes minutes for what a grid shows in a second.
    monkeypatch.setattr(Orbit, "cameras", lambda around: every_frame(replace(around, frames=2, side=16)))
    monkeypatch.setattr(output, "pictures_around", lambda scene, around: torch.ones(2, 3, 128, 128))
    events: list[object] = []
    scene = draw(METHOD, TINY, bundle, report=events.append)
    assert isinstance(scene, PaperField)
    # Shading comes and goes by chance; orientation and opacity are always there.
    assert set(stepped(events)[-1].terms) == {"sds", "orientation", "opacity"}
    files = METHOD.write(TINY, bundle, scene, tmp_path / "apple.glb")
    assert [file.name for file in files] == ["apple.glb", "apple.mp4", "apple.json"]
    stop = threading.Event()

    def report(event: object) -> None:
        if isinstance(event, Stepped) and event.step == 2:
            stop.set()

    with pytest.raises(StoppedRun):
        draw(METHOD, TINY, bundle, run=tmp_path / "run", report=report, stop=stop)
    resumed = draw(METHOD, TINY, bundle, run=tmp_path / "run")
    for name, value in scene.state().items():
        assert torch.equal(value, resumed.state()[name]), name


def test_magic3ds_blob_and_a_white_background_do_as_well(bundle: DiffusionBundle) -> None:
    scene = draw(METHOD, replace(TINY, steps=1, blob="cone", background="white"), bundle)
    assert isinstance(scene, PaperField)
    assert scene.options.density == "softplus"


@pytest.mark.parametrize("kind", ["gaussian", "cone"])
def test_the_papers_field_begins_as_its_blob(kind: str) -> None:
    field = PaperField(paper_options(8, kind), generator())
    with torch.no_grad():
        for parameter in field.network.get_submodule("last").parameters():
            parameter.zero_()
    distances = torch.tensor([0.0, 0.3, 0.6])
    points = torch.stack([distances, torch.zeros(3), torch.zeros(3)], 1)
    if kind == "gaussian":
        expected = (5 * torch.exp(-(distances / UNIT).square() / (2 * 0.2**2))).exp()
    else:
        expected = torch.nn.functional.softplus(10 * (1 - distances / 0.5))
    assert torch.allclose(field.density_at(points), expected, rtol=2e-3)


def test_waves_fade_by_the_covariance_alone() -> None:
    field = PaperField(paper_options(8, "gaussian"), generator())
    directions = torch.nn.functional.normalize(torch.randn(2, 3, generator=generator()), dim=1)
    cones = torch.rand(2, 5, generator=generator())
    found = field.variances(directions, cones, cones)
    # Of the Gaussian N(m, s I) the wave of frequency b has the variance s |b|^2: 2^l along one axis.
    expected = covariance_of(0.0) * torch.tensor([4.0**level for level in range(8) for _ in range(3)])
    assert torch.allclose(found, expected.expand(10, 24))
    assert torch.equal(field.point_variance(), found[0])


def test_the_covariance_falls_in_a_third_of_the_steps() -> None:
    found = [covariance_of(progress) / UNIT**2 for progress in (0, 1 / 6, 1 / 3, 1)]
    assert found == pytest.approx([5e-2, 2.6e-2, 2e-3, 2e-3])


def test_the_learning_rate_warms_up_and_falls_by_a_cosine() -> None:
    found = [lr_factor(progress) for progress in (0, 0.1, 0.2, 0.6, 1)]
    assert found == pytest.approx([1e-5, 0.5, 1.0, 0.505, 0.01], rel=1e-4)


def test_the_background_is_a_function_of_the_direction() -> None:
    field = PaperField(paper_options(8, "gaussian"), generator())
    directions = torch.nn.functional.normalize(torch.randn(6, 3, generator=generator()), dim=1)
    one, two = (field.backdrop(Rays(origins, directions)) for origins in (torch.zeros(6, 3), torch.ones(6, 3)))
    assert torch.equal(one, two)
    assert one.min() >= 0 and one.max() <= 1
    look = draw_look(replace(TINY, shading=0.0), 0.0, generator())
    picture, shown = seen(field, look, look.rays(), normals=False)
    picture.sum().backward()
    assert all(parameter.grad is not None for parameter in field.back.parameters())
    assert shown.normal is None


def test_two_networks_of_a_seed_are_alike() -> None:
    one, two, other = (PaperField(paper_options(8, "gaussian"), generator(seed)).state() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["back.0.weight"], other["back.0.weight"])
