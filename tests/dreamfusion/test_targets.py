"""Fields that follow targets: whose turn it is, at what time, what a checkpoint keeps, and the loss in closed form."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from runtime.command.method import checked, draw
from runtime.dreamfusion import METHOD, Config
from runtime.dreamfusion.grid_stages import STRIDE, new_grid
from runtime.dreamfusion.targets import (
    ALPHA,
    CAMERAS_AROUND,
    SEQUENCE,
    TargetGrid,
    camera_due,
    cameras_at,
    fitting_terms,
    renew,
    time_of,
)
from runtime.dreamfusion.teacher import Teacher
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError
from runtime.field.fields.grid import DenseGrid
from runtime.field.poses import angles_of
from runtime.guidance.prompt import Prompt
from runtime.guidance.sampler import TARGET_CALLS
from runtime.guidance.schedule import Schedule
from runtime.vector.trace.smoothing import smooth
from tests.dreamfusion.cutting import check_cut_run

SMALL = Config(prompt="a red apple", nodes=17, render=16, steps=12, target_every=2)


@pytest.fixture(scope="module")
def bundle(tiny_folder: Path) -> DiffusionBundle:
    return DiffusionBundle.load(str(tiny_folder))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blob(side: int = 16) -> TargetGrid:
    return TargetGrid.of(new_grid("gaussian", 17, generator()), side)


class Painter:
    """Networks whose targets are a red disc before white, and that remember what they were called with."""

    def __init__(self, side: int = 16) -> None:
        self.times: list[int] = []
        self.seen: list[Tensor] = []
        self.noised: list[Tensor] = []
        y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        self.disc = (x - 7.5).square() + (y - 7.5).square() < 25
        self.picture = torch.where(self.disc, torch.tensor([0.8, 0.1, 0.1])[:, None, None], torch.ones(3, side, side))

    def encode(self, picture: Tensor) -> Tensor:
        self.seen.append(picture)
        return torch.zeros(1, 4, 2, 2)

    def decode(self, latents: Tensor) -> Tensor:
        return self.picture[None]

    def denoise(self, z: Tensor, t: Tensor, context: Tensor) -> Tensor:
        self.times.append(int(t[0]))
        self.noised.append(z[0].clone())
        return torch.zeros_like(z)

    def teacher(self, config: Config) -> Teacher:
        betas = {"num_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
        return Teacher(
            config=config,
            prompt=Prompt((config.prompt,), torch.zeros(1, 2, 3), torch.zeros(1, 2, 3)),
            denoise=self.denoise,  # pyright: ignore[reportArgumentType]
            schedule=Schedule.of(betas),
            encode=self.encode,
            encode_early=None,
            image_size=16,
            decode=self.decode,  # pyright: ignore[reportArgumentType]
        )


def test_each_camera_has_its_turn_and_the_times_fall() -> None:
    due = [camera_due(step, 5) for step in range(80)]
    assert [camera for camera in due if camera is not None] == [*SEQUENCE, *SEQUENCE]
    assert sorted(SEQUENCE) == list(range(CAMERAS_AROUND))
    assert all(camera is None for step, camera in enumerate(due) if step % 5)
    # of 480 steps the last round begins at 440
    times = [time_of(step, 480, 5, 950, 200) for step in (0, 110, 220, 440, 475)]
    assert times == [950, 762, 575, 200, 200]
    assert time_of(3, 10, 5, 950, 200) == 200  # less than a round is all last round, but for its first step
    assert time_of(0, 10, 5, 950, 200) == 950


def test_cameras_stand_where_they_are_said_to() -> None:
    angles = torch.tensor([[0.0, 0.1], [2.5, -0.05], [-1.2, 0.5]])
    cameras = cameras_at(angles, 64)
    azimuth, elevation = angles_of(cameras.centres)
    turned = torch.stack([azimuth, elevation], 1)
    torch.testing.assert_close(turned, angles, atol=1e-5, rtol=0.0)
    torch.testing.assert_close(cameras.centres.norm(dim=1), torch.full((3,), 4.0))
    at, depth = cameras.project(torch.zeros(1, 3))
    torch.testing.assert_close(at, torch.full((3, 1, 2), 32.0))
    torch.testing.assert_close(depth, torch.full((3, 1), 4.0))


def test_a_target_is_what_the_denoiser_makes_of_what_is_seen() -> None:
    painter, scene = Painter(), blob()
    config = replace(SMALL, steps=480, target_every=5, upper_t=(950, 200))
    renew(config, painter.teacher(config), scene, 0, 0, generator())
    assert scene.angles[0, 0] == 0.0  # the front
    assert scene.has_target.tolist() == [True, *[False] * 7]
    assert painter.times[0] == 950 and len(painter.times) == TARGET_CALLS
    assert painter.times == sorted(painter.times, reverse=True)
    shown = scene.render(cameras_at(scene.angles[:1], 16).all_rays(0))
    torch.testing.assert_close(painter.seen[0][0].flatten(1).T, shown.on(torch.ones(1, 3)).clamp(0, 1))
    # the picture is smoothed, and the matte of a smoothed disc of this size loses part of its edge
    assert float((scene.inside[0] == painter.disc).float().mean()) > 0.9
    assert not scene.inside[0][~painter.disc].any() and scene.inside[0, 7, 7]
    assert torch.equal(scene.pictures[0], smooth(painter.picture[None])[0])
    first = painter.noised[0]
    renew(config, painter.teacher(config), scene, 3, 20, generator(1))
    assert abs(float(scene.angles[3, 0]) - 3 * math.pi / 4) < 0.4 * math.pi / 4
    # the same noise for every camera: both latents are 0, so the noised ones differ by sigma alone
    again = painter.noised[TARGET_CALLS]
    torch.testing.assert_close(again / again.norm(), first / first.norm())
    assert painter.times[TARGET_CALLS] < 950


def fitted(scene: TargetGrid) -> dict[str, float]:
    """Return the terms of a step without the entropy."""
    terms = fitting_terms(replace(SMALL, entropy=0.0), scene, STRIDE, generator())
    return {name: float(value.detach()) for name, value in terms.items()}


def test_the_loss_is_the_error_of_pictures_and_of_alpha() -> None:
    scene = blob()
    scene.has_target[2] = True
    scene.angles[2] = torch.tensor([1.0, 0.2])
    with torch.no_grad():
        scene.values[..., 0, 0] = -30.0  # nothing: white and no alpha everywhere
        scene.update_occupancy()
    scene.pictures[2] = torch.tensor([1.0, 0.5, 0.25])[:, None, None]
    scene.inside[2, :8] = True
    terms = fitted(scene)
    assert terms.keys() == {"target", "alpha"}
    assert terms["target"] == pytest.approx((0.25 + 0.5625) / 3, abs=1e-4)
    assert terms["alpha"] == pytest.approx(ALPHA * 0.5, abs=0.02)  # half of the pixels, 4,096 are drawn
    scene.pictures[2], scene.inside[2] = 1.0, False
    none = fitted(scene)
    assert none["target"] < 1e-8 and none["alpha"] < 1e-8


def test_a_state_keeps_the_targets_and_a_finer_grid_has_them(tmp_path: Path) -> None:
    scene = blob()
    scene.pictures[1], scene.has_target[1], scene.inside[1, 3] = 0.25, True, True
    again = TargetGrid.from_state(scene.state())
    finer = scene.resized(33)
    assert isinstance(finer, TargetGrid) and finer.size == 33
    for other in (again, finer):
        for name, value in scene.targets().items():
            assert torch.equal(value, other.targets()[name]), name
    assert torch.equal(again.values, scene.values)
    plain = DenseGrid.resized(DenseGrid(scene.values, scene.occupied, scene.box), 33)
    assert torch.equal(finer.values, plain.values)
    state = scene.state()
    with pytest.raises(UserError, match=r"grid: expected has_target of \(8,\), got none"):
        TargetGrid.from_state({name: value for name, value in state.items() if name != "has_target"})
    with pytest.raises(UserError, match=r"grid: expected inside of \(8, 16, 16\), got \(8, 4, 4\)"):
        TargetGrid.from_state({**state, "inside": torch.zeros(8, 4, 4, dtype=torch.bool)})


def test_a_cut_run_ends_in_the_same_field(bundle: DiffusionBundle, tmp_path: Path) -> None:
    config = checked(METHOD, replace(SMALL, bundle=str(bundle.folder)))
    check_cut_run(config, bundle, tmp_path / "run", "grid 13")
    scene = draw(METHOD, config, bundle)
    assert isinstance(scene, TargetGrid) and int(scene.has_target.sum()) == 6  # of 12 steps every second one
    plain = draw(METHOD, replace(config, target_every=0), bundle)
    assert isinstance(plain, DenseGrid) and not isinstance(plain, TargetGrid)


def test_what_does_not_go_together_is_named() -> None:
    with pytest.raises(UserError, match="--target-every 2: expected with --preset fast only, got thesis"):
        METHOD.check(replace(SMALL, preset="thesis"))  # pyright: ignore[reportOptionalCall]
    with pytest.raises(UserError, match="--target-every 2: expected --cameras distant, got paper"):
        METHOD.check(replace(SMALL, cameras="paper"))  # pyright: ignore[reportOptionalCall]
