import pytest
import torch
from torch import Tensor

from runtime.engines.bundle import DiffusionBundle
from runtime.engines.protocols import Engine, TextEncoder
from runtime.engines.remembering import RememberingTextEncoder
from runtime.engines.roles import IconsTextEncoder
from runtime.engines.tokens import PromptTokenizer
from tests.bundles import SPECS, make_tokenizer


class CountingEngine:
    """The context of a prompt is its token numbers plus the number of prompts that were encoded with it."""

    spec = SPECS["text_encoder"]

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        self.batches.append(len(ids))
        return ((ids + len(ids))[:, :, None].float(),)


class CountedBundle(DiffusionBundle):
    """A bundle that notes how often its text network runs."""

    calls = 0

    def engine(self, role: str, *, threads: int | None = None) -> Engine:
        inner = super().engine(role, threads=threads)
        if role != "text_encoder":
            return inner

        class Counted:
            spec = inner.spec

            def __call__(_, *inputs: Tensor) -> tuple[Tensor, ...]:
                self.calls += 1
                return inner(*inputs)

        return Counted()


@pytest.fixture
def engine() -> CountingEngine:
    return CountingEngine()


@pytest.fixture
def encoder(engine: CountingEngine) -> RememberingTextEncoder:
    inner = IconsTextEncoder(PromptTokenizer(make_tokenizer(), 16, "tokenizer.json"), engine)
    return RememberingTextEncoder(inner, capacity=3)


def test_what_was_encoded_is_not_encoded_again(encoder: RememberingTextEncoder, engine: CountingEngine) -> None:
    assert isinstance(encoder, TextEncoder)
    pair = encoder(["a cat", ""])
    assert torch.equal(encoder(["a cat"]), pair[:1])
    assert torch.equal(encoder(["", "", "a cat"]), pair[[1, 1, 0]])
    assert engine.batches == [2]


def test_a_batch_with_a_new_text_is_encoded_whole(encoder: RememberingTextEncoder, engine: CountingEngine) -> None:
    alone = encoder(["a cat"])
    pair = encoder(["a cat", ""])
    assert engine.batches == [1, 2]
    assert torch.equal(pair[0], alone[0] + 1)  # as of one call for both
    assert torch.equal(encoder(["a cat"]), pair[:1])


def test_the_oldest_texts_are_forgotten(encoder: RememberingTextEncoder, engine: CountingEngine) -> None:
    for text in ("a cat", "a dog", "a bird", "a cat", "a fish"):
        encoder([text])
    encoder(["a cat"])
    assert len(engine.batches) == 5
    assert len(encoder([""] * 2 + ["a", "red", "blue", "apple"])) == 6


def test_writing_into_a_context_changes_no_other(encoder: RememberingTextEncoder) -> None:
    first = encoder(["a cat"])
    expected = first.clone()
    first.zero_()
    encoder(["a cat"]).zero_()
    assert torch.equal(encoder(["a cat"]), expected)


@pytest.mark.parametrize(("words", "fits"), [(14, True), (15, False)])
def test_whether_a_prompt_fits_is_known_without_the_network(
    encoder: RememberingTextEncoder, engine: CountingEngine, words: int, fits: bool
) -> None:
    assert encoder.fits("a " * words) is fits
    assert engine.batches == []


def test_ranking_and_distillation_share_one_encoding(tiny: DiffusionBundle) -> None:
    bundle = CountedBundle.load(tiny.folder, threads=1)
    bundle.text_encoder()(["a cat", ""])
    bundle.scorer()(torch.rand(2, 3, 128, 128), ["a cat"])
    bundle.text_encoder()(["a cat", ""])
    assert bundle.calls == 1
