"""Photos to 3D: the method on the example capture, small."""

import json
import math
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from runtime.command.method import draw
from runtime.errors import UserError
from runtime.field.cameras import Rays
from runtime.field.fields.grid import EMPTY, DenseGrid, GridAdam
from runtime.field.fields.neural import NeuralField
from runtime.field.pictures import look
from runtime.field.quality import psnr
from runtime.field.training_views import Batch, TrainingViews
from runtime.field.volume import Rendering
from runtime.loop.events import Event, Note, Stepped
from runtime.loop.signals import StoppedRun
from runtime.nerf import METHOD, Config, collapse, grid_stages, main
from runtime.nerf.config import check, preset_config, stem
from runtime.nerf.fields import new_field
from runtime.nerf.grid_stages import grid_sizes
from runtime.nerf.judges.random_views import RandomViews
from runtime.nerf.judges.semantic import PARTS, Semantics
from runtime.nerf.losses import alpha_error, background_of, photometric
from runtime.nerf.network_stages import network_stages
from runtime.nerf.output import figures_of
from runtime.nerf.scenes import Split, box
from runtime.nerf.tools import render
from runtime.nerf.tools.runs import load_run
from runtime.pictures import write_png

CAPTURE = Path(__file__).parents[2] / "benchmarks" / "capture"

SIDE = 20
"""Of the semantic loss's pictures."""

SMALL = Config(capture=CAPTURE, views=6, size=24, steps=60, rays=600, nodes=33)


def test_a_field_is_fitted_to_pictures_that_it_has_not_seen() -> None:
    events = []
    scene = draw(METHOD, replace(SMALL, steps=120), report=events.append)
    assert isinstance(scene, DenseGrid)
    assert scene.size == 33
    notes = [event.text for event in events if isinstance(event, Note)]
    assert any("6 pictures of 24 x 24 to train on" in note for note in notes)
    steps = [event for event in events if isinstance(event, Stepped)]
    assert len(steps) == 120
    assert steps[-1].terms["colour"] < 0.1 * steps[0].terms["colour"]
    assert {"colour", "alpha", "variation"} <= set(steps[0].terms)
    figures = figures_of(SMALL, scene, Split.of(SMALL))
    assert figures["measured_on"] == "held-out pictures"
    # A white picture has 9 dB here, the mean colour 12.
    assert figures["psnr"] > 18


@pytest.mark.usefixtures("small_films")
def test_the_command_writes_three_files_and_the_same_bytes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [str(CAPTURE), "--views", "4", "--size", "16", "--steps", "20", "--nodes", "17", "--rays", "300", "--quiet"]
    assert main([*words, "--out", "a.glb"]) == 0
    config = Config(capture=CAPTURE, views=4, size=16, steps=20, nodes=17, rays=300)
    METHOD.write(config, None, draw(METHOD, config), tmp_path / "b.glb")
    for suffix in (".glb", ".mp4", ".json"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    figures = json.loads((tmp_path / "a.json").read_text())
    assert len(figures["pictures"]) == 20
    assert math.isclose(figures["psnr"], sum(row["psnr"] for row in figures["pictures"]) / 20)
    assert (tmp_path / "runs" / "a" / "snapshots").is_dir()


@pytest.mark.parametrize("field", ["dense", "hashed", "hashed-network"])
def test_a_cut_run_ends_in_the_same_field(field: str, tmp_path: Path) -> None:
    # Hashed grids are slower; the cut comes behind their first look at what is empty.
    steps, cut = (60, 37) if field == "dense" else (30, 27)
    config = replace(SMALL, field=field, steps=steps)
    whole = draw(METHOD, config)
    stop = threading.Event()
    seen = []

    def report(event: object) -> None:
        if isinstance(event, Stepped):
            seen.append(event)
            if len(seen) == cut:
                stop.set()

    with pytest.raises(StoppedRun):
        draw(METHOD, config, run=tmp_path / "run", report=report, stop=stop)
    resumed = draw(METHOD, config, run=tmp_path / "run")
    for name, value in whole.state().items():
        assert torch.equal(value, resumed.state()[name]), name


def test_grids_go_from_coarse_to_fine() -> None:
    assert grid_sizes(113) == [29, 57, 113]
    assert grid_sizes(33) == [9, 17, 33]
    assert grid_sizes(9) == [9]
    views = TrainingViews.of(Split.of(SMALL).capture, [0, 1])
    stages = grid_stages.grid_stages(replace(SMALL, nodes=113, steps=500), views)
    assert [stage.steps for stage in stages] == [80, 200, 220]
    assert math.isclose(stages[0].lr_factor(0), 1.0)
    assert math.isclose(stages[2].lr_factor(220), 0.1)
    assert math.isclose(stages[1].lr_factor(0), stages[0].lr_factor(80))


def test_pixels_have_two_rays_where_they_are_wider_than_nodes_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(SMALL, size=24, nodes=33, steps=3)
    views = TrainingViews.of(Split.of(config).capture, [0, 1])
    assert 2 / 32 < views.pixel_width < 2 / 16
    asked = []

    def terms(*arguments: object, pairs: bool) -> dict[str, torch.Tensor]:
        asked.append(pairs)
        return {}

    monkeypatch.setattr(grid_stages, "fitting_terms", terms)
    scene = DenseGrid.empty(9, box())
    for stage in grid_stages.grid_stages(config, views):
        assert stage.loss is not None
        scene = stage.begin(scene, torch.Generator())
        stage.loss(scene, 0, torch.Generator())
    assert asked == [False, False, True]


def test_losses() -> None:
    rays = Rays(torch.zeros(2, 3), torch.zeros(2, 3))
    batch = Batch(rays, torch.tensor([[0.5, 0, 0], [0, 0, 0]]), torch.tensor([0.5, 0.0]), torch.zeros(2))
    shown = Rendering(torch.zeros(2, 3), torch.tensor([1.0, 0.5]), torch.zeros(2), torch.zeros(2))
    white = background_of(SMALL, 2, torch.Generator())
    # Before white: (1, .5, .5) and white are wanted, white and half grey are shown.
    assert math.isclose(photometric(shown, batch, white).item(), (2 * 0.25 + 3 * 0.25) / 6, rel_tol=1e-6)
    assert math.isclose(alpha_error(shown, batch).item(), (0.25 + 0.25) / 2 / 3, rel_tol=1e-6)
    assert background_of(replace(SMALL, background="black"), 2, torch.Generator()).max() == 0
    assert background_of(replace(SMALL, background="random"), 5, torch.Generator()).shape == (5, 3)


@pytest.mark.parametrize("preset", ["nerf", "simplified"])
def test_the_thesis_networks_learn(preset: str) -> None:
    config = replace(preset_config(preset), capture=CAPTURE, views=3, size=8, rays=48, anneal=0.5)
    views = TrainingViews.of(Split.of(config).capture, [0])

    def error(steps: int) -> float:
        scene = draw(METHOD, replace(config, steps=steps))
        assert isinstance(scene, NeuralField)
        assert (scene.fine is None) is (preset == "simplified")
        shown = look(scene.render, views.cameras, samples=1).on(1.0)
        return -psnr(shown, views.picture(0)[..., :3] + 1 - views.picture(0)[..., 3:])

    assert error(12) < error(1)


def test_a_learning_rate_takes_the_place_of_the_tables() -> None:
    config = replace(preset_config("simplified"), capture=CAPTURE, views=3, size=8, rays=16)
    views = TrainingViews.of(Split.of(config).capture, [0, 1, 2])

    def lr(value: float | None) -> float:
        stage = network_stages(replace(config, lr=value), views)[0]
        assert stage.optimizer is not None
        return stage.optimizer(stage.begin(None, torch.Generator())).param_groups[0]["lr"]

    assert (lr(None), lr(5e-4)) == (5e-5, 5e-4)


def test_presets_have_the_thesis_options() -> None:
    nerf, simplified, diet = (preset_config(name) for name in ("nerf", "simplified", "diet"))
    assert (nerf.steps, nerf.rays, nerf.view_dependent, nerf.encoder) == (200_000, 1024, True, None)
    assert not simplified.view_dependent
    assert (diet.encoder, diet.semantic) == ("icons", 0.1)


def test_semantics_draw_pictures_from_around() -> None:
    views = TrainingViews.of(Split.of(SMALL).capture, [0, 1, 2])

    def encode(images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))

    distances = views.cameras.centres.norm(dim=1)
    semantics = Semantics(
        encode=encode,
        input_side=32,
        targets=torch.eye(3),
        side=SIDE,
        views=RandomViews.of(views, SIDE),
        gate=1.0,
    )
    rays, target = semantics.draw(torch.Generator().manual_seed(0))
    assert rays.origins.shape == (SIDE * SIDE, 3)
    assert rays.origins[0, 2] >= 0
    assert distances.min() - 1e-4 <= rays.origins[0].norm() <= distances.max() + 1e-4
    assert 0 <= target < 3
    colour = torch.zeros(SIDE * SIDE, 3)
    colour[:, 1] = 1.0
    assert math.isclose(semantics.loss(colour, 1).item(), 0.0, abs_tol=1e-6)
    assert math.isclose(semantics.loss(colour, 0).item(), 1.0, abs_tol=1e-6)
    due = [step for step in range(1000) if semantics.due(step, 1000)]
    assert due == list(range(int(PARTS[0] * 1000), int(PARTS[1] * 1000), 10))


def test_cameras_between_photos_look_as_those_do() -> None:
    views = TrainingViews.of(Split.of(SMALL).capture, [0, 1, 2])
    semantics = Semantics.asked(replace(SMALL, encoder="icons", semantic_size=8, semantic_cameras="between"), views)
    assert semantics is not None
    centres, generator = views.cameras.centres, torch.Generator().manual_seed(0)
    drawn = torch.stack([semantics.draw(generator)[0].origins[0] for _ in range(50)])
    # Within the triangle of three centres: barycentric coordinates are none below 0 and sum to 1.
    shares = torch.linalg.solve(
        torch.cat([centres.T, torch.ones(1, 3)])[[0, 1, 3]], torch.cat([drawn.T, torch.ones(1, 50)])[[0, 1, 3]]
    )
    assert shares.min() > -1e-4
    assert torch.allclose(shares.T @ centres, drawn, atol=1e-4)
    assert Semantics.asked(SMALL, views) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected a folder or a file"),
        (["nowhere"], "expected a capture, got nothing of that name"),
        ([str(CAPTURE), "--views", "1"], "expected at least two pictures"),
        ([str(CAPTURE), "--views", "99"], "expected 1 to"),
        ([str(CAPTURE), "--convention", "opencv"], "expected cameras that see the scene's box, got none"),
        ([str(CAPTURE), "--nodes", "100"], "a multiple of 8 and one more, such as 97"),
        ([str(CAPTURE), "--steps", "0"], "steps"),
        ([str(CAPTURE), "--encoder", "nothing"], "expected the name of an installed bundle"),
        ([str(CAPTURE), "--out", "x.obj"], "GLB"),
        ([str(CAPTURE), "--prior", "objects"], "prompt: expected a few words"),
        ([str(CAPTURE), "--prior", "nothing", "--prompt", "a robot"], "expected the name of an installed bundle"),
        ([str(CAPTURE), "--prior", "icons", "--prompt", "a robot", "--front", "0"], "a bundle that knows cameras"),
        ([str(CAPTURE), "--prior", "objects", "--prompt", "a robot", "--preset", "nerf"], "--preset fast only"),
        ([str(CAPTURE), "--prior", "pixelnerf", "--prompt", "a robot"], "--prompt: expected with a diffusion model"),
        ([str(CAPTURE), "--prior", "pixelnerf", "--front", "0"], "--front: expected with a diffusion model"),
        ([str(CAPTURE), "--prior", "mnist"], "expected a bundle for pixelnerf or diffusion, got 'mnist' for lmconv"),
        ([str(CAPTURE), "--prior", "pixelnerf", "--guess", "-1"], "guess"),
        ([str(CAPTURE), "--hull", "--preset", "nerf"], "--hull: expected with --preset fast only"),
        ([str(CAPTURE), "--hull", "--field", "hashed"], "--hull: expected with --field dense only"),
    ],
)
def test_mistakes_are_named(words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        main(words)
    assert list(tmp_path.iterdir()) == []


def test_a_preset_that_is_none_ends_in_a_line_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(CAPTURE), "--preset", "nope"])
    assert ended.value.code == 2
    assert "nope" in "".join(capsys.readouterr())


def test_names_of_captures() -> None:
    assert stem(Config(capture=Path("x/garden/transforms.json"))) == "garden"
    assert stem(Config(capture=CAPTURE)) == "capture"
    assert stem(Config(capture=Path("x/lego.npz"))) == "lego"
    assert check(SMALL) is SMALL


def test_inspect_lists_cameras(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(CAPTURE), "--rows", "5"]) == 0
    lines = capsys.readouterr().out
    assert "transforms.json: 24 pictures, with alpha" in lines
    assert "% meet the box" in lines
    with pytest.raises(UserError, match="expected a folder or a file"):
        main(["inspect"])


def test_a_run_is_filmed_along_any_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw(METHOD, replace(SMALL, steps=20, nodes=17, size=12), run=tmp_path / "run")
    for path, count in (("orbit", 3), ("spiral", 3), ("test", 18), ("interpolate", 3)):
        words = ["render", "run", "--path", path, "--frames", "3", "--size", "8", "--depth", "--normals"]
        assert main(words) == 0
        scene, split = load_run(tmp_path / "run")
        config = render.Config(run=Path("run"), path=path, frames=3, size=8)  # pyright: ignore[reportArgumentType]
        assert len(render.cameras_of(config, split)) == count
        assert (tmp_path / f"run-{path}.mp4").stat().st_size > 500
    pictures = list(
        render.frames(replace(config, depth=True, normals=True), scene, split.capture.cameras[0].scaled(1 / 3))
    )
    assert pictures[0].shape[2] == 3 * pictures[0].shape[1]
    with pytest.raises(UserError, match="no run is here"):
        main(["render", "nowhere"])


def test_a_runs_mesh_is_written_in_each_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    draw(METHOD, replace(SMALL, steps=40, nodes=17, size=16), run=tmp_path / "run")
    for name, files in (("a.obj", ("a.obj", "a.mtl", "a.png")), ("b.ply", ("b.ply",)), ("c.glb", ("c.glb",))):
        assert main(["mesh", "run", "--out", name]) == 0
        assert all((tmp_path / file).stat().st_size > 20 for file in files)
    assert "watertight: " in capsys.readouterr().out
    assert main(["mesh", "run", "--out", "d.ply", "--level", "-1"]) == 0
    assert "level: -1.0" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"ends on \.glb, \.obj, \.ply"):
        main(["mesh", "run", "--out", "x.stl"])
    with pytest.raises(UserError, match=r"a\.obj"):
        main(["mesh", "run", "--out", "a.obj"])


def constant(density: float) -> NeuralField:
    """Return a network whose density is one number everywhere."""
    torch.manual_seed(0)
    scene = NeuralField(frequencies=2, view_directions=True, coarse=8, fine=0)
    torch.nn.init.zeros_(scene.coarse.density.weight)
    torch.nn.init.constant_(scene.coarse.density.bias, density)
    return scene


def test_collapsed_networks_are_seen_and_begin_anew() -> None:
    views = TrainingViews.of(Split.of(SMALL).capture, [0])
    assert collapse.collapse_of(constant(0.0), views) == "the field is empty"
    assert collapse.collapse_of(constant(100.0), views) == "the field is full"
    opaque = replace(views, has_alpha=False)
    assert collapse.collapse_of(constant(100.0), opaque) == "fog lies before the cameras"
    assert collapse.collapse_of(constant(0.0), opaque) is None
    # A fifth of the light passes: neither empty nor full.
    assert collapse.collapse_of(constant(0.5), views) is None
    config = replace(preset_config("simplified"), capture=CAPTURE)
    scene = new_field(config, 1)
    optimizer = torch.optim.Adam(scene.parameters(), lr=1e-3)
    before = {name: value.clone() for name, value in scene.state().items()}
    for p in scene.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    collapse.begin_anew(config, scene, optimizer, 7)
    assert not optimizer.state
    assert not any(torch.equal(value, before[name]) for name, value in scene.state().items() if value.dim() > 1)
    again = new_field(config, 2)
    collapse.begin_anew(config, again, optimizer, 7)
    assert all(torch.equal(value, again.state()[name]) for name, value in scene.state().items())


def test_collapsed_grids_are_seen_and_begin_anew_from_another_fog() -> None:
    views = TrainingViews.of(Split.of(SMALL).capture, [0])
    opaque = replace(views, has_alpha=False)

    def fog(density: float) -> DenseGrid:
        return DenseGrid.empty(17, box(), density=density)

    assert collapse.collapse_of(fog(-20.0), views) == collapse.IS_EMPTY
    assert collapse.collapse_of(fog(300.0), views) == collapse.IS_FULL
    assert collapse.collapse_of(fog(300.0), opaque) == collapse.IS_FOG
    assert collapse.collapse_of(fog(EMPTY), opaque) is None
    for problem, density in ((collapse.IS_EMPTY, collapse.DENSER), (collapse.IS_FULL, collapse.THINNER)):
        scene = fog(300.0)
        scene.occupied.zero_()
        optimizer = GridAdam(scene, lr=0.3, colour_lr=0.03)
        optimizer.zero_grad()
        optimizer.step()
        collapse.fog_again(scene, optimizer, problem)
        assert not optimizer.state and scene.occupied.all() and len(scene.active) == 17**3
        assert scene.raw_density().eq(density).all()


def test_a_fit_whose_grid_has_collapsed_says_so_and_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = []
    monkeypatch.setattr(grid_stages, "collapse_of", lambda scene, views: collapse.IS_EMPTY)
    config = replace(SMALL, steps=25, nodes=33)
    draw(METHOD, config, report=events.append)
    notes = [event.text for event in events if isinstance(event, Note)]
    assert "step 2: the field is empty, so it begins anew from another fog" in notes
    later = [note for note in notes if note.endswith("`inspect` shows whether cameras and box are right")]
    assert [note.split(":")[0] for note in later] == ["step 4", "step 14", "step 25"]


def test_a_changed_capture_is_not_resumed(tmp_path: Path) -> None:
    capture = tmp_path / "capture"
    shutil.copytree(CAPTURE, capture)
    config = replace(SMALL, capture=capture, steps=6, nodes=17)
    draw(METHOD, config, run=tmp_path / "run")
    draw(METHOD, config, run=tmp_path / "run")
    name = Split.of(config).capture.names[Split.of(config).train[0]]
    picture = capture / name
    write_png(picture, torch.zeros(3, 128, 128))
    with pytest.raises(UserError, match="photos or cameras have changed since the run"):
        draw(METHOD, config, run=tmp_path / "run")


def test_a_grid_that_is_too_large_for_the_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.nerf.stages.machine_memory", lambda: 2**30)
    METHOD.validate(SMALL, None)
    with pytest.raises(UserError, match=r"--nodes 513: such a grid takes 16.1 GiB of memory, and this machine has 1.0"):
        METHOD.validate(replace(SMALL, nodes=513), None)
    monkeypatch.setattr("runtime.nerf.stages.machine_memory", lambda: None)
    METHOD.validate(replace(SMALL, nodes=513), None)


def test_what_was_trained_on_is_measured_on_some_pictures() -> None:
    config = replace(SMALL, views=None, size=8)
    split = Split.of(config)
    many = replace(split, train=split.train * 4)
    figures = figures_of(config, DenseGrid.empty(9, torch.tensor([-1.0, -1, -1, 2])), many)
    assert figures["measured_on"] == "pictures that were trained on"
    assert len(figures["pictures"]) == 24  # every fourth of 96
