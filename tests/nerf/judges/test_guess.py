"""pixelNeRF as a prior: which photos it is shown and how, where its guess is looked at, and which way it pulls."""

import math
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from runtime.command.method import draw
from runtime.errors import UserError
from runtime.field.cameras import Cameras
from runtime.field.fields.conditioned import ConditionedField
from runtime.field.fields.grid import DenseGrid, GridAdam
from runtime.field.poses import angles_of, on_sphere
from runtime.field.training_views import TrainingViews
from runtime.loop.events import Stepped
from runtime.loop.signals import StoppedRun
from runtime.nerf import METHOD, Config
from runtime.nerf.judges import Judges
from runtime.nerf.judges.guess import (
    ELEVATION,
    FAR,
    PLACES,
    PLACES_A_STEP,
    UNTIL,
    Guess,
    angles_to,
    cameras_around,
    farthest_apart,
    photos_of,
)
from runtime.nerf.scenes import box
from tests.pixelnerf.small import make_bundle

CAPTURE = Path(__file__).parents[3] / "benchmarks" / "capture"

SIDE = 24


def ring(azimuths: list[float], distance: float = 4.0) -> torch.Tensor:
    """Return poses on the horizon."""
    return on_sphere(torch.tensor(azimuths), torch.zeros(len(azimuths)), torch.full((len(azimuths),), distance))


def colours_towards(directions: torch.Tensor) -> torch.Tensor:
    """Return a smooth colour of each direction."""
    return 0.5 + 0.4 * directions


def photograph(cameras: Cameras, radius: float) -> TrainingViews:
    """Return pictures of a ball around the origin whose colour depends on the ray alone."""
    pixels = []
    for view in range(len(cameras)):
        rays = cameras.all_rays(view)
        inside = torch.linalg.cross(rays.directions, rays.origins).norm(dim=1) < radius
        rgba = torch.cat([colours_towards(rays.directions), torch.ones(len(inside), 1)], 1) * inside[:, None]
        pixels.append((rgba * 255).round().to(torch.uint8))
    return TrainingViews(cameras, torch.cat(pixels), None, True)


def make_cameras(poses: torch.Tensor, side: int, focal: float, centre: tuple[float, float] | None = None) -> Cameras:
    x, y = centre or (side / 2, side / 2)
    return Cameras(poses, torch.tensor([focal, focal, x, y]).repeat(len(poses), 1), torch.full((len(poses), 2), side))


def test_angles_are_to_the_nearest() -> None:
    centres = ring([0.0, 1.0, 3.0])[:, :3, 3]
    others = 7 * ring([0.25, 2.0])[:, :3, 3]
    assert torch.allclose(angles_to(centres, others), torch.tensor([0.25, 0.75, 1.0]), atol=1e-3)


def test_photos_from_far_apart_are_chosen() -> None:
    centres = ring([0.0, 0.1, 0.2, 3.0, 1.6])[:, :3, 3]
    assert farthest_apart(centres, 3) == [0, 3, 4]
    assert farthest_apart(centres, 1) == [0]
    assert farthest_apart(centres[:2], 3) == [0, 1]


def test_cameras_are_spread_over_the_sphere_between_two_elevations() -> None:
    cameras = cameras_around(2.0, 4.0, 1.9, 10)
    azimuth, elevation = angles_of(cameras.centres)
    assert torch.allclose(cameras.centres.norm(dim=1), torch.full((PLACES,), 8.0))
    assert ELEVATION[0] < elevation.min() < elevation.max() < ELEVATION[1]
    # Equal areas: heights are evenly spaced.
    heights = elevation.sin().diff()
    assert torch.allclose(heights, heights.mean().expand(PLACES - 1), atol=1e-5)
    assert torch.allclose(cameras.forwards, -functional.normalize(cameras.centres, dim=1), atol=1e-5)
    # No azimuth has a gap of more than a quarter of the circle.
    sorted_azimuth = azimuth.sort().values
    assert sorted_azimuth.diff().max() < math.pi / 2


def test_a_photo_that_looks_straight_at_the_ball_stays_as_it_is() -> None:
    # The ball of radius .5 just fits at distance 4, which is 8 radii.
    focal = 0.5 * math.sqrt(8**2 - 1) * SIDE
    views = photograph(make_cameras(ring([0.0, 2.0]), SIDE, focal), 0.5)
    photos = photos_of(views, SIDE)
    # To half a pixel, which is as wide as a 24th of the diameter.
    assert abs(photos.radius - 0.5) < 0.5 / SIDE
    assert torch.allclose(photos.poses, views.cameras.poses, atol=1e-6)
    assert torch.allclose(photos.focal, 0.5 * (photos.distance.square() - 1).sqrt())
    assert torch.allclose(photos.distance, torch.full((2, 1), 4 / photos.radius), atol=1e-4)
    inner = (slice(None), slice(None), slice(6, 18), slice(6, 18))
    given = torch.stack([views.picture(view).permute(2, 0, 1) for view in range(2)])
    assert torch.allclose(photos.pictures[inner], given[inner], atol=0.02)


def test_a_photo_is_turned_straight_to_the_ball() -> None:
    # Rolled, aimed beside the ball, of another size, and with another centre of the picture.
    poses = ring([0.4])
    tilt = 0.1
    roll = torch.tensor([[math.cos(0.7), -math.sin(0.7), 0], [math.sin(0.7), math.cos(0.7), 0], [0, 0, 1.0]])
    turn = torch.tensor([[math.cos(tilt), 0, math.sin(tilt)], [0, 1.0, 0], [-math.sin(tilt), 0, math.cos(tilt)]])
    poses[:, :3, :3] = poses[:, :3, :3] @ turn @ roll
    photos = photos_of(photograph(make_cameras(poses, 120, 200.0, (66.0, 50.0)), 0.6), SIDE)
    focal = float(photos.focal) * SIDE
    straight = make_cameras(ring([0.4]), SIDE, focal)
    rays = straight.all_rays(0)
    away = torch.linalg.cross(rays.directions, rays.origins).norm(dim=1).view(SIDE, SIDE)
    alpha = photos.pictures[0, 3]
    assert (alpha[away < 0.5] > 0.99).all()
    assert (alpha[away > 0.7] == 0).all()
    shown = photos.pictures[0, :3].permute(1, 2, 0)[away < 0.5]
    assert torch.allclose(shown, colours_towards(rays.directions).view(SIDE, SIDE, 3)[away < 0.5], atol=0.01)


def test_photos_that_do_not_suit_are_refused() -> None:
    views = photograph(make_cameras(ring([0.0]), SIDE, 90.0), 0.5)
    with pytest.raises(UserError, match="pictures with alpha"):
        photos_of(replace(views, has_alpha=False), SIDE)
    with pytest.raises(UserError, match="no object"):
        photos_of(replace(views, pixels=torch.zeros_like(views.pixels)), SIDE)
    # At distance 1 rays of this lens reach no farther than .13 from the origin; turned away, they miss a ball of 1.
    away = ring([0.0], 0.5)
    away[:, :3, :3] = away[:, :3, :3] @ torch.diag(torch.tensor([-1.0, 1, -1]))
    behind = make_cameras(away, SIDE, 2.0)
    full = TrainingViews(behind, torch.full((SIDE * SIDE, 4), 255, dtype=torch.uint8), None, True)
    with pytest.raises(UserError, match="cameras within it"):
        photos_of(full, SIDE)


class Ball:
    """Stands for the engine of a field: a ball of half the radius, solid and red."""

    def __call__(self, features: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor]:
        solid = (points[:, 0].norm(dim=1) < 0.5).float()
        return (torch.cat([200 * solid[:, None], torch.tensor([1.0, 0, 0]).expand(len(points), 3)], dim=1),)


def make_guess(radius: float = 1.0) -> Guess:
    lens = (torch.full((1, 1), 1.9), torch.full((1, 1), 4.0))
    masks = torch.ones(1, 8, 8, dtype=torch.bool)
    field = ConditionedField(Ball(), torch.rand(1, 8, 8, 5), masks, ring([0.0]), lens=lens)
    cameras = cameras_around(radius, 4.0, 1.9, SIDE)
    return Guess.seen(field, radius, cameras, ring([0.0])[:, :3, 3])


def test_the_guess_is_looked_at_and_counts_by_how_far_photos_are() -> None:
    guess = make_guess()
    rays = guess.cameras.all_rays(5)
    away = torch.linalg.cross(rays.directions, rays.origins).norm(dim=1)
    assert (guess.alpha[5][away < 0.45] > 0.98).all()
    # Empty nodes are a raw density, which is never 0.
    assert (guess.alpha[5][away > 0.6] < 1e-3).all()
    # Colours spread beyond the surface within planes of x alone: towards x some black is mixed in, at most a tenth.
    assert torch.allclose(guess.colour[5][away < 0.45], torch.tensor([1.0, 0, 0]), atol=0.1)
    angles = angles_to(guess.cameras.centres, torch.tensor([[1.0, 0, 0]]))
    assert torch.allclose(guess.weight, (angles / FAR).clamp(max=1))
    assert guess.weight.min() < 0.7 < guess.weight.max() == 1


def test_an_object_of_half_the_size_has_the_same_pictures() -> None:
    whole, half = make_guess(), make_guess(0.5)
    # Rays of the two differ by rounding alone.
    assert torch.allclose(whole.alpha, half.alpha, atol=1e-3)
    assert torch.allclose(whole.colour, half.colour, atol=1e-3)


def test_terms_are_weighted_squared_errors() -> None:
    guess, scene = make_guess(), DenseGrid.empty(17, box(), colour=0.25)
    # A quarter of the run is half of what the guess has, so half of its weight is left.
    terms = guess.terms(scene, 0.3, UNTIL / 2, torch.Generator().manual_seed(4))
    generator = torch.Generator().manual_seed(4)
    place, pixel, at = guess.draw(generator)
    assert place.unique().numel() == PLACES_A_STEP
    assert torch.equal(pixel, at[:, 1].long() * SIDE + at[:, 0].long())
    shown = scene.render(guess.cameras.rays_of(place, at), torch.rand(len(place), generator=generator))
    colour = alpha = 0.0
    white, opacities = shown.on(torch.ones(1, 3)).detach(), shown.alpha.detach()
    for ray in range(len(place)):
        k, p = int(place[ray]), int(pixel[ray])
        wanted = guess.colour[k, p] + 1 - guess.alpha[k, p]
        opacity = float(guess.alpha[k, p])
        sure = float(guess.weight[k]) * (1 - 4 * opacity * (1 - opacity))
        colour += float(sure * (white[ray] - wanted).square().sum() / 3)
        alpha += float(sure * (opacities[ray] - opacity) ** 2 / 3)
    assert math.isclose(terms["guess"].item(), 0.15 * colour / len(place), rel_tol=1e-4)
    assert math.isclose(terms["guess alpha"].item(), 0.15 * alpha / len(place), rel_tol=1e-4)


def test_a_field_becomes_the_guess_where_nothing_else_counts() -> None:
    guess, scene = make_guess(), DenseGrid.empty(17, box())
    optimizer = GridAdam(scene, lr=0.3, colour_lr=0.03)
    errors = []
    for step in range(80):
        optimizer.zero_grad()
        terms = guess.terms(scene, 1.0, 0.0, torch.Generator().manual_seed(step))
        total = torch.stack(list(terms.values())).sum()
        total.backward()
        optimizer.step()
        errors.append(float(total.detach()))
    assert sum(errors[-5:]) < 0.1 * sum(errors[:5])


def test_each_step_of_the_first_half_has_its_terms() -> None:
    config = Config(capture=CAPTURE, guess=0.5)
    judges = Judges(config, None, None, make_guess())
    scene = DenseGrid.empty(9, box())
    for step in range(10):
        terms = judges.terms(scene, step, 10, torch.Generator())
        assert set(terms) == ({"guess", "guess alpha"} if step < 10 * UNTIL else set())
    assert replace(judges, config=replace(config, guess=0.0)).terms(scene, 1, 10, torch.Generator()) == {}


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "things")


@pytest.mark.parametrize("field", ["dense", "hashed"])
def test_a_cut_run_ends_in_the_same_field(field: str, networks: Path, tmp_path: Path) -> None:
    config = Config(
        capture=CAPTURE,
        views=4,
        size=24,
        steps=30,
        rays=300,
        nodes=17,
        field=field,  # pyright: ignore[reportArgumentType]
        prior=str(networks),
        hull=field == "dense",
    )
    whole = draw(METHOD, config)
    stop, seen = threading.Event(), []

    def report(event: object) -> None:
        if isinstance(event, Stepped):
            seen.append(event)
            if len(seen) == 18:
                stop.set()

    with pytest.raises(StoppedRun):
        draw(METHOD, config, run=tmp_path / "run", report=report, stop=stop)
    assert {"guess", "guess alpha"} <= set(seen[0].terms)
    resumed = draw(METHOD, config, run=tmp_path / "run")
    for name, value in whole.state().items():
        assert torch.equal(value, resumed.state()[name]), name


def test_a_run_is_not_resumed_by_other_networks(networks: Path, tmp_path: Path) -> None:
    config = Config(capture=CAPTURE, views=3, size=16, steps=2, rays=100, nodes=9, prior=str(networks))
    draw(METHOD, config, run=tmp_path / "run")
    (tmp_path / "run" / "prior.sha256").write_text("0" * 64)
    with pytest.raises(UserError, match="its networks have changed"):
        draw(METHOD, config, run=tmp_path / "run")
