"""Score distillation in pixels: against closed forms, and the method on bundles without an autoencoder."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from runtime.command.method import draw
from runtime.dreamfusion import METHOD, Config, main
from runtime.dreamfusion.looks import draw_look
from runtime.dreamfusion.teacher import Teacher
from runtime.engines.bundle import DdpmBundle, DiffusionBundle
from runtime.engines.pixel_space import encode_pixels
from runtime.errors import UserError
from runtime.guidance.sds import draw_time
from runtime.loop.events import Note
from tests.bundles import make_pixel_bundle
from tests.ddpm.tiny import make_tiny_ddpm
from tests.dreamfusion.cutting import check_cut_run
from tests.guidance.gaussians import SCHEDULE, GaussianDenoiser, prompt

SMALL = Config(prompt="a red apple", nodes=17, render=16, steps=6)
MEAN, EMPTY, SPREAD = 0.4, -0.2, 0.5


@pytest.fixture(scope="module")
def unconditional(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_ddpm(tmp_path_factory.mktemp("bundles") / "noise")


@pytest.fixture(scope="module")
def textual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pixel_bundle(tmp_path_factory.mktemp("bundles") / "pixels")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian_teacher(side: int, omega: float) -> Teacher:
    """Return a model of pixels whose data are normal: N(0.4, 0.5^2) with the prompt, N(-0.2, 0.5^2) without."""
    return Teacher(
        config=replace(SMALL, omega=omega, upper_t=(950, 950)),
        prompt=prompt(MEAN, EMPTY),
        denoise=GaussianDenoiser(SPREAD),
        schedule=SCHEDULE,
        encode=encode_pixels,
        encode_early=None,
        image_size=side,
    )


def closed_form(z: torch.Tensor, omega: float, draws: torch.Generator) -> torch.Tensor:
    """Return w(t) (eps_hat - eps) of pictures in [-1, 1], by the score of the guided normal."""
    t = draw_time(1, 0.0, draws, lowest=50, highest=(950, 950))
    noise = torch.randn(z.shape, generator=draws)
    alpha, sigma = SCHEDULE.at(t)
    mean = (1 + omega) * MEAN - omega * EMPTY
    guided = sigma * (alpha * z + sigma * noise - alpha * mean) / (alpha**2 * SPREAD**2 + sigma**2)
    return sigma**2 * (guided - noise)


@pytest.mark.parametrize("omega", [0.0, 3.0])
def test_value_and_gradient_of_a_picture_are_the_closed_form(omega: float) -> None:
    teacher, look = gaussian_teacher(16, omega), draw_look(SMALL, 0.5, generator())
    picture = torch.rand(1, 3, 16, 16, generator=generator(1)).requires_grad_()
    loss = teacher.loss(picture, look, 0.0, generator(2))
    (gradient,) = torch.autograd.grad(loss, picture)
    expected = closed_form(2 * picture.detach() - 1, omega, generator(2))
    # By the chain rule twice the gradient of what lies in [-1, 1], and over the number of its elements.
    assert torch.allclose(gradient, 2 * expected / picture.numel(), atol=1e-7)
    assert loss.item() == pytest.approx(0.5 * expected.square().mean().item(), rel=1e-4)


@pytest.mark.parametrize(("render", "side"), [(16, 8), (15, 4), (8, 16)])
def test_the_gradient_comes_back_through_the_resize(render: int, side: int) -> None:
    teacher, look = gaussian_teacher(side, 3.0), draw_look(SMALL, 0.5, generator())
    picture = torch.rand(1, 3, render, render, generator=generator(1)).requires_grad_()

    def resized(images: torch.Tensor) -> torch.Tensor:
        return functional.interpolate(images, size=(side, side), mode="bilinear", antialias=side < render)

    (gradient,) = torch.autograd.grad(teacher.loss(picture, look, 0.0, generator(2)), picture)
    expected = closed_form(2 * resized(picture.detach()) - 1, 3.0, generator(2))
    # The resize is linear: <its transpose of a gradient, v> = <the gradient, resized v>.
    v = torch.randn(picture.shape, generator=generator(3))
    assert (gradient * v).sum().item() == pytest.approx((2 * expected * resized(v)).mean().item(), rel=1e-3)
    # Where there are fewer pixels than were rendered, each of these counts.
    assert (gradient.abs() > 0).float().mean() > 0.99


def test_descent_ends_at_what_the_model_takes_for_the_prompt() -> None:
    teacher = gaussian_teacher(8, 0.0)
    picture = torch.zeros(1, 3, 8, 8, requires_grad=True)
    optimizer, draws = torch.optim.Adam([picture], lr=0.05), generator(4)
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 300)
        optimizer.zero_grad()
        teacher.loss(picture, draw_look(SMALL, 0.5, generator()), step / 300, draws).backward()
        optimizer.step()
    assert abs(picture.detach().mean().item() - (1 + MEAN) / 2) < 0.03


def test_a_model_without_texts_is_called_once_a_step(unconditional: Path) -> None:
    teacher = Teacher.of(SMALL, DdpmBundle.load(unconditional), generator())
    assert (teacher.config.omega, teacher.image_size, teacher.encode_early) == (0.0, 8, None)
    shapes: list[torch.Size] = []

    def watched(z: torch.Tensor, t: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        shapes.append(z.shape)
        return teacher.denoise(z, t, context)

    picture = torch.rand(1, 3, 16, 16)
    replace(teacher, denoise=watched).loss(picture, draw_look(SMALL, 0.5, generator()), 0.0, generator())
    assert shapes == [(1, 3, 8, 8)]


def test_a_model_of_greys_sees_the_mean_of_the_colours(tmp_path: Path) -> None:
    teacher = Teacher.of(SMALL, DdpmBundle.load(make_tiny_ddpm(tmp_path / "grey", channels=1)), generator())
    picture = torch.rand(1, 3, 16, 16, requires_grad=True)
    teacher.loss(picture, draw_look(SMALL, 0.5, generator()), 0.0, generator()).backward()
    assert picture.grad is not None
    assert torch.allclose(picture.grad[:, 0], picture.grad[:, 2])


@pytest.mark.parametrize("kind", ["unconditional", "textual"])
def test_a_cut_run_in_pixels_ends_in_the_same_field(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    load = DdpmBundle.load if kind == "unconditional" else DiffusionBundle.load
    bundle = load(request.getfixturevalue(kind))
    config = replace(SMALL, shading=0.6, views="none" if kind == "unconditional" else "perp-neg")
    events = check_cut_run(config, bundle, tmp_path / "run", "grid 13")
    notes = [event.text for event in events if isinstance(event, Note)]
    silent = f"bundle '{bundle.name}' reads no texts: the prompt names the files, and --omega changes nothing"
    assert notes == ([silent] if kind == "unconditional" else [])


def test_the_prompt_and_its_views_count_where_the_model_reads(textual: Path) -> None:
    bundle = DiffusionBundle.load(textual)
    fields = [
        draw(METHOD, replace(SMALL, steps=2, **change), bundle).state()["values"]
        for change in ({}, {"prompt": "a blue fish"}, {"views": "mixed"})
    ]
    assert not torch.equal(fields[0], fields[1])
    assert not torch.equal(fields[0], fields[2])


@pytest.mark.usefixtures("small_films")
def test_the_command_takes_bundles_of_pixels(
    unconditional: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["a red apple", "--nodes", "17", "--render", "16", "--steps", "3", "--quiet"]
    assert main([*words, "--bundle", str(unconditional)]) == 0
    assert json.loads((tmp_path / "red-apple.json").read_text())["cosines"] is None
    with pytest.raises(UserError, match="--views mixed: expected a bundle that reads texts, got 'noise'"):
        main([*words, "--views", "mixed", "--bundle", str(unconditional), "--out", "other.glb"])
    assert not (tmp_path / "other.glb").exists()
    with pytest.raises(UserError, match="expected a bundle for latent-diffusion or ddpm, got 'mnist' for lmconv"):
        main([*words, "--bundle", "mnist", "--out", "other.glb"])
