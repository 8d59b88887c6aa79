"""The cached sampler computes what the whole network computes, at every position and in every order."""

import numpy as np
import pytest
import torch

from runtime.pixels.orders import Order, Size, curve_order, maximum_context_order
from runtime.pixels.regions import hidden_region
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
    found = exported_sampler(architecture, SIZE).parameters(levels, order, observed)
    expected = whole_parameters(make_network(architecture), levels, order)
    assert (found - expected).abs().max() <= ENGINE_FLOAT32
