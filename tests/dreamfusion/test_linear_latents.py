import torch
from torch.nn import functional

from runtime.dreamfusion.linear_latents import linear_encoder, smooth_pictures
from tests.tolerance import FLOAT32_ROUNDING


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


MATRIX = torch.tensor([[0.5, -1.0, 0.2], [0.1, 0.3, 0.0], [-0.4, 0.0, 2.0], [0.0, 1.0, 1.0]])
OFFSET = torch.tensor([0.1, -0.2, 0.0, 3.0])


def linear(images: torch.Tensor) -> torch.Tensor:
    """An encoder that is linear in the mean colours of 8 x 8 pixels."""
    cells = functional.avg_pool2d(images, 8)
    return torch.einsum("bihw,ci->bchw", cells, MATRIX) + OFFSET.view(1, 4, 1, 1)


def test_a_linear_encoder_is_met_at_any_size() -> None:
    encode = linear_encoder(linear, 64, 8, generator())
    pictures = torch.rand(2, 3, 64, 64, generator=generator())
    assert torch.allclose(encode(pictures), linear(pictures), atol=20 * FLOAT32_ROUNDING)
    small = functional.avg_pool2d(pictures, 2)
    assert torch.allclose(encode(small), linear(pictures), atol=20 * FLOAT32_ROUNDING)


def test_the_gradient_is_that_of_the_matrix() -> None:
    encode = linear_encoder(linear, 64, 8, generator())
    pictures = torch.rand(1, 3, 16, 16, generator=generator()).requires_grad_()
    encode(pictures)[0, 2].sum().backward()
    assert pictures.grad is not None
    # Four pixels a cell share a latent's derivative.
    expected = (MATRIX[2] / 4).view(1, 3, 1, 1).expand_as(pictures)
    assert torch.allclose(pictures.grad, expected, atol=20 * FLOAT32_ROUNDING)


def test_of_an_encoder_that_is_not_linear_it_is_the_best() -> None:
    def bent(images: torch.Tensor) -> torch.Tensor:
        return linear(images).tanh()

    encode = linear_encoder(bent, 64, 8, generator())
    pictures = smooth_pictures(32, 64, generator())
    residual = bent(pictures) - encode(pictures)
    # Least squares: what is left is orthogonal to what the map is made of.
    assert residual.mean((0, 2, 3)).abs().max() < 1e-4
    cells = functional.avg_pool2d(pictures, 8)
    assert torch.einsum("bchw,bihw->ci", residual, cells).abs().max() / residual[:, 0].numel() < 1e-4


def test_pictures_are_colours_before_white() -> None:
    pictures = smooth_pictures(16, 32, generator())
    assert pictures.shape == (16, 3, 32, 32)
    assert pictures.min() >= 0 and pictures.max() <= 1
    assert pictures.flatten(1).std(1).min() > 0.05
    assert torch.equal(pictures, smooth_pictures(16, 32, generator()))
