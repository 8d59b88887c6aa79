"""PyTorch on one thread, kernels and engines on all: within a block, nested, and after an error."""

from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch

from runtime.command.method import Method, draw
from runtime.engines.bundle import Bundle
from runtime.lmconv import SAMPLE
from runtime.lmconv.config import Sample
from runtime.pictures import write_png
from runtime.threads import one_torch_thread, thread_count


@pytest.fixture
def three():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three")
def test_pytorch_has_one_thread_and_others_what_it_had() -> None:
    assert thread_count() == 3
    with one_torch_thread():
        assert (torch.get_num_threads(), thread_count()) == (1, 3)
        with one_torch_thread():
            assert (torch.get_num_threads(), thread_count()) == (1, 3)
        assert (torch.get_num_threads(), thread_count()) == (1, 3)
    assert (torch.get_num_threads(), thread_count()) == (3, 3)


@pytest.mark.usefixtures("three")
def test_after_an_error_it_is_as_before() -> None:
    with pytest.raises(KeyboardInterrupt), one_torch_thread():
        raise KeyboardInterrupt
    assert (torch.get_num_threads(), thread_count()) == (3, 3)


@pytest.mark.usefixtures("three")
def test_a_new_thread_in_the_block_has_one_of_each() -> None:
    counts = []
    with one_torch_thread():
        thread = Thread(target=lambda: counts.append((torch.get_num_threads(), thread_count())))
        thread.start()
        thread.join()
    assert counts == [(1, 1)]


def states(method: Method, config: Any, bundle: str | None) -> list[dict[str, torch.Tensor]]:
    """Return what a method ends with on one thread and on three."""
    before, ends = torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            ends.append(draw(method, config, Bundle.load(bundle, threads=count) if bundle else None).state())
    finally:
        torch.set_num_threads(before)
    return ends


def test_a_trace_at_256_pixels_has_the_same_bits_on_any_number_of_threads(tmp_path: Path) -> None:
    from runtime.vectorize import METHOD
    from runtime.vectorize.config import Config

    grey = torch.rand(3, 3, 3, generator=torch.Generator().manual_seed(0))
    picture = torch.nn.functional.interpolate(grey[None], (256, 256), mode="bicubic")[0].clamp(0, 1)
    write_png(tmp_path / "a.png", picture)
    config = Config(picture=tmp_path / "a.png", size=256, stages=1, steps=2, paths=3)
    one, *others = states(METHOD, config, None)
    for other in others:
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_digits_have_the_same_pixels_on_any_number_of_threads() -> None:
    one, *others = states(SAMPLE, Sample(count=3), "mnist")
    for other in others:
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
