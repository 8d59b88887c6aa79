"""Text to 3D by an image-text encoder: the method on a tiny bundle, small."""

import json
import math
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from runtime.command.method import checked, draw
from runtime.dreamfields import METHOD, Config, main, preset_config
from runtime.dreamfields.config import PRESETS
from runtime.dreamfields.pixels import Pixels
from runtime.dreamfields.scenes import FOCAL, draw_camera, lr_factor, new_scene, see
from runtime.dreamfields.stages import augmented
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError
from runtime.field.fields.grid import DenseGrid
from runtime.field.fields.residual import ResidualField
from runtime.loop.events import Snapshot, Stepped
from runtime.loop.signals import StoppedRun
from runtime.pictures import read_png


@pytest.fixture(scope="module")
def bundle(tiny_folder: Path) -> DiffusionBundle:
    return DiffusionBundle.load(str(tiny_folder))


def small(field: str = "mlp", **change) -> Config:
    sizes = {"render": 12, "steps": 4, "crops": 2, "samples": 8, "looks": 8, "nodes": 17, "width": 8, "wide": 8}
    return replace(preset_config("fast", field), prompt="a red apple", directions=6, **{**sizes, **change})


def redness(images: torch.Tensor) -> torch.Tensor:
    return images[:, 0].mean((1, 2)) - images[:, 1:].mean((1, 2, 3))


@pytest.fixture
def likes_red(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a formula in the place of the guide: the tiny bundle's encoder has no gradients."""
    monkeypatch.setattr(DiffusionBundle, "guide", lambda self, text, gradients: redness)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("field", "kind", "regularity"),
    [("mlp", ResidualField, set()), ("voxels", DenseGrid, {"variation"}), ("pixels", Pixels, {"variation"})],
)
@pytest.mark.usefixtures("likes_red")
def test_each_scene_is_shaped(field: str, kind: type, regularity: set[str], bundle: DiffusionBundle) -> None:
    events = []
    config = small(field)
    scene = draw(METHOD, config, bundle, report=events.append)
    assert isinstance(scene, kind)
    steps = [event for event in events if isinstance(event, Stepped)]
    assert len(steps) == 4
    assert set(steps[-1].terms) == {"clip", "transmittance"} | regularity
    assert -1 <= steps[-1].terms["clip"] <= 1
    before = new_scene(config, generator())
    assert scene.state().keys() == before.state().keys()
    assert not torch.equal(next(scene.parameters()), next(before.parameters()))


@pytest.mark.parametrize(
    ("change", "terms"),
    [
        ({"sparsity": "none"}, {"clip"}),
        ({"sparsity": "noise"}, {"clip"}),
        ({"sparsity": "beta"}, {"clip", "beta"}),
        ({"sparsity": "gated"}, {"clip"}),
        ({"sparsity": "clipped"}, {"clip"}),
        ({"density": "volsdf"}, {"clip", "transmittance", "eikonal"}),
        ({"network": "plain", "basis": "axes", "ipe": False, "bounds": False}, {"clip", "transmittance"}),
        ({"background": "white", "crop": (1.0, 1.0), "track_origin": False}, {"clip", "transmittance"}),
        (
            {"views": 2, "focal": (0.8, 1.4), "distance": (3.0, 5.0), "elevation": (-10.0, 50.0)},
            {"clip", "transmittance"},
        ),
    ],
)
@pytest.mark.usefixtures("likes_red")
def test_each_prior_is_an_option(change: dict, terms: set[str], bundle: DiffusionBundle) -> None:
    events = []
    scene = draw(METHOD, small(steps=2, **change), bundle, report=events.append)
    assert set(events[-1].terms) == terms
    assert isinstance(scene, ResidualField)
    assert bool(scene.origin.abs().max() > 0) == change.get("track_origin", True)
    assert scene.options.bounded == change.get("bounds", True)


@pytest.mark.usefixtures("likes_red", "small_films")
def test_the_command_writes_three_files_and_the_same_bytes_again(
    tiny_folder: Path, bundle: DiffusionBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--field", "voxels", "--render", "12", "--steps", "4", "--crops", "2", "--nodes", "17"]
    assert main(["a red apple", *words, "--bundle", str(tiny_folder), "--quiet"]) == 0
    config = small("voxels")
    METHOD.write(config, bundle, draw(METHOD, config, bundle), tmp_path / "again.glb")
    for suffix in (".glb", ".mp4"):
        assert (tmp_path / f"red-apple{suffix}").read_bytes() == (tmp_path / f"again{suffix}").read_bytes()
    figures = json.loads((tmp_path / "red-apple.json").read_text())
    assert [row["azimuth"] for row in figures["cosines"]] == [45.0 * view for view in range(8)]
    assert all(math.isfinite(row["cosine"]) for row in figures["cosines"])
    # Four sides and their normals below, two pixels apart.
    snapshots = list((tmp_path / "runs" / "red-apple" / "snapshots").iterdir())
    assert [read_png(path).shape for path in snapshots] == [(3, 2 * 64 + 2, 4 * 64 + 3 * 2)] * 4


@pytest.mark.usefixtures("likes_red")
def test_a_flat_picture_is_a_png(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["a red apple", "--field", "pixels", "--render", "12", "--steps", "2", "--crops", "2"]
    assert main([*words, "--bundle", str(tiny_folder), "--quiet"]) == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["red-apple.json", "red-apple.png", "runs"]
    snapshots = list((tmp_path / "runs" / "red-apple" / "snapshots").iterdir())
    assert [read_png(path).shape for path in snapshots] == [(3, 64, 64)] * 2
    assert len(json.loads((tmp_path / "red-apple.json").read_text())["cosines"]) == 1


@pytest.mark.parametrize("field", ["mlp", "voxels", "pixels"])
@pytest.mark.usefixtures("likes_red")
def test_a_cut_run_ends_in_the_same_scene(field: str, bundle: DiffusionBundle, tmp_path: Path) -> None:
    config = small(field)
    whole = draw(METHOD, config, bundle)
    stop, events = threading.Event(), []

    def report(event: object) -> None:
        events.append(event)
        if isinstance(event, Stepped) and event.step == 2:
            stop.set()

    with pytest.raises(StoppedRun):
        draw(METHOD, config, bundle, run=tmp_path / "run", report=report, stop=stop)
    assert any(isinstance(event, Snapshot) for event in events)
    resumed = draw(METHOD, config, bundle, run=tmp_path / "run")
    for name, value in whole.state().items():
        assert torch.equal(value, resumed.state()[name]), name


@pytest.mark.usefixtures("likes_red")
def test_an_easy_wish_is_fulfilled(bundle: DiffusionBundle) -> None:
    """A guide that likes red makes the object red, and the transmittance comes near its target."""
    config = small("voxels", steps=80, tau_steps=10, render=24, lr=0.1, sparsity_weight=2.0)
    scene = draw(METHOD, config, bundle)
    with torch.no_grad():
        colour, transmittance = see(config, scene, draw_camera(config, generator()), generator())
    red, green, blue = (colour.mean((1, 2)) / (1 - transmittance).mean()).tolist()
    assert red > 0.9
    assert max(green, blue) < 0.1
    assert transmittance.mean().item() == pytest.approx(0.88, abs=0.06)


def test_cameras_stand_where_the_options_say() -> None:
    config = small(focal=(1.0, 1.5), distance=(3.0, 5.0), elevation=(20.0, 40.0), azimuth=(-10.0, 10.0))
    draws = generator()
    cameras = [draw_camera(config, draws) for _ in range(50)]
    assert {1.0 <= camera.focal <= 1.5 and 3 <= camera.distance <= 5 for camera in cameras} == {True}
    for camera in cameras:
        x, y, z = camera.cameras.centres[0].tolist()
        assert 19.9 < math.degrees(math.asin(z / camera.distance)) < 40.1
        assert abs(math.degrees(math.atan2(y, x))) < 10.1
        assert camera.cameras.intrinsics[0, 0].item() == pytest.approx(camera.focal * FOCAL * 12)


def test_crops_are_laid_over_backgrounds() -> None:
    config = small(background="white", crop=(1.0, 1.0))
    colour, transmittance = torch.full((3, 12, 12), 0.2), torch.full((12, 12), 0.5)
    assert torch.allclose(augmented(config, colour, transmittance, 24, generator()), torch.tensor(0.7))
    noisy = augmented(replace(config, background="noise"), colour, torch.ones(12, 12), 24, generator())
    assert noisy.shape == (2, 3, 24, 24)
    assert noisy.std() > 0.01


def test_learning_rates() -> None:
    rises = lr_factor(replace(small(), lr=1e-4, lr_start=1e-5, warmup=1500))
    assert [rises(step) for step in (0, 750, 1500, 9000)] == pytest.approx([0.1, 0.1**0.5, 1.0, 1.0])
    falls = lr_factor(replace(small("voxels"), steps=100))
    assert [falls(step) for step in (0, 74, 75, 99)] == [1.0, 1.0, 0.1, 0.1]


def test_a_bundle_without_gradients_is_refused(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="image_embedder"):
        main(["a cat", "--bundle", str(tiny_folder)])
    assert list(tmp_path.iterdir()) == []


def test_the_bundled_guide_is_followed() -> None:
    events = []
    draw(METHOD, small("voxels", steps=6, render=32), DiffusionBundle.load("icons"), report=events.append)
    clips = [event.terms["clip"] for event in events if isinstance(event, Stepped)]
    assert clips[-1] < clips[0]


def test_presets() -> None:
    thesis = preset_config("thesis", "mlp")
    assert (thesis.steps, thesis.render, thesis.samples, thesis.tau, thesis.tau_steps) == (
        10_000,
        168,
        192,
        (0.4, 0.88),
        500,
    )
    scene = new_scene(thesis, generator())
    assert sum(p.numel() for p in scene.parameters()) == 315_396
    voxels = preset_config("thesis", "voxels")
    assert (voxels.nodes, voxels.views, voxels.crops, voxels.tau) == (129, 20, 8, (0.95, 0.95))
    for preset, fields in PRESETS.items():
        for field in fields:
            assert checked(METHOD, replace(preset_config(preset, field), prompt=" a cat ")).prompt == "a cat"
    assert preset_config("none", "none") == Config()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected a few words"),
        (["x" * 501], "at most 500 characters"),
        (["a cat", "--crop", "0.9", "0.5"], "the lower value first"),
        (["a cat", "--elevation", "30", "120"], "--elevation: expected -90 to 90, got 120"),
        (["a cat", "--elevation", "nan", "40"], "--elevation: expected -90 to 90, got nan"),
        (["a cat", "--field", "voxels", "--nodes", "66"], "a multiple of 4 and one more, such as 65"),
        (["a cat", "--field", "voxels", "--sparsity", "noise"], "expected --field mlp"),
        (["a cat", "--out", "x.obj"], "GLB"),
        (["a cat", "--field", "pixels", "--out", "x.glb"], "PNG"),
    ],
)
@pytest.mark.usefixtures("likes_red")
def test_mistakes_are_named(
    words: list[str], message: str, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        main([*words, "--bundle", str(tiny_folder)])
    assert list(tmp_path.iterdir()) == []
