"""A traced drawing is cleaned and traced anew: when, to what, and the same bytes after a cut."""

import dataclasses
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor

from runtime.guidance.prompt import encode_prompt
from runtime.guidance.sampler import TARGET_CALLS
from runtime.loop.events import Event, Stepped
from runtime.loop.folder import RunFolder
from runtime.loop.optimize import Stage, optimize
from runtime.loop.signals import StoppedRun
from runtime.vector.paths import random_circles
from runtime.vector.scene import VectorScene
from runtime.vector.svg import read_svg
from runtime.vector.trace.flat.refine import structure_of
from runtime.vector.trace.smoothing import smooth
from runtime.vectorfusion import PRESETS, SDS_FROM_SCRATCH, main
from runtime.vectorfusion.config import is_retraced, networks, steps_of
from runtime.vectorfusion.retracing import REFINING, TIME, retracing
from runtime.vectorfusion.stages import build
from tests.guidance.gaussians import GaussianDenoiser
from tests.vectorfusion.test_vectorfusion import SIDE, GreyBundle, config_of


def pictured() -> Tensor:
    """Return a disc above a bar, on white, symmetric about the middle."""
    picture = torch.ones(3, SIDE, SIDE)
    rows, columns = torch.meshgrid(torch.arange(SIDE) - 19.5, torch.arange(SIDE) - 15.5, indexing="ij")
    picture[1:, (rows**2 + columns**2 < 81)] = 0.2
    picture[:2, 4:9, 3:29] = 0.1
    return picture


@dataclasses.dataclass
class KnowingBundle(GreyBundle):
    """Its decoder knows one picture; it counts the denoiser's calls and notes the times."""

    picture: Tensor = dataclasses.field(default_factory=pictured)
    times: list[int] = dataclasses.field(default_factory=list)

    def denoiser(self):
        network = GaussianDenoiser(0.2)

        def denoise(z: Tensor, t: Tensor, context: Tensor) -> Tensor:
            self.times.append(int(t[0]))
            return network(z, t, context)

        return denoise

    def latent_decoder(self):
        return lambda z: self.picture[None].expand(len(z), -1, -1, -1)


def stages_of(bundle: GreyBundle, axis: float | None = None, **change) -> list[Stage]:
    """Return a stage that begins with three circles, and the one that retraces them."""
    config = config_of("icon", "trace", sample_omega=0.0, **change)
    circles = random_circles(3, size=(SIDE, SIDE), radius=8.0, generator=torch.Generator().manual_seed(0))
    first = Stage(
        name="first", steps=0, begin=lambda before, draws: VectorScene(circles), restore=VectorScene.from_state
    )
    return [first, retracing(config, bundle, encode_prompt("0.25", "", bundle.text_encoder()), axis)]


def ended(stages: list[Stage]) -> VectorScene:
    scene = optimize(stages, seed=0)
    assert isinstance(scene, VectorScene)
    return scene


def test_only_icons_from_contours_are_retraced_and_only_where_nothing_else_is_asked_for() -> None:
    assert is_retraced(config_of("icon", "trace")) and steps_of(config_of("icon", "trace")) == 0
    asked = ({"steps": 75}, {"steps": 0}, {"clip": 0.1}, {"saturation": 0.1}, {"target_every": 25}, {"tracer": "live"})
    for change in (*asked, {"init": Path("a.svg")}):
        config = config_of("icon", "trace", **change)
        assert not is_retraced(config) and steps_of(config) == change.get("steps", 75)
    rest = {(name, route): steps_of(config) for name, routes in PRESETS.items() for route, config in routes.items()}
    assert rest.pop(("icon", "trace")) == 0 and steps_of(SDS_FROM_SCRATCH) == 400
    assert rest == {
        ("icon", "scratch"): 1200,
        ("sketch", "trace"): 75,
        ("sketch", "scratch"): 400,
        ("pixel", "trace"): 75,
        ("pixel", "scratch"): 400,
    }


def test_a_run_retraces_in_place_of_distillation() -> None:
    stages = build(config_of("icon", "trace", samples=2), GreyBundle(), torch.Generator())
    assert [(stage.name, stage.steps) for stage in stages[1:]] == [("retrace", REFINING)]
    stages = build(config_of("icon", "trace", samples=2, seeds="3-4"), GreyBundle(), torch.Generator())
    assert [stage.name for stage in stages if "retrace" in stage.name] == ["retrace-seed-3", "retrace-seed-4"]


def test_the_drawing_becomes_the_contours_of_the_clean_picture() -> None:
    bundle = KnowingBundle()
    scene = ended(stages_of(bundle))
    assert scene.drawing().layout.num_paths == 2
    assert scene.target is not None and torch.equal(scene.target, smooth(bundle.picture[None])[0])
    assert (scene.render()[0] - scene.target).square().mean() < 2e-3
    assert scene.colours[..., 3].unique().tolist() == [1.0]
    structure = structure_of(scene.drawing().detach())
    assert len(structure.lines) >= 3 and len(structure.smooth) >= 2  # sides of the bar, joints of the disc


def test_the_denoiser_is_called_ten_times_from_little_noise() -> None:
    bundle = KnowingBundle()
    ended(stages_of(bundle))
    assert len(bundle.times) == TARGET_CALLS and bundle.times[0] == TIME == max(bundle.times)


def test_mirror_images_stay_so() -> None:
    drawing = ended(stages_of(KnowingBundle(), axis=SIDE / 2, symmetric="on")).drawing().detach()
    picture = VectorScene(drawing).render().detach()
    torch.testing.assert_close(picture, picture.flip(-1), atol=1e-4, rtol=0)


def test_a_drawing_of_which_nothing_is_left_stays() -> None:
    stages = stages_of(KnowingBundle(picture=torch.ones(3, SIDE, SIDE)))
    first = stages[0].begin(None, torch.Generator())
    assert torch.equal(ended(stages).render(), first.render())


@pytest.mark.parametrize("cut", [1, REFINING // 2])
def test_a_run_that_was_cut_ends_in_the_same_bytes(tmp_path: Path, cut: int) -> None:
    whole, stop, done = ended(stages_of(KnowingBundle())), threading.Event(), []

    def note(event: Event) -> None:
        if isinstance(event, Stepped):
            done.append(event)
            if len(done) == cut:
                stop.set()

    with RunFolder.create(tmp_path / "run", {}) as run:
        with pytest.raises(StoppedRun):
            optimize(stages_of(KnowingBundle()), seed=0, run=run, report=note, stop=stop)
        resumed = optimize(stages_of(KnowingBundle()), seed=0, run=run)
    for name, value in whole.state().items():
        assert torch.equal(value, resumed.state()[name]), name


def test_no_gradient_of_the_encoder_is_loaded(tiny_folder: Path) -> None:
    from runtime.engines.bundle import DiffusionBundle

    names = networks(config_of("icon", "trace"), DiffusionBundle.load(tiny_folder))
    assert "latent_encoder" in names and "latent_encoder.vjp" not in names and "latent_decoder" in names


def test_the_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_folder: Path) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["a cat", "--paths", "3", "--samples", "2", "--bundle", str(tiny_folder), "--quiet"]
    assert main(words) == 0
    text = Path("a-cat.svg").read_text()
    assert '<entry name="refined">retraced</entry>' in text and 'name="steps"' not in text
    assert read_svg("a-cat.svg").layout.num_paths <= 3
    assert main([*words, "--steps", "1", "--out", "distilled.svg"]) == 0
    text = Path("distilled.svg").read_text()
    assert '<entry name="steps">1</entry>' in text and "refined" not in text
