"""What large models need at run time: batches in parts, packed contexts, zeroed prompts, scorers with tokenizers."""

import json
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from export.pretrained.tokenizer import clip_tokenizer, random_vocabulary
from runtime.engines.bundle.diffusion_manifest import DiffusionManifest
from runtime.engines.roles import (
    ClipScorer,
    ClipTextEncoder,
    ConditionedDenoiser,
    DualTextEncoder,
    EngineDenoiser,
    run_in_parts,
)
from runtime.engines.spec import EngineSpec, TensorSpec
from runtime.engines.tokens import PromptTokenizer
from runtime.errors import UserError
from tests.bundles import MANIFEST
from tests.tolerance import FLOAT32_ROUNDING


class Fake:
    """An engine of plain Python that remembers what it was asked."""

    def __init__(self, inputs: dict[str, tuple], function, greatest: int = 4) -> None:
        tensors = tuple(TensorSpec(name, ("B", *shape), "float32") for name, shape in inputs.items())
        self.spec = EngineSpec("fake", tensors, tensors[:1], {"B": (1, 2, greatest)})
        self.function, self.asked = function, []

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        assert all(len(tensor) <= self.spec.ranges["B"][2] for tensor in inputs)
        self.asked.append(inputs)
        outputs = self.function(*inputs)
        return outputs if isinstance(outputs, tuple) else (outputs,)


@pytest.mark.parametrize(("batch", "parts"), [(1, [1]), (4, [4]), (5, [3, 2]), (9, [3, 3, 3])])
def test_a_batch_that_is_too_large_runs_in_even_parts(batch: int, parts: list[int]) -> None:
    engine = Fake({"x": (2,), "y": (2,)}, lambda x, y: x + 10.0 * y)
    x, y = torch.rand(batch, 2), torch.rand(batch, 2)
    assert torch.equal(run_in_parts(engine, x, y), x + 10.0 * y)
    assert [len(inputs[0]) for inputs in engine.asked] == parts


def test_a_denoiser_takes_more_samples_than_its_engine() -> None:
    engine = Fake({"sample": (4, 2, 2), "timestep": (), "context": (3, 5)}, lambda z, t, c: z * t[:, None, None, None])
    z, t = torch.rand(7, 4, 2, 2), torch.arange(7)
    found = EngineDenoiser(engine)(z, t, torch.rand(7, 3, 5))
    assert torch.equal(found, z * t[:, None, None, None])


def tokenizer() -> PromptTokenizer:
    return PromptTokenizer(clip_tokenizer(*random_vocabulary(), "!", 8), 8, "tokenizer.json")


def text_engine(width: int, scale: float, *, pooled: int = 0) -> Fake:
    def run(ids: Tensor):
        context = scale * ids[:, :, None].float() * torch.ones(width)
        return (context, scale * ids[:, :1].float() * torch.ones(pooled)) if pooled else context

    return Fake({"input_ids": (8,)}, run)


def test_two_text_encoders_become_one_context_whose_last_row_is_the_pooled_text() -> None:
    first = ClipTextEncoder(tokenizer(), text_engine(3, 1.0))
    second = ClipTextEncoder(tokenizer(), text_engine(5, 2.0, pooled=4))
    context = DualTextEncoder(first, second)(["ab", ""])
    ids = tokenizer()(["ab", ""])[0].float()
    assert context.shape == (2, 9, 8)
    assert torch.equal(context[:, :8, :3], ids[:, :, None].expand(-1, -1, 3))
    assert torch.equal(context[:, :8, 3:], 2.0 * ids[:, :, None].expand(-1, -1, 5))
    assert torch.equal(context[:, 8, :4], 2.0 * ids[:, :1].expand(-1, 4))
    assert not context[:, 8, 4:].any()


def test_a_denoiser_takes_the_packed_context_apart_again() -> None:
    shapes = {"sample": (4, 2, 2), "timestep": (), "context": (8, 8), "pooled": (4,), "time_ids": (6,)}
    engine = Fake(shapes, lambda z, t, context, pooled, ids: z)
    packed = torch.rand(2, 9, 8)
    z = torch.rand(2, 4, 2, 2)
    denoise, t = ConditionedDenoiser(engine, (64.0, 64.0, 0.0, 0.0, 64.0, 64.0)), torch.zeros(2, dtype=torch.int64)
    assert torch.equal(denoise(z, t, packed), z)
    _, _, context, pooled, ids = engine.asked[0]
    assert torch.equal(context, packed[:, :8])
    assert torch.equal(pooled, packed[:, 8, :4])
    assert ids.tolist() == [[64.0, 64.0, 0.0, 0.0, 64.0, 64.0]] * 2
    assert all(tensor.is_contiguous() for tensor in engine.asked[0])


@pytest.mark.parametrize("zero", [True, False])
def test_the_empty_prompt_is_zero_where_the_model_was_trained_so(zero: bool) -> None:
    single = ClipTextEncoder(tokenizer(), text_engine(3, 1.0), zero_empty=zero)(["", "ab"])
    second = ClipTextEncoder(tokenizer(), text_engine(5, 2.0, pooled=4))
    double = DualTextEncoder(ClipTextEncoder(tokenizer(), text_engine(3, 1.0)), second, zero_empty=zero)(["", "ab"])
    for context in (single, double):
        assert bool(context[0].any()) is not zero
        assert context[1].any()


def test_a_single_string_is_no_list_of_prompts() -> None:
    with pytest.raises(TypeError, match="expected a sequence of strings, got the string 'a cat'"):
        ClipTextEncoder(tokenizer(), text_engine(3, 1.0))("a cat")


def test_a_scorer_with_a_tokenizer_of_its_own_gives_cosines() -> None:
    image = Fake({"images": (3, 2, 2)}, lambda x: x.flatten(1)[:, :2], greatest=2)
    text = Fake({"input_ids": (8,)}, lambda ids: ids[:, 1:3].float())
    pictures = torch.rand(3, 3, 2, 2)
    scores = ClipScorer(tokenizer(), image, text)(pictures, ["ab", "cd"])
    words = tokenizer()(["ab", "cd"])[0][:, 1:3].float()
    wanted = torch.nn.functional.cosine_similarity(pictures.flatten(1)[:, None, :2], words[None], dim=-1)
    torch.testing.assert_close(scores, wanted, atol=FLOAT32_ROUNDING, rtol=0)
    assert len(image.asked) == 2


LARGE = replace(
    MANIFEST,
    time_ids=(64.0, 64.0, 0.0, 0.0, 64.0, 64.0),
    zero_empty=True,
    sample_times=(999, 499),
    source={"sd": {"weights": "random:tiny-sdxl", "precision": "float16", "seed": 0, "keys": {"denoiser": "0"}}},
)


def test_a_manifest_tells_what_large_models_need_and_comes_back() -> None:
    assert DiffusionManifest.from_json(LARGE.to_json().encode(), "bundle.json") == LARGE
    plain = json.loads(MANIFEST.to_json())
    assert not {"time_ids", "zero_empty", "sample_times", "source"} & set(plain)  # old bundles stay as they are


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"time_ids": [1, 2]}, "field 'time_ids': expected six numbers of 0 to 65536"),
        ({"time_ids": [1, 2, 3, 4, 5, "6"]}, "field 'time_ids': expected six numbers"),
        ({"time_ids": [1, 2, 3, 4, 5, -6]}, "field 'time_ids': expected six numbers"),
        ({"zero_empty": 1}, "field 'zero_empty': expected bool, got int"),
        ({"sample_times": [1, 999]}, "field 'sample_times': expected falling times below 1000"),
        ({"sample_times": [1000]}, "field 'sample_times': expected falling times below 1000"),
        ({"sample_times": [9, 9]}, "field 'sample_times': expected falling times below 1000"),
        ({"sample_times": [1.5]}, "field 'sample_times': expected falling times below 1000"),
        ({"source": {"sd": {}}}, "source: 'sd': the field 'weights' is missing"),
        ({"source": {"sd": {"weights": "a", "precision": "b", "files": {"c": 1}}}}, "files: expected a text for each"),
        ({"source": {"sd": {"weights": "a", "precision": "b", "path": "c"}}}, "unknown field 'path'"),
        ({"source": {"sd": 3}}, "source: 'sd': expected an object, got int"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(change: dict, words: str) -> None:
    document = json.loads(LARGE.to_json()) | change
    with pytest.raises(UserError, match=words):
        DiffusionManifest.from_json(json.dumps(document).encode(), "bundle.json")
