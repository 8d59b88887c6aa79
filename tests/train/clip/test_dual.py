"""The dual encoder: the loss' closed form, unit embeddings, padding without influence."""

import math

import pytest
import torch

from tests.tolerance import FLOAT32_ROUNDING
from train.clip.__main__ import roughen
from train.clip.dual import DualEncoder, TextEmbedder, contrastive_loss


def test_equal_logits_give_the_logarithm_of_the_batch() -> None:
    loss = contrastive_loss(torch.zeros(8, 8), torch.eye(8, dtype=torch.bool))
    assert float(loss) == pytest.approx(math.log(8), abs=FLOAT32_ROUNDING)


def test_a_perfect_match_costs_nothing() -> None:
    assert float(contrastive_loss(200.0 * torch.eye(5), torch.eye(5, dtype=torch.bool))) < FLOAT32_ROUNDING


def test_two_pictures_of_one_thing_share_the_target() -> None:
    same = torch.eye(4, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    logits = torch.full((4, 4), -200.0).masked_fill(same, 0.0)
    # two rows are split evenly over their two matches, which costs log 2 each; the others cost nothing
    assert float(contrastive_loss(logits, same)) == pytest.approx(math.log(2) / 2, abs=FLOAT32_ROUNDING)


def test_embeddings_are_unit_vectors_and_logits_their_products() -> None:
    torch.manual_seed(0)
    network = DualEncoder().eval()
    images, context = torch.rand(3, 3, 128, 128), torch.randn(3, 17, 384)
    image, text = network.image(images), network.text(context)
    assert torch.allclose(image.norm(dim=1), torch.ones(3), atol=FLOAT32_ROUNDING)
    assert torch.allclose(network(images, context), 14.0 * image @ text.T, atol=1e-4)


def test_padding_does_not_change_a_text() -> None:
    torch.manual_seed(0)
    embedder = TextEmbedder().eval()
    context = torch.randn(2, 9, 384)
    padded = torch.cat([context, torch.zeros(2, 8, 384)], dim=1)
    assert torch.allclose(embedder(context), embedder(padded), atol=FLOAT32_ROUNDING)


def test_roughened_pictures_stay_pictures_and_repeat() -> None:
    images = torch.rand(20, 3, 32, 32)
    first = roughen(images, torch.Generator().manual_seed(3))
    assert torch.equal(first, roughen(images, torch.Generator().manual_seed(3)))
    assert first.shape == images.shape
    assert float(first.min()) >= 0.0 and float(first.max()) <= 1.0
    assert roughen(torch.ones(20, 3, 32, 32), torch.Generator().manual_seed(3)).amin() > 0.5
