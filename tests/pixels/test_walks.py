"""Walks that are advanced by blocks, or saved and restored, draw the bits of one that is not interrupted."""

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from runtime.errors import UserError
from runtime.pixels import walks as module
from runtime.pixels.orders import curve_order, maximum_context_order
from runtime.pixels.regions import hidden_region
from runtime.pixels.sampler import Sampler
from runtime.pixels.walks import Walks
from tests.pixels.walks import SHORT, eager_sampler, exported_sampler, make_network

SIZE = (4, 5)
HIDDEN = hidden_region("centre", SIZE)
ORDERS = {
    "maximum context": maximum_context_order(curve_order("s-curve", SIZE), HIDDEN),
    "raster": curve_order("raster", SIZE),
    "user": np.random.default_rng(6).permutation(20),
}
SAMPLERS: dict[str, Callable[[str], Sampler]] = {
    "PyTorch": lambda kind: eager_sampler(make_network(SHORT[kind]), SIZE),
    "ONNX Runtime": lambda kind: exported_sampler(SHORT[kind]),
}


def begin(sampler: Sampler, order: str) -> Walks:
    """Return walks of three samples of each of three pictures, in parts of four, four and one."""
    pixels = sampler.pixels
    pictures = torch.randint(
        pixels.levels, (3, pixels.channels, *SIZE), generator=torch.Generator().manual_seed(1), dtype=torch.int64
    )
    return sampler.begin(pictures, HIDDEN, ORDERS[order], generator=torch.Generator().manual_seed(2), samples=3)


@pytest.fixture(autouse=True)
def _several_parts(monkeypatch) -> None:
    monkeypatch.setattr(module, "MIN_PART", 4)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", SHORT)
@pytest.mark.parametrize("backend", SAMPLERS)
def test_blocks_and_restored_walks_draw_the_same_bits(backend: str, kind: str, order: str) -> None:
    whole = begin(SAMPLERS[backend](kind), order)
    whole.advance()
    assert (len(whole.parts), whole.done) == (3, whole.total)
    walks = begin(SAMPLERS[backend](kind), order)
    for block in (0, 1, 2, 1, 100):
        restored = SAMPLERS[backend](kind).restore(load(save(walks.state())))
        assert (restored.done, restored.total) == (walks.done, walks.total)
        assert torch.equal(restored.levels, walks.levels)
        restored.advance()
        assert torch.equal(restored.levels, whole.levels)
        walks.advance(block)
    assert walks.done == walks.total
    assert torch.equal(walks.levels, whole.levels)
    assert torch.equal(SAMPLERS[backend](kind).restore(walks.state()).levels, whole.levels)


def test_a_walk_goes_to_its_last_hidden_pixel_and_no_further() -> None:
    walks = begin(SAMPLERS["PyTorch"]("binary"), "raster")
    assert walks.total == 2 * SIZE[1] - 2  # two rows but the first and the last pixel: columns 1 to 3 are hidden
    told: list[tuple[int, int]] = []
    walks.advance(3, report=lambda *done: told.append(done))
    assert told[-1][0] == told[-1][1]
    walks.advance(10**6)
    assert walks.done == walks.total
    walks.advance()
    assert walks.done == walks.total


def test_a_state_does_not_change_as_the_walk_advances() -> None:
    walks = begin(SAMPLERS["PyTorch"]("colour"), "maximum context")
    state = walks.state()
    before = {name: value.clone() for name, value in state.items()}
    walks.advance()
    assert all(torch.equal(state[name], value) for name, value in before.items())


def test_a_state_holds_only_the_rows_that_are_still_read() -> None:
    walks = begin(SAMPLERS["PyTorch"]("binary"), "maximum context")
    rows = [len(walks.state()["rows"])]
    while walks.done < walks.total:
        walks.advance(1)
        rows.append(len(walks.state()["rows"]))
    assert rows == sorted(rows, reverse=True)
    assert rows[-1] == 0


DAMAGE = {
    "a missing order": lambda state: state.pop("order"),
    "a missing feature": lambda state: state.pop(next(name for name in state if name.startswith("features"))),
    "no permutation": lambda state: state["order"].zero_(),
    "another size": lambda state: state.update(size=torch.tensor([5, 5])),
    "a size of one number": lambda state: state.update(size=torch.tensor([20])),
    "a fractional size": lambda state: state.update(size=torch.tensor([4.0, 5.0])),
    "a negative size": lambda state: state.update(size=torch.tensor([-4, -5])),
    "an observed mask of numbers": lambda state: state.update(observed=state["observed"].long()),
    "a span behind the end": lambda state: state.update(span=torch.tensor([0, 30, 31])),
    "a span backwards": lambda state: state.update(span=torch.tensor([8, 4, 12])),
    "a span that begins elsewhere": lambda state: state["span"].sub_(torch.tensor([0, 1, 0])),
    "levels out of range": lambda state: state["levels"].add_(100),
    "levels of no picture": lambda state: state.update(levels=state["levels"][:0]),
    "levels of fewer pictures": lambda state: state.update(levels=state["levels"][:2]),
    "levels of more channels": lambda state: state.update(levels=state["levels"].repeat(1, 1, 2)),
    "noise of another shape": lambda state: state.update(noise=state["noise"][:, :1]),
    "rows of other pixels": lambda state: state["rows"].add_(1),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_state_is_refused(name: str) -> None:
    sampler = SAMPLERS["PyTorch"]("colour")
    walks = begin(sampler, "maximum context")
    walks.advance(2)
    state = walks.state()
    DAMAGE[name](state)
    with pytest.raises(UserError, match=re.escape("checkpoint:") + "|order: expected"):
        sampler.restore(state)


def test_a_state_of_another_network_is_refused() -> None:
    state = begin(SAMPLERS["PyTorch"]("colour"), "raster").state()
    with pytest.raises(UserError, match="does not fit the bundle"):
        SAMPLERS["PyTorch"]("binary").restore(state)


@pytest.mark.gpu
def test_a_restored_walk_draws_the_same_bits_on_a_gpu() -> None:
    sampler = eager_sampler(make_network(SHORT["colour"]), SIZE, "cuda")
    whole = begin(sampler, "raster")
    whole.advance()
    walks = begin(sampler, "raster")
    walks.advance(3)
    restored = sampler.restore(walks.state())
    for part in (walks, restored):
        part.advance()
        assert torch.equal(part.levels, whole.levels)
