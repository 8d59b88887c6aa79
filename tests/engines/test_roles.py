import pytest
import torch

from runtime.engines.bundle import DiffusionBundle
from runtime.engines.protocols import TextGuide
from runtime.engines.tokens import PromptTokenizer
from runtime.errors import UserError
from tests.bundles import WORDS, make_tokenizer
from tests.tolerance import ENGINE_FLOAT32, FLOAT32_ROUNDING, VJP_FLOAT32


@pytest.fixture(scope="module")
def tokenizer() -> PromptTokenizer:
    return PromptTokenizer(make_tokenizer(), 16, "tokenizer.json")


def test_prompts_become_numbers_between_the_two_marks(tokenizer: PromptTokenizer) -> None:
    ids, mask = tokenizer(["a red apple", "", "A zebra!"])
    a, red, apple = (4 + WORDS.index(word) for word in ("a", "red", "apple"))
    assert ids.dtype == mask.dtype == torch.int64
    assert ids.tolist() == [
        [2, a, red, apple, 3] + [0] * 11,
        [2, 3] + [0] * 14,
        [2, a, 1, 1, 3] + [0] * 11,
    ]
    assert mask.sum(1).tolist() == [5, 2, 5]


def test_a_prompt_of_exactly_the_limit_passes_and_one_more_is_refused(tokenizer: PromptTokenizer) -> None:
    _, mask = tokenizer(["a " * 14])
    assert mask.sum() == 16
    with pytest.raises(UserError, match="is too long: expected at most 14 tokens, got 15; use fewer words"):
        tokenizer(["a cat", "a " * 15])


def test_a_very_long_prompt_is_not_repeated_whole(tokenizer: PromptTokenizer) -> None:
    with pytest.raises(UserError) as error:
        tokenizer(["a " * 10_000])
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("prompt", ["\ud800", None, 3])
def test_what_is_not_text_is_refused(tokenizer: PromptTokenizer, prompt: str) -> None:
    with pytest.raises(UserError, match="expected text, got something else"):
        tokenizer([prompt])


def test_truncation_and_padding_of_the_file_itself_are_ignored() -> None:
    from tokenizers import Tokenizer

    inner = Tokenizer.from_str(make_tokenizer().decode())
    inner.enable_truncation(4)
    inner.enable_padding(length=32)
    tokenizer = PromptTokenizer(inner.to_str().encode(), 16, "tokenizer.json")
    assert tokenizer(["a red apple on the tree"])[1].sum() == 8


@pytest.mark.parametrize("document", [b"", b"{}", b"\xff", b"[1, 2]"])
def test_a_file_that_is_no_tokenizer_is_refused(document: bytes) -> None:
    with pytest.raises(UserError, match=r"tokenizer\.json: expected a tokenizer file"):
        PromptTokenizer(document, 16, "tokenizer.json")


def test_the_context_is_the_sentence_then_the_tokens_with_padding_zeroed(tiny: DiffusionBundle) -> None:
    context = tiny.text_encoder()(["a red apple", ""])
    assert context.shape == (2, 17, 384)
    assert context.dtype == torch.float32
    torch.testing.assert_close(context[:, 0].norm(dim=-1), torch.full((2,), 384**0.5))
    assert (context[0, 6:] == 0).all()
    assert (context[1, 3:] == 0).all()
    assert (context[0, 1:6].abs().sum(-1) > 0).all()


def test_a_prompt_has_the_same_context_alone_and_in_a_batch(tiny: DiffusionBundle) -> None:
    encode = tiny.text_encoder()
    together = encode(["a cat", "a blue heart with stars"])
    torch.testing.assert_close(encode(["a cat"]), together[:1], atol=ENGINE_FLOAT32, rtol=0)


def test_a_single_string_is_no_list_of_prompts(tiny: DiffusionBundle) -> None:
    with pytest.raises(TypeError, match="expected a sequence of strings, got the string 'a cat'"):
        tiny.text_encoder()("a cat")


def test_the_denoiser_depends_on_all_its_inputs(tiny: DiffusionBundle) -> None:
    denoise, encode = tiny.denoiser(), tiny.text_encoder()
    z = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    t, context = torch.tensor([500]), encode(["a cat"])
    base = denoise(z, t, context)
    assert base.shape == z.shape
    for other in (denoise(z + 0.1, t, context), denoise(z, t + 100, context), denoise(z, t, encode(["a dog"]))):
        assert (other - base).abs().max() > 1e-3


def test_decoded_pictures_stay_in_range(tiny: DiffusionBundle) -> None:
    z = 20.0 * torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    images = tiny.latent_decoder()(z)
    assert images.shape == (2, 3, 128, 128)
    assert images.min() == 0.0
    assert images.max() == 1.0


def test_the_three_gradient_providers_share_their_values(tiny: DiffusionBundle) -> None:
    images = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    value = tiny.latent_encoder(gradients="none")(images)
    torch.testing.assert_close(tiny.latent_encoder(gradients="torch")(images), value, atol=ENGINE_FLOAT32, rtol=0)


def test_scores_are_cosines_of_the_two_embeddings(tiny: DiffusionBundle) -> None:
    images = torch.rand(3, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    texts = ["a cat", "a red apple"]
    scores = tiny.scorer()(images, texts)
    assert scores.shape == (3, 2)
    pictures = tiny.engine("image_embedder")(images)[0]
    sentences = tiny.engine("text_embedder")(tiny.text_encoder()(texts))[0]
    for i, picture in enumerate(pictures):
        for j, sentence in enumerate(sentences):
            cosine = picture.dot(sentence) / (picture.norm() * sentence.norm())
            assert float(scores[i, j]) == pytest.approx(float(cosine), abs=FLOAT32_ROUNDING)


def test_a_guide_is_a_column_of_the_scores(tiny: DiffusionBundle) -> None:
    images = torch.rand(3, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    texts = ["a cat", "a red apple"]
    scores = tiny.scorer()(images, texts)
    for column, text in enumerate(texts):
        guide = tiny.guide(text, gradients="none")
        assert isinstance(guide, TextGuide)
        torch.testing.assert_close(guide(images), scores[:, column], atol=FLOAT32_ROUNDING, rtol=0)


def test_a_guide_through_an_encoder_that_cannot_guide_is_refused(tiny: DiffusionBundle) -> None:
    images = torch.rand(1, 3, 128, 128).requires_grad_()
    with pytest.raises(ValueError, match="requires a gradient"):
        tiny.guide("a cat", gradients="none")(images)
    with pytest.raises(UserError, match=r"'tiny' has no file image_embedder/config\.json; export it again"):
        tiny.guide("a cat")
    with pytest.raises(UserError, match="is too long: expected at most 14 tokens, got 15; use fewer words"):
        tiny.guide("a " * 15, gradients="none")


@pytest.fixture(scope="module")
def icons() -> DiffusionBundle:
    return DiffusionBundle.load("icons", threads=1)


def test_a_guides_gradient_is_that_of_the_cosine(icons: DiffusionBundle) -> None:
    z = torch.randn(2, *icons.latent_shape, generator=torch.Generator().manual_seed(0))
    images = icons.latent_decoder()(z)
    (sentence,) = icons.engine("text_embedder")(icons.text_encoder()(["a red apple"]))[0]
    twin = icons.image_encoder()
    ours = images.clone().requires_grad_()
    embeddings = twin(ours)
    cosines = (embeddings @ sentence) / (embeddings.norm(dim=1) * sentence.norm())
    (expected,) = torch.autograd.grad(cosines.sum(), ours)
    for gradients in ("torch", "engine", "auto"):
        x = images.clone().requires_grad_()
        value = icons.guide("a red apple", gradients)(x)
        torch.testing.assert_close(value, cosines, atol=ENGINE_FLOAT32, rtol=0)
        (gradient,) = torch.autograd.grad(value.sum(), x)
        torch.testing.assert_close(gradient, expected, atol=VJP_FLOAT32 * float(expected.abs().max()), rtol=0)


def test_a_picture_that_climbs_a_guide_scores_as_what_the_text_says(icons: DiffusionBundle) -> None:
    texts = ["a red apple", "a fire truck"]
    image = torch.full((1, 3, 128, 128), 0.5).requires_grad_()
    guide, score = icons.guide(texts[0]), icons.scorer()
    before = score(image.detach(), texts)[0]
    for _ in range(8):
        (gradient,) = torch.autograd.grad(guide(image).sum(), image)
        image = (image + 0.02 * gradient.sign()).clamp(0.0, 1.0).detach().requires_grad_()
    after = score(image.detach(), texts)[0]
    assert after[0] > before[0] + 0.3
    assert after[0] > after[1]
