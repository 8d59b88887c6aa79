"""The cached sampler computes what the whole network computes, at every position and in every order."""

import re
from itertools import product

import numpy as np
import pytest
import torch

from runtime.errors import UserError
from runtime.pixels import sampler as module
from runtime.pixels import walks
from runtime.pixels.heads import log_mass
from runtime.pixels.orders import Order, Size, curve_order, maximum_context_order
from runtime.pixels.regions import hidden_region
from runtime.pixels.sampler import Sampler
from tests.pixels.walks import (
    BINARY,
    COLOUR,
    CONDITIONED,
    FLAT,
    GREY,
    SHORT,
    eager_sampler,
    exported_sampler,
    make_network,
)
from tests.tolerance import ENGINE_FLOAT32
from train.lmconv.network import Architecture, LocallyMaskedPixelCNN

SIZE = (4, 5)
PIXELS = 20


def orders() -> dict[str, tuple[Order, int]]:
    """Return orders by name, and how many positions at their beginning are observed."""
    found = {f"s-curve:{v}": (curve_order("s-curve", SIZE, v), 0) for v in range(8)}
    found |= {f"{name}:{v}": (curve_order(name, SIZE, v), 0) for name in ("raster", "hilbert") for v in (0, 5)}
    found["user"] = (np.random.default_rng(5).permutation(PIXELS), 0)
    for region in ("top", "left", "centre"):
        hidden = hidden_region(region, SIZE)
        found[f"context {region}"] = (maximum_context_order(curve_order("s-curve", SIZE), hidden), int((~hidden).sum()))
    found["user, observed"] = (np.random.default_rng(6).permutation(PIXELS), 7)
    found["all observed"] = (curve_order("hilbert", SIZE), PIXELS)
    return found


def draw_levels(architecture: Architecture, batch: int, size: Size = SIZE) -> torch.Tensor:
    draws = torch.Generator().manual_seed(3)
    return torch.randint(architecture.levels, (batch, architecture.channels, *size), generator=draws)


def whole_parameters(network: LocallyMaskedPixelCNN, levels: torch.Tensor, order: Order) -> torch.Tensor:
    unit = levels.float() * (2.0 / (network.architecture.levels - 1)) - 1.0
    with torch.no_grad():
        return network(unit, network.masks(order, tuple(levels.shape[2:])))


@pytest.mark.parametrize("name", orders())
@pytest.mark.parametrize("architecture", [BINARY, GREY, COLOUR, FLAT, CONDITIONED])
def test_a_walk_gives_the_parameters_of_the_whole_network(architecture: Architecture, name: str) -> None:
    order, observed = orders()[name]
    network, levels = make_network(architecture), draw_levels(architecture, 2)
    found = eager_sampler(network, SIZE).parameters(levels, order, observed)
    assert (found - whole_parameters(network, levels, order)).abs().max() <= ENGINE_FLOAT32


@pytest.mark.parametrize("name", orders())
@pytest.mark.parametrize("kind", SHORT)
def test_the_exported_networks_do_so_too(kind: str, name: str) -> None:
    architecture, (order, observed) = SHORT[kind], orders()[name]
    levels = draw_levels(architecture, 3)
    found = exported_sampler(architecture).parameters(levels, order, observed)
    expected = whole_parameters(make_network(architecture), levels, order)
    assert (found - expected).abs().max() <= ENGINE_FLOAT32


def test_drawn_pictures_have_the_probabilities_of_the_whole_network() -> None:
    size, count = (2, 2), 40_000
    network, order = make_network(SHORT["binary"]), np.array([2, 0, 3, 1])
    pictures = torch.tensor(list(product((0, 1), repeat=4))).reshape(16, 1, *size)
    nats = log_mass(whole_parameters(network, pictures, order), pictures.permute(0, 2, 3, 1), network.architecture)
    joint = nats.sum((1, 2)).exp()
    sampler, draws = eager_sampler(network, size), torch.Generator().manual_seed(0)

    def frequencies(drawn: torch.Tensor) -> torch.Tensor:
        return (drawn[:, None] == pictures).flatten(2).all(-1).float().mean(0)

    found = frequencies(sampler.sample(order, size, generator=draws, count=count))
    assert ((found - joint).abs() <= 5 * (joint / count).sqrt()).all()
    hidden = np.array([[True, False], [False, True]])  # pixel 2 is observed before them, pixel 1 only after them
    drawn = sampler.complete(pictures[0b0110][None], hidden, order, generator=draws, samples=count).flatten(1)
    assert (drawn[:, [1, 2]] == 1).all()
    expected = (joint * (pictures.flatten(1)[:, 2] == 1)).reshape(2, 2, 2, 2).sum((1, 2)).flatten()
    found = torch.bincount(2 * drawn[:, 0] + drawn[:, 3], minlength=4) / count
    assert ((found - expected / expected.sum()).abs() <= 5 * (0.25 / count) ** 0.5).all()


@pytest.mark.parametrize("name", ["raster:0", "user, observed", "context top", "context centre"])
def test_what_is_observed_stays_and_seeds_repeat(name: str) -> None:
    order, hidden = orders()[name][0], hidden_region("centre", SIZE)
    sampler, levels = eager_sampler(make_network(COLOUR), SIZE), draw_levels(COLOUR, 2)

    def complete(seed: int) -> torch.Tensor:
        draws = torch.Generator().manual_seed(seed)
        return sampler.complete(levels, hidden, order, generator=draws, samples=3)

    drawn = complete(1)
    assert drawn.shape == (6, 3, *SIZE)
    given = levels.repeat_interleave(3, 0)
    assert (drawn == given)[:, :, torch.from_numpy(~hidden)].all()
    assert torch.equal(drawn, complete(1))
    assert not torch.equal(drawn, complete(2))


def test_hidden_pixels_of_the_input_are_never_read() -> None:
    hidden, levels = hidden_region("left", SIZE), draw_levels(GREY, 1)
    order, sampler = orders()["context left"][0], eager_sampler(make_network(GREY), SIZE)
    other = torch.where(torch.from_numpy(hidden), 6 - levels, levels)
    drawn = [sampler.complete(x, hidden, order, generator=torch.Generator().manual_seed(0)) for x in (levels, other)]
    assert torch.equal(*drawn)


def test_a_large_batch_is_prefilled_in_parts(monkeypatch) -> None:
    order, observed = orders()["context top"]
    network, levels = make_network(BINARY), draw_levels(BINARY, 5)
    monkeypatch.setattr(module, "PREFILL", 2 * observed)
    found = eager_sampler(network, SIZE).parameters(levels, order, observed)
    assert (found - whole_parameters(network, levels, order)).abs().max() <= ENGINE_FLOAT32


@pytest.mark.parametrize("name", ["context top", "raster:0"])
def test_parts_of_a_batch_are_drawn_as_the_whole_is(name: str, monkeypatch) -> None:
    order, hidden = orders()[name][0], hidden_region("top", SIZE)
    sampler, levels = eager_sampler(make_network(COLOUR), SIZE), draw_levels(COLOUR, 5)
    told: list[tuple[int, int]] = []

    def complete() -> torch.Tensor:
        draws = torch.Generator().manual_seed(3)
        return sampler.complete(
            levels, hidden, order, generator=draws, samples=3, report=lambda *done: told.append(done)
        )

    monkeypatch.setattr(walks, "MIN_PART", 15)
    whole = complete()
    monkeypatch.setattr(walks, "MIN_PART", 4)  # walks of 4, 4, 4 and 3: parts that share a picture's samples
    parts = complete()
    assert torch.equal(whole, parts)
    monkeypatch.setattr(module, "PREFILL", 10)  # and a picture at a time in the prefill network
    assert torch.equal(whole, complete())
    assert told[-1][0] == told[-1][1] and [done for done, _ in told[-told[-1][1] :]] == list(range(1, told[-1][1] + 1))


BAD = {
    "channels": (lambda s, x, h, o: s.complete(x[:, :1], h, o, generator=torch.Generator()), "expected (B, 3, H, W)"),
    "type": (lambda s, x, h, o: s.complete(x.float(), h, o, generator=torch.Generator()), "int64"),
    "depth": (lambda s, x, h, o: s.complete(x + 8, h, o, generator=torch.Generator()), "in [0, 8)"),
    "nothing": (lambda s, x, h, o: s.complete(x, h & False, o, generator=torch.Generator()), "some of them true"),
    "size": (lambda s, x, h, o: s.complete(x, h[1:], o, generator=torch.Generator()), "of shape (4, 5)"),
    "order": (lambda s, x, h, o: s.complete(x, h, o * 0, generator=torch.Generator()), "permutation"),
    "samples": (lambda s, x, h, o: s.complete(x, h, o, generator=torch.Generator(), samples=0), "at least one"),
    "heat": (lambda s, x, h, o: s.complete(x, h, o, generator=torch.Generator(), temperature=0.0), "temperature"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name: str) -> None:
    call, message = BAD[name]
    sampler = eager_sampler(make_network(SHORT["colour"]), SIZE)
    with pytest.raises(UserError, match=re.escape(message)):
        call(sampler, draw_levels(COLOUR, 1), hidden_region("top", SIZE), curve_order("raster", SIZE))


def test_networks_that_do_not_fit_are_refused() -> None:
    sampler = eager_sampler(make_network(SHORT["binary"]), SIZE)
    with pytest.raises(UserError, match="expected one for 3 channels"):
        Sampler(sampler.prefill, sampler.step, COLOUR)
    with pytest.raises(UserError, match="no step network"):
        Sampler(sampler.prefill, sampler.prefill, BINARY)


def test_a_sampler_leaves_the_trained_network_where_it_is() -> None:
    network = make_network(SHORT["colour"])
    eager_sampler(network, SIZE, "meta")  # a device without memory, which every machine has
    assert {parameter.device.type for parameter in network.parameters()} == {"cpu"}


@pytest.mark.gpu
@pytest.mark.usefixtures("whole_factors")
def test_a_captured_walk_draws_what_the_plain_one_draws() -> None:
    order, hidden, levels = orders()["context top"][0], hidden_region("top", SIZE), draw_levels(COLOUR, 2)
    network = make_network(COLOUR)
    drawn = [
        eager_sampler(network, SIZE, device).complete(levels, hidden, order, generator=torch.Generator().manual_seed(0))
        for device in ("cpu", "cuda")
    ]
    assert (drawn[0] == drawn[1]).float().mean() > 0.95  # a rounding may turn one draw, and then those after it
    found = eager_sampler(network, SIZE, "cuda").parameters(levels, order, 5)
    assert (found - whole_parameters(network, levels, order)).abs().max() <= 1e-3
