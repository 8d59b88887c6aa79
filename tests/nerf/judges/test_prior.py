"""A diffusion model as a prior for few photos: where it looks, what it is told, and which way it pulls."""

import math
from pathlib import Path

import torch

from runtime.field.fields.grid import DenseGrid
from runtime.field.poses import angles_of
from runtime.field.training_views import TrainingViews
from runtime.guidance.prompt import Prompt
from runtime.guidance.schedule import Schedule
from runtime.nerf import Config
from runtime.nerf.judges import Judges
from runtime.nerf.judges.prior import ELEVATION, EVERY, PARTS, SIDE, Prior
from runtime.nerf.judges.random_views import RandomViews
from runtime.nerf.scenes import Split, box

CAPTURE = Path(__file__).parents[3] / "benchmarks" / "capture"

SCHEDULE = {"num_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def make_prior(front: float | None = None) -> tuple[Prior, TrainingViews]:
    """Return a prior whose latents are the means of 8 x 8 pixels, and whose model takes every picture for black."""
    config = Config(capture=CAPTURE, views=3, size=24)
    views = TrainingViews.of(Split.of(config).capture, [0, 1, 2])
    schedule = Schedule.of(SCHEDULE)

    def denoise(z: torch.Tensor, t: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        return z / schedule.at(t)[1]  # the noise, if what is clean is 0

    prior = Prior(
        views=RandomViews.of(views, SIDE, ELEVATION, "angle"),
        prompt=Prompt(("a robot",), torch.ones(1, 4, 5), torch.zeros(1, 4, 5)),
        omega=2.0,
        denoise=denoise,
        schedule=schedule,
        encode=lambda images: torch.nn.functional.avg_pool2d(images, 8),
        side=64,
        front=front,
    )
    return prior, views


def test_it_looks_from_where_photos_may_be_taken() -> None:
    prior, views = make_prior()
    distances, generator = views.cameras.centres.norm(dim=1), torch.Generator().manual_seed(0)
    drawn = [prior.views.draw(generator) for _ in range(200)]
    centres = torch.stack([rays.origins[0] for rays, _ in drawn])
    elevation = torch.cat([angles[1] for _, angles in drawn])
    assert ((centres.norm(dim=1) >= distances.min() - 1e-4) & (centres.norm(dim=1) <= distances.max() + 1e-4)).all()
    # Uniform in the angle: the mean of a uniform law, within three standard errors.
    low, high = ELEVATION
    assert elevation.min() >= low
    assert elevation.max() <= high
    assert abs(elevation.mean() - (low + high) / 2) < 3 * (high - low) / math.sqrt(12 * 200)
    assert torch.allclose(torch.cat([angles[0] for _, angles in drawn]), angles_of(centres)[0], atol=1e-5)


def test_the_model_is_told_where_the_camera_is_from_the_front_on() -> None:
    front = math.radians(-90)
    prior, _ = make_prior(front)
    rays, prompt = prior.draw(torch.Generator().manual_seed(1))
    azimuth, elevation = angles_of(rays.origins[:1])
    expected = torch.stack([azimuth - front, elevation, torch.ones(1)], 1)
    assert torch.allclose(prompt.context[:, -1, :3], expected, atol=1e-5)
    assert torch.allclose(prompt.empty[:, -1, :3], expected, atol=1e-5)
    untold, _ = make_prior()
    assert untold.draw(torch.Generator().manual_seed(1))[1] is untold.prompt


def test_it_pulls_a_picture_towards_what_the_model_takes_it_for() -> None:
    prior, _ = make_prior()
    colour = torch.full((SIDE * SIDE, 3), 0.5, requires_grad=True)
    total = torch.zeros_like(colour)
    generator = torch.Generator().manual_seed(2)
    for _ in range(20):
        (gradient,) = torch.autograd.grad(prior.loss(colour, prior.prompt, 0.5, generator), colour)
        total += gradient
    # eps_hat - eps is alpha / sigma times the latents themselves: down wherever the picture is bright.
    assert (total > 0).all()
    black = torch.zeros(SIDE * SIDE, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(prior.loss(black, prior.prompt, 0.5, generator), black)
    assert gradient.abs().max() < 1e-6


def test_it_looks_at_every_second_step_between_the_first_and_the_last() -> None:
    prior, _ = make_prior()
    due = [step for step in range(1000) if prior.due(step, 1000)]
    assert due == list(range(round(PARTS[0] * 1000), round(PARTS[1] * 1000), EVERY))
    config = Config(capture=CAPTURE, views=3, size=24, distillation=0.25)
    judges, generator = Judges(config, None, prior), torch.Generator().manual_seed(3)
    scene = DenseGrid.empty(9, box())
    assert judges.terms(scene, 1, 1000, generator) == {}
    terms = judges.terms(scene, 500, 1000, generator.manual_seed(4))
    rays, prompt = prior.draw(generator.manual_seed(4))
    expected = 0.25 * prior.loss(scene.render(rays).on(torch.ones(1, 3)), prompt, 0.5, generator)
    assert terms["distillation"] == expected > 0
