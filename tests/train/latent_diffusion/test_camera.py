"""Cameras as features and tokens: closed forms, symmetry, and the network without a camera."""

import math

import pytest
import torch

from tests.tolerance import FLOAT32_ROUNDING
from train.latent_diffusion.camera import FEATURES, CameraDenoiser, CameraToken, camera_features, mirror_cameras


def test_features_of_the_front_are_zeros_and_ones() -> None:
    torch.testing.assert_close(camera_features(torch.zeros(1, 2)), torch.tensor([[0.0, 1.0] * (FEATURES // 2)]))


def test_features_of_a_quarter_turn_and_a_sixth_of_elevation() -> None:
    half, root = 0.5, math.sqrt(0.75)
    expected = [1, 0, 0, -1, -1, 0, 0, 1, half, root, root, half, root, -half]
    got = camera_features(torch.tensor([[math.pi / 2, math.pi / 6]]))
    torch.testing.assert_close(got, torch.tensor([expected], dtype=torch.float32), atol=FLOAT32_ROUNDING, rtol=0)


def test_a_full_turn_changes_nothing() -> None:
    cameras = torch.tensor([[0.3, 0.5], [-2.0, 0.1]])
    turned = cameras + torch.tensor([2 * math.pi, 0.0])
    torch.testing.assert_close(camera_features(turned), camera_features(cameras), atol=2e-6, rtol=0)


def test_the_mirrored_camera_has_the_sines_of_the_azimuth_negated() -> None:
    cameras = torch.tensor([[0.7, 0.4]])
    signs = torch.tensor([-1.0, 1.0] * 4 + [1.0] * 6)
    torch.testing.assert_close(camera_features(mirror_cameras(cameras)), signs * camera_features(cameras))
    assert torch.equal(mirror_cameras(mirror_cameras(cameras)), cameras)


def test_an_untrained_token_is_zero_and_learns() -> None:
    token = CameraToken()
    tokens = token(torch.randn(3, 2))
    assert torch.equal(tokens, torch.zeros(3, 384))
    tokens.sum().backward()
    assert token.project.weight.grad is not None
    assert float(token.project.weight.grad.abs().sum()) > 0.0


@pytest.fixture(scope="module")
def denoiser() -> CameraDenoiser:
    torch.manual_seed(0)
    network = CameraDenoiser().eval()
    torch.nn.init.normal_(network.camera.project.weight, std=0.5)
    return network


@pytest.fixture
def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    sample, context = torch.randn(3, 4, 16, 16, generator=generator), torch.randn(3, 17, 384, generator=generator)
    return sample, torch.tensor([5, 500, 995]), context


@torch.no_grad()
def test_without_a_camera_it_is_the_denoiser_that_it_was_made_of(denoiser: CameraDenoiser, inputs) -> None:
    cameras = torch.randn(3, 2, generator=torch.Generator().manual_seed(2))
    expected = denoiser.base(*inputs)
    assert torch.equal(denoiser(*inputs), expected)
    absent = denoiser(*inputs, cameras, torch.zeros(3, dtype=torch.bool))
    torch.testing.assert_close(absent, expected, atol=FLOAT32_ROUNDING, rtol=FLOAT32_ROUNDING)


@torch.no_grad()
def test_each_picture_of_a_batch_has_its_own_camera_or_none(denoiser: CameraDenoiser, inputs) -> None:
    cameras = torch.tensor([[0.0, 0.5], [1.0, 0.5], [2.0, 0.5]])
    mixed = denoiser(*inputs, cameras, torch.tensor([True, False, True]))
    with_camera, without = denoiser(*inputs, cameras), denoiser(*inputs)
    expected = torch.stack([with_camera[0], without[1], with_camera[2]])
    torch.testing.assert_close(mixed, expected, atol=1e-5, rtol=1e-5)
    assert float((with_camera - without).abs().amax()) > 1e-4
