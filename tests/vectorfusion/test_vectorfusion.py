import dataclasses
import json
import math
from pathlib import Path
from typing import get_type_hints
from xml.etree import ElementTree

import pytest
import torch
from torch import Tensor

from runtime.command.method import checked
from runtime.command.ranges import describe_range
from runtime.engines.roles import IconsTextEncoder
from runtime.errors import UserError
from runtime.guidance.prompt import Prompt, encode_prompt
from runtime.loop.events import Event, Sampled
from runtime.loop.folder import RunFolder
from runtime.loop.optimize import generator_of, optimize
from runtime.pictures import read_png
from runtime.vector.paths import Drawing, Kind, pixel_grid, random_circles
from runtime.vector.results import without_unused
from runtime.vector.scene import VectorScene
from runtime.vector.svg import read_svg, write_svg
from runtime.vector.symmetry import completed, mirror_axis
from runtime.vector.trace.flat.refine import structure_of
from runtime.vector.trace.live import TraceConfig
from runtime.vectorfusion import METHOD, PRESETS, Config, main
from runtime.vectorfusion.stages import (
    build,
    distillation,
    pixelated,
    sampled_or_stored,
    start_of,
    trace,
    warm_then_cosine,
)
from tests.bundles import MANIFEST
from tests.guidance.gaussians import GaussianDenoiser

SIDE = 32


class GreyTexts:
    """Encodes a grey as itself, and the empty text as 0.5."""

    def fits(self, prompt: str) -> bool:
        return True

    def __call__(self, texts: list[str]) -> Tensor:
        return torch.tensor([float(text or 0.5) for text in texts])[:, None, None]


@dataclasses.dataclass
class GreyBundle:
    """Networks with known answers: latents are 8-pixel averages, and pictures of a prompt are grey, "0.25" at 0.25."""

    image_size = SIDE
    latent_shape = (4, 4, 4)
    prompt_suffix = ""
    schedule = {  # noqa: RUF012
        "num_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "epsilon",
    }
    manifest = MANIFEST
    seen: list[Tensor] = dataclasses.field(default_factory=list)

    def denoiser(self):
        return GaussianDenoiser(0.0)

    def text_encoder(self):
        return GreyTexts()

    def latent_encoder(self, gradients: str = "torch"):
        assert gradients in ("auto", "none")

        def encode(images: Tensor) -> Tensor:
            self.seen.append(images.detach())
            means = torch.nn.functional.avg_pool2d(images, 8)
            return torch.cat([means, means.mean(1, keepdim=True)], 1)

        return encode

    def latent_decoder(self):
        return lambda z: torch.nn.functional.interpolate(z[:, :3], scale_factor=8.0).clamp(0, 1)

    def scorer(self):
        return lambda images, texts: -(images.flatten(1) - float(texts[0])).abs().mean(1, keepdim=True)


def config_of(preset: str, route: str, **change) -> Config:
    return checked(METHOD, dataclasses.replace(PRESETS[preset][route], prompt="0.25", omega=0.0, **change))


def draw(config: Config, bundle: GreyBundle, start: Drawing | None = None) -> VectorScene:
    if start is None:
        stages = build(config, bundle, generator_of(config.seed, 0, 0, "sample"))
    else:
        begin = start_of(config, (SIDE, SIDE), start)
        stages = [distillation(config, bundle, encode_prompt(config.prompt, "", bundle.text_encoder()), begin)]
    return optimize(stages, seed=config.seed)


def test_distillation_finds_the_pictures_of_the_prompt() -> None:
    config = config_of("pixel", "trace", paths=16, steps=150, colour_lr=0.05, saturation=0.0)
    start = pixel_grid(4, size=(SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    scene = draw(config, GreyBundle(), start)
    picture = torch.nn.functional.avg_pool2d(scene.render().detach(), 8)
    assert (picture - 0.25).abs().max() < 0.03


def test_saturation_penalty_pulls_to_grey() -> None:
    config = config_of("pixel", "scratch", paths=16, steps=150, colour_lr=0.05, saturation=1000.0)
    picture = draw(config, GreyBundle()).render().detach()
    assert (picture - 0.5).abs().mean() < 0.06


@pytest.mark.parametrize(
    ("preset", "route", "moves", "stays"),
    [
        ("icon", "scratch", {"points", "colours", "background"}, {"widths"}),
        ("sketch", "scratch", {"points"}, {"colours", "widths", "background"}),
        ("pixel", "scratch", {"colours"}, {"points", "widths", "background"}),
    ],
)
def test_presets_train_what_they_say(preset: str, route: str, moves: set[str], stays: set[str]) -> None:
    config = config_of(preset, route, paths=4, steps=3)
    start = draw(dataclasses.replace(config, steps=1, lr=0.0, colour_lr=0.0), GreyBundle()).drawing()
    end = draw(config, GreyBundle()).drawing()
    assert all(not torch.equal(getattr(start, name), getattr(end, name)) for name in moves)
    assert all(torch.equal(getattr(start, name), getattr(end, name)) for name in stays)


def test_presets_start_as_the_thesis_says() -> None:
    icon, sketch, pixel = (
        draw(config_of(preset, "scratch", steps=1, lr=0.0, colour_lr=0.0), GreyBundle()).drawing()
        for preset in ("icon", "sketch", "pixel")
    )
    assert icon.layout.contours == ((4,),) * 64 and set(icon.layout.kinds) == {Kind.NONZERO}
    assert sketch.layout.contours == ((5,),) * 16 and set(sketch.layout.kinds) == {Kind.STROKE}
    assert sketch.colours.unique(dim=1).tolist() == [[[0.0, 0.0, 0.0, 1.0]]]
    assert sketch.widths.unique().item() == pytest.approx(6 / 224 * SIDE)
    assert pixel.layout.num_paths == 32 * 32 and set(pixel.layout.kinds) == {Kind.RECTANGLE}
    assert PRESETS["pixel"]["trace"].saturation == 0.05


def test_traced_sketch_starts_from_the_outlines_of_the_shapes() -> None:
    config = config_of("sketch", "trace", paths=3, steps=1, lr=0.0)
    bundle, settings = GreyBundle(), {"radius": 8.0, "generator": torch.Generator().manual_seed(0)}
    shapes = VectorScene(random_circles(3, size=(SIDE, SIDE), **settings), train=("points",))
    stages = build(config, bundle, generator_of(0, 0, 0, "sample"))
    strokes = stages[-1].begin(shapes, generator_of(0, 0, 0, "distil")).drawing()
    assert strokes.layout.contours == ((5,),) * 3 and set(strokes.layout.kinds) == {Kind.STROKE}
    assert strokes.widths.unique().item() == pytest.approx(6 / 224 * SIDE)
    circles = shapes.drawing().points.reshape(3, 12, 2)
    ends = strokes.points.reshape(3, 16, 2)
    assert torch.equal(ends[:, 0], circles[:, 0]) and torch.equal(ends[:, -1], circles[:, 0])
    assert [stage.name for stage in stages] == ["trace-1", "trace-2", "trace-3", "distil"]


def test_only_from_scratch_the_view_is_augmented() -> None:
    for route, varied in (("scratch", True), ("trace", False)):
        bundle = GreyBundle()
        drawing = random_circles(4, size=(SIDE, SIDE), radius=8.0, generator=torch.Generator().manual_seed(0))
        draw(config_of("icon", route, steps=6, target_every=0, lr=0.0, colour_lr=0.0), bundle, drawing)
        views = torch.cat(bundle.seen)
        assert views.shape == (6, 3, SIDE, SIDE)
        assert bool((views.std(0) > 0.01).any()) == varied


def test_trace_samples_traces_and_refines() -> None:
    config = config_of("icon", "trace", paths=3, steps=2, samples=3)
    stages = build(config, GreyBundle(), generator_of(0, 0, 0, "sample"))
    assert [stage.name for stage in stages] == ["contours", "distil"]
    live = dataclasses.replace(config, tracer="live")
    stages = build(live, GreyBundle(), generator_of(0, 0, 0, "sample"))
    assert [stage.name for stage in stages] == ["trace-1", "trace-2", "trace-3", "distil"]
    assert stages[0].steps == TraceConfig().steps and stages[-1].steps == 2


def test_lines_and_smooth_joints_of_contours_stay_through_distillation() -> None:
    picture = torch.ones(3, SIDE, SIDE)
    rows, columns = torch.meshgrid(torch.arange(SIDE) - 19.5, torch.arange(SIDE) - 15.5, indexing="ij")
    picture[1:, (rows**2 + columns**2 < 81)] = 0.2
    picture[:2, 4:9, 3:29] = 0.1
    ends = []
    for tracer in ("contours", "live"):
        config = config_of("icon", "trace", paths=3, steps=6, lr=2.0, tracer=tracer)
        bundle = GreyBundle()
        prompt = encode_prompt(config.prompt, "", bundle.text_encoder())
        begin = start_of(config, (SIDE, SIDE), None)
        scene = optimize([*trace(config, picture)[0], distillation(config, bundle, prompt, begin)], seed=0)
        ends.append(scene.drawing().detach())
    structure = structure_of(ends[0], straight=1e-3, parallel=1e-4)
    assert len(structure.lines) >= 3 and len(structure.smooth) >= 2
    # Distillation alone, as it follows LIVE, bends every line.
    assert len(structure_of(ends[1], straight=1e-3, parallel=1e-4).lines) == 0


def test_a_symmetric_drawing_stays_so_through_distillation() -> None:
    picture = torch.ones(3, SIDE, SIDE)
    rows, columns = torch.meshgrid(torch.arange(SIDE) - 15.5, torch.arange(SIDE) - 13.5, indexing="ij")
    picture[1:, (rows**2 + columns**2 < 100)] = 0.2
    picture[:2, ((rows + 2) ** 2 + (columns.abs() - 4) ** 2 < 5)] = 0.1
    config = config_of("icon", "trace", paths=5, steps=4, lr=2.0, symmetric="auto")
    axis = mirror_axis(picture)
    assert axis == 14.0
    bundle = GreyBundle()
    prompt = encode_prompt(config.prompt, "", bundle.text_encoder())
    stages, mirror = trace(config, completed(picture, axis), axis)
    assert mirror is not None and (mirror.points >= 0).all()
    begin = start_of(config, (SIDE, SIDE), None)
    drawing = optimize([*stages, distillation(config, bundle, prompt, begin, mirror)], seed=0).drawing().detach()
    assert drawing.layout.num_paths == 3
    points = drawing.points[0]
    images = points[mirror.points] * torch.tensor([-1.0, 1.0]) + torch.tensor([2 * axis, 0.0])
    torch.testing.assert_close(points, images, atol=4e-6, rtol=0)
    assert torch.equal(drawing.colours[0], drawing.colours[0, mirror.paths])


def test_symmetry_is_of_contours() -> None:
    for options in ({"preset": "sketch"}, {"route": "scratch"}, {"tracer": "live"}, {"init": Path("a.svg")}):
        preset, route = options.get("preset", "icon"), options.get("route", "trace")
        config = dataclasses.replace(PRESETS[preset][route], prompt="0.25", symmetric="auto", **options)
        with pytest.raises(UserError, match="--symmetric auto: expected with contours"):
            METHOD.check(config)


def test_a_sample_is_the_best_of_k_in_eight_bits(tmp_path: Path) -> None:
    bundle = GreyBundle()
    events: list[Event] = []
    config = config_of("icon", "trace", samples=3, sample_omega=0.0)
    prompt = Prompt.encode("0.25", bundle.text_encoder())
    with RunFolder.create(tmp_path / "run", {}) as run:
        generator = torch.Generator().manual_seed(0)
        first = sampled_or_stored(config, bundle, prompt, generator, run=run, report=events.append)
        assert first.shape == (3, SIDE, SIDE)
        assert (first - 0.25).abs().max() < 1.0 / 255.0  # the denoiser knows the one picture of the prompt
        assert [(event.step, event.steps) for event in events if isinstance(event, Sampled)] == [
            (i, 15) for i in range(1, 16)
        ]
        previews = [event.preview() for event in events if isinstance(event, Sampled)]
        assert all((preview - 0.25).abs().max() < 1e-4 for preview in previews)  # it predicts that picture at once
        assert torch.equal(read_png(run.path / "sample.png"), first)
        bundle.denoiser = None  # type: ignore[method-assign]
        again = sampled_or_stored(config, bundle, prompt, torch.Generator(), run=run, report=lambda event: None)
    assert torch.equal(again, first)


def test_an_empty_sample_still_gets_paths() -> None:
    # A uniform picture is its border colour: tracing adds no path, and distillation would have nothing to move.
    scene = draw(config_of("icon", "trace", paths=3, steps=1), GreyBundle())
    assert scene.drawing().layout.num_paths >= 1


def test_pixelated_is_the_median_of_each_cell() -> None:
    picture = torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(0))
    grid = pixelated(picture, 4)
    assert grid.colours.shape == (1, 16, 4)
    for row in range(4):
        for column in range(4):
            cell = picture[:, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3].reshape(3, 9)
            expected = [*(sorted(channel)[4] for channel in cell.tolist()), 1.0]
            assert grid.colours[0, 4 * row + column].tolist() == pytest.approx(expected)
            place = grid.points[0, grid.layout.path_slice(4 * row + column)]
            assert place.tolist() == [[3.0 * column, 3.0 * row], [3.0 * column + 3, 3.0 * row + 3]]
    assert pixelated(picture, 5).colours.shape == (1, 25, 4)  # cells of two and three pixels


@pytest.mark.parametrize(
    ("step", "factor"),
    [(0, 0.1), (250, 0.55), (500, 1.0), (1249, 0.25 + 0.375 * (1 + math.cos(math.pi * 749 / 1499))), (1999, 0.25)],
)
def test_rates_of_a_long_run_are_the_thesis(step: int, factor: float) -> None:
    assert warm_then_cosine(step, 2000) == pytest.approx(factor)  # of 0.2: 0.02 -> 0.2 -> 0.05


def test_rates_of_short_runs() -> None:
    assert warm_then_cosine(0, 1) == 1.0
    factors = [warm_then_cosine(step, 100) for step in range(100)]
    assert factors[0] == pytest.approx(0.1) and factors[25] == 1.0 and factors[-1] == pytest.approx(0.25)
    assert max(factors) == 1.0 and min(factors) == pytest.approx(0.1)


def test_colours_are_slower_by_twenty_and_the_background_by_two_hundred_in_the_thesis() -> None:
    config = config_of("icon", "scratch", target_every=0, lr=0.2, colour_lr=0.01)
    stage = build(config, GreyBundle(), torch.Generator())[-1]
    groups = stage.optimizer(stage.begin(None, torch.Generator())).param_groups
    scale = SIDE / 600
    assert [group["lr"] for group in groups] == pytest.approx([0.2 * scale, 0.2 / 20, 0.2 / 200])
    assert (groups[0]["betas"], groups[0]["eps"]) == ((0.9, 0.9), 1e-6)


def test_every_preset_is_in_range_and_every_number_has_a_range() -> None:
    for routes in PRESETS.values():
        for config in routes.values():
            checked(METHOD, dataclasses.replace(config, prompt="a cat"))
    for name, annotation in get_type_hints(Config, include_extras=True).items():
        default = getattr(Config(), name)
        if isinstance(default, int | float) and not isinstance(default, bool):
            assert describe_range(annotation), name
    assert len(dataclasses.fields(Config)) < 30


def command(bundle: Path, *arguments: str) -> int:
    return main([*arguments, "--bundle", str(bundle), "--steps", "4"])


def test_the_command_leaves_drawing_picture_and_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command(tiny_folder, "a red apple", "--paths", "2", "--samples", "2") == 0
    printed = capsys.readouterr()
    assert printed.out == "drew a-red-apple.svg and a-red-apple.png; the run is in runs/a-red-apple/\n"
    assert "distil 4/4" in printed.err and "loss" in printed.err and "left" in printed.err
    run = Path("runs/a-red-apple")
    assert {p.name for p in run.iterdir()} >= {"config.json", "loss.jsonl", "loss.svg", "sample.png", "snapshots"}
    assert read_png("a-red-apple.png").shape == (3, 512, 512)
    text = Path("a-red-apple.svg").read_text()
    assert ElementTree.fromstring(text).attrib["viewBox"] == "0 0 128 128"
    assert '<entry name="prompt">a red apple</entry>' in text and str(tmp_path) not in text
    config = json.loads((run / "config.json").read_text())
    assert config["config"]["omega"] == 4.0  # the bundle's default
    assert (config["config"]["paths"], config["config"]["preset"]) == (2, "icon")
    terms = [json.loads(line)["terms"] for line in (run / "loss.jsonl").read_text().splitlines()]
    assert set(terms[-1]) == {"sds", "self_intersection"}


def test_the_prompt_is_encoded_once_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_folder: Path) -> None:
    calls: list[list[str]] = []
    plain = IconsTextEncoder.__call__

    def counted(self: IconsTextEncoder, prompts: list[str]) -> Tensor:
        calls.append(list(prompts))
        return plain(self, prompts)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(IconsTextEncoder, "__call__", counted)
    assert command(tiny_folder, "a red apple", "--paths", "2", "--samples", "2") == 0
    assert calls == [["a red apple", ""]]


def test_another_request_gets_its_own_run_and_options_beat_the_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_folder: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    scratch = ("--preset", "sketch", "--route", "scratch", "--paths", "2")
    assert command(tiny_folder, "a cat", *scratch) == 0
    first = Path("a-cat.svg").read_bytes()
    assert command(tiny_folder, "a cat", *scratch, "--seed", "1", "--omega", "2") == 0
    assert Path("a-cat.svg").read_bytes() != first
    config = json.loads(Path("runs/a-cat-2/config.json").read_text())["config"]
    assert (config["seed"], config["omega"]) == (1, 2.0)
    assert command(tiny_folder, "a cat", *scratch) == 0  # the first run's drawing, which the second has replaced
    assert Path("a-cat.svg").read_bytes() == first


def test_a_drawing_can_be_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_folder: Path) -> None:
    monkeypatch.chdir(tmp_path)
    start = random_circles(3, size=(64, 64), radius=12.0, generator=torch.Generator().manual_seed(0))
    write_svg("start.svg", start)
    arguments = ("a cat", "--init", "start.svg", "--out", "cat.svg", "--lr", "0", "--colour-lr", "0")
    assert command(tiny_folder, *arguments) == 0
    drawn = read_svg("cat.svg")
    assert torch.allclose(drawn.points, 2.0 * start.points, atol=0.002)
    assert not Path("runs/cat/sample.png").exists()
    Path("start.svg").unlink()  # the run folder has all that it needs
    Path("cat.svg").unlink()
    assert main(["--resume", "runs/cat"]) == 0
    assert torch.equal(read_svg("cat.svg").points, drawn.points)


def test_resuming_may_write_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_folder: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert command(tiny_folder, "a cat", "--preset", "sketch", "--route", "scratch", "--paths", "2") == 0
    assert main(["--resume", "runs/a-cat", "--out", "other.svg"]) == 0
    assert Path("other.svg").read_bytes() == Path("a-cat.svg").read_bytes()


def test_numbers_that_run_away_end_with_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    poison = "runtime.vectorfusion.stages.distillation_loss"
    monkeypatch.setattr(poison, lambda z, t, noise, **networks: z.sum() * float("nan"))
    assert command(tiny_folder, "a cat", "--preset", "sketch", "--route", "scratch", "--paths", "2") == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert "step 0 of stage 'distil'" in line and "runs/a-cat/last-good.svg" in line
    assert read_svg("runs/a-cat/last-good.svg").layout.num_paths == 2
    assert not Path("a-cat.svg").exists()


def test_a_full_disk_is_reported_and_the_run_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def full(run: object, checkpoint: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("runtime.loop.folder.RunFolder.save", full)
        assert command(tiny_folder, "a cat", "--preset", "sketch", "--route", "scratch", "--paths", "2") == 1
    assert "No space left on device; once that is mended, resume with" in capsys.readouterr().err
    assert main(["--resume", "runs/a-cat"]) == 0


def test_paths_too_faint_to_see_are_not_written() -> None:
    drawing = random_circles(5, size=(SIDE, SIDE), radius=8.0, generator=torch.Generator().manual_seed(0))
    drawing.colours[0, [1, 4], 3] = torch.tensor([0.049, 0.0])
    assert torch.equal(without_unused(drawing).colours, drawing.colours[:, [0, 2, 3]])


def test_list_of_bundles(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tiny_folder: Path
) -> None:
    monkeypatch.setattr("runtime.engines.bundle.installed_bundles", lambda: [])
    assert main(["--list-bundles"]) == 0
    assert capsys.readouterr().out == "no bundle is installed\n"
    from runtime.engines import bundle as bundles

    found = bundles.InstalledBundle("tiny", "Apache-2.0", 3 * 2**20, tiny_folder)
    monkeypatch.setattr("runtime.engines.bundle.installed_bundles", lambda: [found])
    assert main(["--list-bundles"]) == 0
    assert capsys.readouterr().out == f"tiny  3.0 MiB  Apache-2.0  {tiny_folder}\n"


def test_help_names_every_option_with_its_range(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    names = ["out", "preset", "route", "bundle", "init", "seed", "steps", "paths", "omega", "samples", "rasterizer"]
    for name in [*names, "gradients", "resume"]:
        assert f"--{name} " in printed
    assert "--list-bundles" in printed
    for text in ("0 to 100000", "1 to 4096", "0 to 1000", "1 to 64", "1 to 500 characters"):
        assert text in printed


class HybridBundle(GreyBundle):
    """Whose image-text encoder sees how dark a picture is."""

    embedder_size = 16

    def guide(self, text: str, gradients: str = "torch"):
        assert (text, gradients) == ("0.25", "auto")
        return lambda images: 1.0 - images.mean((1, 2, 3))


def test_the_hybrid_adds_the_cosine_of_views_with_its_weight() -> None:
    terms: list[dict] = []
    grid = pixel_grid(4, size=(SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    grid = dataclasses.replace(grid, colours=torch.full_like(grid.colours, 0.5))
    begin = start_of(config_of("pixel", "trace"), (SIDE, SIDE), grid)
    for weight in (0.0, 1.0, 2.0):
        config = config_of("pixel", "trace", steps=1, clip=weight, colour_lr=0.0)
        stages = [distillation(config, HybridBundle(), encode_prompt("0.25", "", GreyTexts()), begin)]
        optimize(stages, seed=0, report=lambda event: terms.append(dict(event.terms)))
    assert set(terms[0]) == {"sds", "saturation"}
    # Half transparent grey on white is 0.75; a view's rim is white.
    assert -0.25 < terms[1]["clip"] < -0.1
    assert terms[2]["clip"] == pytest.approx(2 * terms[1]["clip"])
    assert {k: v for k, v in terms[2].items() if k != "clip"} == terms[0]  # equal draws, whatever the weight


def test_without_steps_the_traced_drawing_stays_as_it_is() -> None:
    picture = config_of("icon", "trace", paths=3, steps=0)
    traced = draw(picture, GreyBundle())
    assert traced.drawing().layout.num_paths >= 1


def test_paths_are_replaced_only_where_it_is_asked_for() -> None:
    for asked in (True, False):
        config = config_of("icon", "scratch", paths=6, steps=250, reinitialize=asked)
        stage = build(config, GreyBundle(), torch.Generator())[-1]
        scene = stage.begin(None, torch.Generator().manual_seed(0))
        scene.colours.data[0, 2, 3] = 0.0
        before = scene.points.detach().clone()
        with torch.no_grad():
            stage.after(scene, stage.optimizer(scene), 49, torch.Generator().manual_seed(0))
        assert torch.equal(scene.points, before) != asked
