import pytest
import torch

from runtime.errors import UserError
from runtime.guidance.clip import caption_loss, cosines_around, rank


def brightness(images: torch.Tensor, texts) -> torch.Tensor:
    assert list(texts) == ["a cat"]
    return images.flatten(1).mean(1)[:, None]


def test_best_first_and_ties_in_order() -> None:
    images = torch.tensor([0.2, 0.9, 0.2, 0.5]).view(4, 1, 1, 1).expand(4, 3, 2, 2)
    assert rank(images, "a cat", brightness) == [1, 3, 0, 2]


def test_a_score_that_is_no_number_comes_last() -> None:
    images = torch.tensor([float("nan"), 0.1]).view(2, 1, 1, 1).expand(2, 3, 2, 2)
    assert rank(images, "a cat", brightness) == [1, 0]


def test_cosines_around_an_object_tell_their_azimuths() -> None:
    pictures = torch.tensor([0.2, 0.9, 0.25, 0.5]).view(4, 1, 1, 1).expand(4, 3, 2, 2)
    around = cosines_around(pictures, "a cat", lambda: brightness)
    assert around is not None
    assert [row["azimuth"] for row in around] == [0, 90, 180, 270]
    assert [round(row["cosine"], 6) for row in around] == [0.2, 0.9, 0.25, 0.5]


def test_without_a_text_or_an_encoder_there_are_no_cosines() -> None:
    def missing():
        raise UserError("no dual encoder")

    pictures = torch.zeros(4, 3, 2, 2)
    assert cosines_around(pictures, "", lambda: brightness) is None
    assert cosines_around(pictures, "a cat", missing) is None


def test_the_caption_loss_is_minus_the_sum_of_the_cosines() -> None:
    views = torch.rand(4, 3, 2, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = caption_loss(views, lambda images: images.mean((1, 2, 3)))
    assert loss.item() == pytest.approx(-views.detach().mean((1, 2, 3)).sum().item())
    loss.backward()
    assert torch.allclose(views.grad, torch.full_like(views, -1 / 12))
