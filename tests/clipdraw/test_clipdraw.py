"""CLIPDraw: its schedule against Adam by hand, the method on a guide with known answers, and the command on `icons`."""

import dataclasses
import threading
from pathlib import Path
from typing import get_type_hints

import pytest
import torch
from torch import Tensor

from runtime.clipdraw import METHOD, PRESETS, Config, main
from runtime.clipdraw.stages import NEGATIVES, DrawingAdam, build, points_factor
from runtime.command.method import checked
from runtime.command.ranges import describe_range
from runtime.errors import UserError
from runtime.loop.events import Stepped
from runtime.loop.folder import RunFolder
from runtime.loop.optimize import generator_of, optimize
from runtime.loop.signals import StoppedRun
from runtime.pictures import read_png
from runtime.vector.paths import Kind, random_circles
from runtime.vector.scene import VectorScene
from runtime.vector.svg import read_svg, write_svg

SIDE = 32
COLOURS = {"red": (1.0, 0.0, 0.0), NEGATIVES[0]: (0.0, 1.0, 0.0), NEGATIVES[1]: (0.0, 0.0, 1.0)}


@dataclasses.dataclass
class ColourBundle:
    """Its encoder sees the mean colour of a picture, less grey."""

    embedder_size = SIDE
    asked: list[str] = dataclasses.field(default_factory=list)
    seen: list[Tensor] = dataclasses.field(default_factory=list)

    def guide(self, text: str, gradients: str = "torch"):
        self.asked.append(text)
        target = torch.tensor(COLOURS[text])[None]

        def cosine(images: Tensor) -> Tensor:
            self.seen.append(images.detach())
            return torch.nn.functional.cosine_similarity(images.mean((2, 3)) + 1e-3, target)

        return cosine


def config_of(preset: str, **change) -> Config:
    return checked(METHOD, dataclasses.replace(PRESETS[preset], prompt="red", **change))


def drawn(config: Config, bundle: ColourBundle, **options) -> VectorScene:
    stages = build(config, bundle, generator_of(config.seed, 0, 0, "sample"))
    return optimize(stages, seed=config.seed, **options)


def test_the_rate_of_points_falls_at_half_and_at_three_quarters() -> None:
    factors = [points_factor(step, 1000) for step in (0, 499, 500, 749, 750, 999)]
    assert factors == [1.0, 1.0, 0.4, 0.4, 0.1, 0.1]
    assert [points_factor(step, 3) for step in range(3)] == [1.0, 0.4, 0.1]


def test_adam_is_pytorchs_with_the_authors_rates() -> None:
    config = config_of("strokes", steps=8, paths=3)
    stage = build(config, ColourBundle(), torch.Generator())[0]
    scene, twin = (stage.begin(None, torch.Generator().manual_seed(0)) for _ in range(2))
    ours = DrawingAdam(scene, config, SIDE / 224)
    for group in ours.param_groups:
        group["initial_lr"] = group["lr"]
    theirs = [
        torch.optim.Adam([twin.points], lr=SIDE / 224),
        torch.optim.Adam([twin.colours], lr=0.01),
        torch.optim.Adam([twin.widths], lr=0.1 * SIDE / 224),
    ]
    for step in range(8):
        for one in (scene, twin):
            one.zero_grad(set_to_none=True)
            stage.loss(one, step, torch.Generator().manual_seed(step))["clip"].backward()
        for group in ours.param_groups:  # as the loop does
            group["lr"] = group["initial_lr"]
        ours.step()
        if step in (4, 6):
            theirs[0].param_groups[0]["lr"] = SIDE / 224 * (0.4 if step == 4 else 0.1)
        for optimizer in theirs:
            optimizer.step()
    for name in ("points", "colours", "widths"):
        assert torch.equal(getattr(scene, name), getattr(twin, name)), name


def test_presets_begin_as_their_papers_say() -> None:
    strokes, icon, pixel = (
        drawn(config_of(preset, steps=1, lr=0.0, colour_lr=0.0, width_lr=0.0), ColourBundle()).drawing()
        for preset in ("strokes", "icon", "pixel")
    )
    assert set(strokes.layout.kinds) == {Kind.STROKE} and strokes.layout.num_paths == 256
    assert strokes.widths.unique().item() == pytest.approx(SIDE / 224)
    assert icon.layout.contours == ((4,),) * 64 and set(icon.layout.kinds) == {Kind.NONZERO}
    assert pixel.layout.num_paths == 32 * 32 and set(pixel.layout.kinds) == {Kind.RECTANGLE}
    assert (PRESETS["strokes"].steps, PRESETS["icon"].steps, PRESETS["strokes"].views) == (1000, 2000, 4)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_drawing_turns_to_what_the_encoder_wants(preset: str) -> None:
    count = {"strokes": 60, "icon": 30, "pixel": 16}[preset]
    config = config_of(preset, paths=count, steps=40, colour_lr=0.1, lr=4.0)
    losses: list[float] = []
    scene = drawn(config, ColourBundle(), report=lambda event: losses.append(event.loss))
    assert len(losses) == 40 and losses[-1] < losses[0]
    red, green, blue = scene.render().detach().mean((0, 2, 3)).tolist()
    assert red > green and red > blue
    assert scene.background.unique().tolist() == [1.0]
    widths = scene.widths
    if preset == "strokes":
        assert (widths >= SIDE / 224).all() and (widths <= 50 * SIDE / 224).all()
        assert not torch.equal(widths, torch.full_like(widths, SIDE / 224))


def test_unwanted_prompts_count_with_their_weight() -> None:
    bundle = ColourBundle()
    terms = []
    config = config_of("pixel", paths=16, steps=1, negative=0.3, colour_lr=0.0)
    drawn(config, bundle, report=lambda event: terms.append(event.terms))
    assert bundle.asked == ["red", *NEGATIVES]
    (views, _, _) = bundle.seen
    means = views.mean((2, 3)) + 1e-3
    unit = means / means.norm(dim=1, keepdim=True)
    assert terms[0]["clip"] == pytest.approx(-unit[:, 0].sum().item(), rel=1e-5)
    assert terms[0]["negative"] == pytest.approx(0.3 * unit[:, 1:].sum().item(), rel=1e-5)


def test_only_icons_replace_paths() -> None:
    for preset, replaced in (("icon", True), ("strokes", False)):
        config = config_of(preset, paths=6, steps=250, lr=0.0, colour_lr=0.0, width_lr=0.0, views=1)
        stage = build(config, ColourBundle(), torch.Generator())[0]
        scene = stage.begin(None, torch.Generator().manual_seed(0))
        scene.colours.data[0, 2, 3] = 0.0
        optimizer = stage.optimizer(scene)
        before = scene.points.detach().clone()
        for step in (48, 49, 249):
            with torch.no_grad():
                stage.after(scene, optimizer, step, torch.Generator().manual_seed(step))
            assert torch.equal(scene.points, before) == (not replaced or step == 48)


def test_a_run_that_was_stopped_ends_in_the_same_drawing(tmp_path: Path) -> None:
    config = config_of("strokes", paths=5, steps=8)
    whole = drawn(config, ColourBundle())
    stop = threading.Event()

    def report(event: object) -> None:
        if isinstance(event, Stepped) and event.step == 5:
            stop.set()

    with RunFolder.create(tmp_path / "run", {}) as run:
        with pytest.raises(StoppedRun):
            drawn(config, ColourBundle(), run=run, report=report, stop=stop)
        resumed = drawn(config, ColourBundle(), run=run)
    for name, value in whole.state().items():
        assert torch.equal(value, resumed.state()[name]), name


def test_the_command_draws_with_the_bundle_in_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["a red apple", "--paths", "3", "--steps", "2", "--views", "2", "--quiet"]
    assert main(words) == 0
    assert read_png("a-red-apple.png").shape == (3, 512, 512)
    text = Path("a-red-apple.svg").read_text()
    assert '<entry name="method">clipdraw</entry>' in text and 'stroke-linecap="round"' in text
    assert sorted(path.name for path in Path("runs/a-red-apple/snapshots").iterdir())[-1] == "00-draw-00002.svg"
    write_svg("start.svg", random_circles(2, size=(64, 64), radius=9.0, generator=torch.Generator().manual_seed(0)))
    words = ["a cat", "--preset", "icon", "--init", "start.svg", "--steps", "1", "--views", "1", "--quiet"]
    assert main(words) == 0
    assert read_svg("a-cat.svg").layout.num_paths == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a cat", "--preset", "watercolour"], "--preset: expected one of strokes, icon, pixel"),
        (["a cat", "--preset", "pixel", "--paths", "15"], "expected a square number"),
        (["a cat", "--widths", "3", "2"], "--widths: expected a width above 0 and one at least as large"),
        (["a cat", "--widths", "0", "2"], "--widths: expected a width above 0"),
        ([" "], "prompt: expected a few words"),
        (["a cat", "--init", "missing.svg"], "missing.svg"),
    ],
)
def test_mistakes_are_refused_in_words(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        main(words)
    assert list(tmp_path.iterdir()) == []


def test_every_number_has_a_range() -> None:
    for name, annotation in get_type_hints(Config, include_extras=True).items():
        if isinstance(getattr(Config(), name), int | float):
            assert describe_range(annotation), name
