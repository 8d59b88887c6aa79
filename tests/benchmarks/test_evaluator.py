"""The judge of captions: what it is trained on, and how its heads vote."""

import numpy as np
import pytest
import torch

from benchmarks.consistency.evaluator import HEADS, Committee, Head, degrade, train_head


def _degraded(count: int, seed: int) -> torch.Tensor:
    picture = torch.full((3, 32, 32), 255, dtype=torch.uint8)
    picture[:, 8:24, 8:24] = torch.tensor([230, 40, 30], dtype=torch.uint8)[:, None, None]
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    return torch.stack([degrade(picture, rng, generator) for _ in range(count)])


def test_degraded_pictures_keep_their_colours_and_lose_their_edges() -> None:
    worse = _degraded(40, seed=0)
    assert worse.shape == (40, 3, 32, 32) and worse.min() >= 0.0 and worse.max() <= 1.0
    inside = worse[:, :, 12:20, 12:20].mean((2, 3))
    expected = torch.tensor([230, 40, 30]) / 255
    torch.testing.assert_close(inside.mean(0), expected, atol=0.03, rtol=0)
    torch.testing.assert_close(inside, expected.expand_as(inside), atol=0.15, rtol=0)  # JPEG's colours at quality 8
    edges = worse[:, 1, 16, 6:10].diff(dim=1).abs().amax(1)  # 215 levels of green within one pixel before
    assert (edges < 0.7).sum() > 10 and edges.unique().numel() > 30
    assert torch.equal(worse, _degraded(40, seed=0))


def test_the_committee_votes_by_the_mean_of_its_heads() -> None:
    torch.manual_seed(0)
    committee = Committee().eval()
    features, sentences = torch.randn(3, 1280), torch.randn(4, 384)
    each = torch.stack([head(features, sentences) for head in committee.heads])
    assert len(each) == HEADS
    torch.testing.assert_close(committee(features, sentences), each.sum(0) / HEADS)


@pytest.mark.parametrize("shift", [0, 1])
def test_a_head_learns_which_caption_belongs_to_which_features(shift: int) -> None:
    """Six kinds of pictures whose captions are known; shifted by one, it learns the shifted ones."""
    generator = torch.Generator().manual_seed(0)
    kinds, sentences = torch.randn(6, 1280, generator=generator), torch.randn(6, 384, generator=generator)
    labels = torch.arange(6).repeat(20)
    features = kinds[labels] + 0.3 * torch.randn(120, 1280, generator=generator)
    captions = sentences.roll(shift, 0)
    head = train_head(features, captions[labels][:, None], labels, steps=30)
    assert isinstance(head, Head)
    with torch.no_grad():
        assert torch.equal(head(kinds, captions).argmax(1), torch.arange(6))
