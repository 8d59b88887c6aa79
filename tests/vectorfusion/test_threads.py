"""The same bytes on any number of threads: all presets by both routes, with the bundle that ships."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from runtime.command.method import draw
from runtime.engines.bundle import Bundle, DiffusionBundle
from runtime.guidance import samples
from runtime.guidance.prompt import encode_prompt
from runtime.vectorfusion import METHOD, PRESETS, SDS_FROM_SCRATCH, stages

THREADS = (1, 2, 3, 4)


@pytest.fixture(scope="module")
def bundles() -> dict[int, Bundle]:
    """The bundle by the threads of its engines, which are made once each."""
    return {threads: Bundle.load("icons", threads=threads) for threads in THREADS}


@pytest.fixture(autouse=True)
def few_calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(samples, "SAMPLER_STEPS", 2)
    monkeypatch.setattr(stages, "TraceConfig", partial(stages.TraceConfig, stages=2, steps=2))
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def digests(bundles: dict[int, Bundle], config: Any, threads: tuple[int, ...] = THREADS) -> list[str]:
    """Return a hash of the drawing that each number of threads ends with."""

    def drawn(count: int) -> str:
        torch.set_num_threads(count)
        state = draw(METHOD, config, bundles[count]).state()
        return hashlib.sha256(b"".join(tensor.contiguous().numpy().tobytes() for tensor in state.values())).hexdigest()

    return [drawn(count) for count in threads]


@pytest.mark.parametrize("route", ["trace", "scratch"])
@pytest.mark.parametrize("preset", ["icon", "sketch", "pixel"])
def test_the_bytes_are_the_same_on_any_number_of_threads(bundles: dict[int, Bundle], preset: str, route: str) -> None:
    config = replace(PRESETS[preset][route], prompt="a red apple", steps=2, samples=2, paths=4)
    # Tracing looks for regions at full size, which takes seconds each time: 2 and 4 threads are in the slow tests.
    assert len(set(digests(bundles, config, (1, 3) if route == "trace" else THREADS))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["icon", "sketch", "pixel"])
def test_so_they_are_by_tracing_on_two_and_four(bundles: dict[int, Bundle], preset: str) -> None:
    config = replace(PRESETS[preset]["trace"], prompt="a red apple", steps=2, samples=2, paths=4)
    assert len(set(digests(bundles, config))) == 1


def test_so_they_are_with_gradients_by_pytorch(bundles: dict[int, Bundle]) -> None:
    config = replace(SDS_FROM_SCRATCH, prompt="a red apple", steps=2, paths=4, gradients="torch")
    assert len(set(digests(bundles, config, (1, 3)))) == 1


@pytest.mark.parametrize("threads", [3, 4])
def test_every_network_has_the_same_bits(bundles: dict[int, Bundle], threads: int) -> None:
    """Each network that ships, with the batches that a drawing asks for."""
    generator = torch.Generator().manual_seed(0)

    def filled(dtype: str, shape: list[int]) -> torch.Tensor:
        if dtype == "int64":
            return torch.randint(0, 400 if len(shape) == 1 else 2, shape, generator=generator)
        return torch.rand(shape, generator=generator)

    engines: list[Callable[[int], Any]] = []
    for role in bundles[1].specs:
        engines.append(lambda count, role=role: bundles[count].engine(role))
    engines.append(lambda count: bundles[count].vjp_engine("latent_encoder"))
    for engine_of in engines:
        one, other = engine_of(1), engine_of(threads)
        for batch in (1, 2, 3):
            inputs = [
                filled(tensor.dtype, [batch if isinstance(size, str) else size for size in tensor.shape])
                for tensor in one.spec.inputs
            ]
            for first, second in zip(one(*inputs), other(*inputs), strict=True):
                assert torch.equal(first, second), (one.spec.name, batch)


def test_of_eight_samples_the_same_are_drawn_on(bundles: dict[int, Bundle], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "SAMPLER_STEPS", samples.FEWEST_STEPS)
    sheets = []
    for count in (1, 3):
        torch.set_num_threads(count)
        bundle = bundles[count]
        assert isinstance(bundle, DiffusionBundle)
        prompt = encode_prompt("a red apple", bundle.prompt_suffix, bundle.text_encoder())
        generator = torch.Generator().manual_seed(0)
        sheets += samples.best_sample(bundle, prompt, generator, count=8, omega=3.0, report=lambda event: None)
    assert torch.equal(sheets[0], sheets[2]) and torch.equal(sheets[1], sheets[3])
