import torch

from runtime.guidance.clip import rank


def brightness(images: torch.Tensor, texts) -> torch.Tensor:
    assert list(texts) == ["a cat"]
    return images.flatten(1).mean(1)[:, None]


def test_best_first_and_ties_in_order() -> None:
    images = torch.tensor([0.2, 0.9, 0.2, 0.5]).view(4, 1, 1, 1).expand(4, 3, 2, 2)
    assert rank(images, "a cat", brightness) == [1, 3, 0, 2]


def test_a_score_that_is_no_number_comes_last() -> None:
    images = torch.tensor([float("nan"), 0.1]).view(2, 1, 1, 1).expand(2, 3, 2, 2)
    assert rank(images, "a cat", brightness) == [1, 0]
