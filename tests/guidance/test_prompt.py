import pytest
import torch
from torch import Tensor

from runtime.guidance.prompt import Prompt, encode_prompt, styled


class Lengths:
    """Encodes a text as its number of letters."""

    calls = 0

    def __call__(self, texts: list[str]) -> Tensor:
        self.calls += 1
        return torch.tensor([float(len(text)) for text in texts])[:, None, None].expand(-1, 2, 3)

    def fits(self, prompt: str) -> bool:
        return len(prompt.split()) <= 5


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a red apple", "a red apple, flat icon"),
        ("a red apple and pear", "a red apple and pear"),
        ("a pear, crayon", "a pear, crayon"),
        ("one two three four five six", "one two three four five six"),
    ],
)
def test_the_suffix_gives_way_to_a_long_prompt_and_to_a_style(prompt: str, expected: str) -> None:
    assert styled(prompt, ", flat icon", Lengths().fits) == expected


def test_a_prompt_is_encoded_by_one_call() -> None:
    encoder = Lengths()
    prompt = Prompt.encode("cat", encoder)
    assert encoder.calls == 1 and prompt.texts == ("cat",)
    assert prompt.context.shape == prompt.empty.shape == (1, 2, 3)
    assert prompt.pair(2)[:, 0, 0].tolist() == [3.0, 3.0, 0.0, 0.0]
    assert prompt.conditional(2)[:, 0, 0].tolist() == [3.0, 3.0]


def test_each_picture_of_a_batch_has_the_text_of_its_view() -> None:
    prompt = Prompt.encode(["a", "bbb", "cc"], Lengths())
    batch = prompt.at(torch.tensor([2, 0, 2, 1]))
    assert batch.texts == ("cc", "a", "cc", "bbb")
    assert batch.pair(4)[:, 0, 0].tolist() == [2.0, 1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0]


def test_a_mixture_of_views_is_a_mixture_of_contexts() -> None:
    prompt = Prompt.encode(["cat", "horse"], Lengths())
    mixed = prompt.mixed(torch.tensor([[0.25, 0.75], [1.0, 0.0]]))
    assert mixed.texts == ("horse", "cat")
    assert mixed.context[:, 0, 0].tolist() == [0.25 * 3 + 0.75 * 5, 3.0]


def test_views_stand_before_the_style_and_all_texts_are_alike() -> None:
    views = ("front view", "seen from above")
    short = encode_prompt("a cat", ", icon", Lengths(), views[:1])
    assert short.texts == ("a cat, front view, icon",)
    # The second text has no room for the style, so the first goes without it, too.
    assert encode_prompt("a cat", ", icon", Lengths(), views).texts == ("a cat, front view", "a cat, seen from above")
    assert encode_prompt("a cat, oil", ", icon", Lengths(), views[:1]).texts == ("a cat, oil, front view",)
    assert encode_prompt("a cat", ", icon", Lengths()).texts == ("a cat, icon",)
