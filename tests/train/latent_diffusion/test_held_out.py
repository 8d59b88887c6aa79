"""Held-out losses of networks whose answers are known."""

from pathlib import Path

import pytest
import torch

from tests.train.latent_diffusion.made import write_prepared
from train.latent_diffusion import prepared
from train.latent_diffusion.held_out import measure
from train.latent_diffusion.prepared import Icons, ObjectViews


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ObjectViews, Icons]:
    monkeypatch.setattr(prepared, "hold_out", lambda objects: torch.arange(len(objects)) == 0)
    objects, icons = write_prepared(tmp_path)
    return ObjectViews.load(objects), Icons.load(icons)


class Zero:
    """Predicts no noise where there is a camera, and noise of 2 where there is none."""

    def __call__(self, sample, t, context, cameras=None, present=None) -> torch.Tensor:
        return torch.full_like(sample, 2.0 if cameras is None else 0.0)


def test_losses_of_a_network_that_predicts_nothing(data) -> None:
    losses = measure(Zero(), *data, batches=4, batch=16)
    assert losses["right"] == pytest.approx(1.0, abs=0.02)
    assert losses["quarter"] == losses["opposite"] == 1.0
    assert losses["null"] == pytest.approx(5.0, rel=0.03)
    assert losses["icons"] == pytest.approx(5.0, abs=0.15)


def test_draws_depend_on_the_seed_only(data) -> None:
    first, second, other = (measure(Zero(), *data, batches=1, batch=8, seed=seed) for seed in (0, 0, 1))
    assert first == second
    assert first != other


class Turned:
    """Remembers the cameras that it is given."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def __call__(self, sample, t, context, cameras=None, present=None) -> torch.Tensor:
        if cameras is not None:
            self.seen.append(cameras)
        assert int(t.min()) >= 300
        return torch.zeros_like(sample)


def test_wrong_cameras_are_turned_by_a_quarter_and_a_half(data) -> None:
    network = Turned()
    measure(network, *data, batches=1, batch=8)
    right, quarter, opposite = network.seen
    for turned, angle in ((quarter, torch.pi / 2), (opposite, torch.pi)):
        torch.testing.assert_close(turned - right, torch.tensor([[angle, 0.0]]).expand(8, 2))
