import dataclasses
import threading
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from runtime.guidance.sampler import TARGET_CALLS, falling_time
from runtime.loop.events import Event, Stepped
from runtime.loop.folder import RunFolder
from runtime.loop.optimize import generator_of, optimize
from runtime.loop.signals import StoppedRun
from runtime.vector.paths import pixel_grid
from runtime.vector.scene import VectorScene
from runtime.vectorfusion import PRESETS, SDS_FROM_SCRATCH
from runtime.vectorfusion.stages import build
from tests.guidance.gaussians import GaussianDenoiser
from tests.vectorfusion.test_vectorfusion import SIDE, GreyBundle, config_of, draw


@dataclasses.dataclass
class CountingBundle(GreyBundle):
    """Counts the calls of the denoiser, whose data have a spread: no two targets are the same."""

    network: GaussianDenoiser = dataclasses.field(default_factory=lambda: GaussianDenoiser(0.2))

    def denoiser(self):
        return self.network


def test_icons_from_scratch_follow_targets_and_other_presets_score_distillation() -> None:
    assert PRESETS["icon"]["scratch"].target_every == 30
    rest = [
        PRESETS[preset][route] for preset, route in (("icon", "trace"), ("sketch", "scratch"), ("pixel", "scratch"))
    ]
    assert all(config.target_every == 0 for config in [*rest, SDS_FROM_SCRATCH])


def test_times_of_targets_by_hand() -> None:
    found = [falling_time(step, 10, 3, 950, 200) for step in range(10)]
    assert found == [950] * 3 + [700] * 3 + [450] * 3 + [200]
    assert [falling_time(step, 4, 4, 950, 200) for step in range(4)] == [950] * 4
    assert [falling_time(step, 2, 100, 600, 600) for step in range(2)] == [600] * 2


def test_the_drawing_becomes_the_picture_of_the_prompt() -> None:
    # Squares can show any picture of 4 x 4 averages, and the denoiser knows one: the prompt's grey.
    config = config_of("pixel", "scratch", paths=16, steps=150, target_every=30, sample_omega=0.0, saturation=0.0)
    start = pixel_grid(4, size=(SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    picture = draw(config, GreyBundle(), start).render().detach()
    assert (picture - 0.25).abs().max() < 0.01


def test_a_step_is_the_squared_error_and_its_gradient() -> None:
    config = config_of("icon", "scratch", paths=5, steps=60, target_every=30, self_intersection=0.0)
    stage = build(config, CountingBundle(), torch.Generator())[-1]
    scene = stage.begin(None, torch.Generator().manual_seed(0))
    assert stage.loss is not None and isinstance(scene, VectorScene)
    terms = stage.loss(scene, 0, generator_of(0, 0, 0, "loss"))
    assert set(terms) == {"target"} and scene.target is not None
    image = scene.render()
    assert terms["target"].item() == pytest.approx((image[0] - scene.target).square().mean().item())
    terms["target"].backward()
    (by_hand,) = torch.autograd.grad(image, [scene.points], 2 * (image.detach() - scene.target) / image.numel())
    torch.testing.assert_close(scene.points.grad, by_hand)  # the two factors in another order


def test_targets_are_renewed_when_it_is_time_and_not_before() -> None:
    bundle, targets = CountingBundle(), []

    def note(event: Event) -> None:
        if isinstance(event, Stepped):
            assert isinstance(event.scene, VectorScene) and event.scene.target is not None
            targets.append(event.scene.target)

    config = config_of("icon", "scratch", paths=3, steps=7, target_every=3, sample_omega=0.0)
    optimize(build(config, bundle, torch.Generator()), seed=0, report=note)
    assert bundle.network.calls == 3 * TARGET_CALLS
    assert [one is before for before, one in pairwise(targets)] == [True, True, False] * 2
    assert not torch.equal(targets[0], targets[3]) and not torch.equal(targets[3], targets[6])


def test_saturation_and_self_intersection_count_beside_targets() -> None:
    terms: list[dict[str, float]] = []
    config = config_of("icon", "scratch", paths=3, steps=1, saturation=0.5)
    optimize(build(config, GreyBundle(), torch.Generator()), seed=0, report=lambda event: terms.append(event.terms))
    assert set(terms[0]) == {"target", "self_intersection", "saturation"}


@pytest.mark.parametrize("cut", [1, 4])
def test_a_run_that_was_cut_between_two_targets_ends_in_the_same_bytes(tmp_path: Path, cut: int) -> None:
    config = config_of("icon", "scratch", paths=3, steps=7, target_every=3, sample_omega=0.0)

    def stages():
        return build(config, CountingBundle(), torch.Generator())

    whole, stop = optimize(stages(), seed=0), threading.Event()

    def note(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == cut:
            stop.set()

    with RunFolder.create(tmp_path / "run", {}) as run:
        with pytest.raises(StoppedRun):
            optimize(stages(), seed=0, run=run, report=note, stop=stop)
        resumed = optimize(stages(), seed=0, run=run)
    for name, value in whole.state().items():
        assert torch.equal(value, resumed.state()[name]), name
    assert "target" in whole.state()
