"""Probabilities of all pictures sum to one; conditional ones are quotients of joint ones; ensembles are means."""

import itertools
import math

import numpy as np
import pytest
import torch

from runtime.errors import UserError
from runtime.pixels.orders import curve_order, maximum_context_order, parse_orders
from runtime.pixels.regions import hidden_region
from tests.train.lmconv.test_network import COLOUR, TINY, network_of
from train.lmconv.likelihood import bits_per_dimension, conditional_nll, ensemble, joint_log_likelihoods
from train.lmconv.network import Architecture


def all_pictures(size: tuple[int, int], levels: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product(range(levels), repeat=size[0] * size[1]))).view(-1, 1, *size)


THREE = Architecture(filters=6, blocks=1, levels=3, mixtures=2)


@pytest.mark.parametrize(("size", "architecture"), [((2, 2), TINY), ((3, 2), THREE)])
def test_probabilities_of_all_pictures_sum_to_one(size: tuple[int, int], architecture: Architecture) -> None:
    network, pictures = network_of(architecture), all_pictures(size, architecture.levels)
    user = np.random.default_rng(0).permutation(size[0] * size[1])
    orders = [*parse_orders("s-curve:8,raster,hilbert", size), user]
    joint = joint_log_likelihoods(network, pictures, orders, batch=1000)
    assert (joint.exp().sum(1) - 1).abs().max() < 1e-6
    assert abs(float(ensemble(joint).exp().sum()) - 1) < 1e-6
    assert joint.std(0).max() > 1e-3  # the orders are different distributions


def test_conditionals_are_quotients_of_joints() -> None:
    size, network = (2, 2), network_of(TINY)
    pictures, hidden = all_pictures(size, 2), hidden_region("top", size)
    order = maximum_context_order(curve_order("s-curve", size), hidden)
    joint = joint_log_likelihoods(network, pictures, [order])[0].view(4, 4)  # top pixels, bottom pixels
    conditional = joint_log_likelihoods(network, pictures, [order], hidden=hidden)[0].view(4, 4)
    assert torch.allclose(conditional, joint - joint.logsumexp(0), atol=1e-9)


def test_an_ensemble_is_the_mean_of_probabilities() -> None:
    joint = torch.tensor([[0.1, 0.5], [0.3, 0.25]]).double().log()
    assert torch.allclose(ensemble(joint).exp(), torch.tensor([0.2, 0.375]).double())
    assert bits_per_dimension(8 * math.log(2), 8) == pytest.approx(1.0)


def test_the_conditional_table_uses_the_best_and_the_worst_orders() -> None:
    size, network = (4, 4), network_of(TINY)
    pictures = torch.randint(0, 2, (5, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    paths, hidden = parse_orders("s-curve:8", size), hidden_region("left", size)
    table = conditional_nll(network, pictures, paths, "left", batch=2)
    last = [p for p in paths if not hidden.reshape(-1)[p[:8]].any()]
    assert len(last) == 2
    joint = joint_log_likelihoods(network, pictures, last, hidden=hidden)
    assert table["1 max context"] == pytest.approx(-float(joint[0].mean()))
    assert table["2 max context"] == pytest.approx(-float(ensemble(joint).mean()))
    first = [p for p in paths if hidden.reshape(-1)[p[:8]].all()]
    worst = joint_log_likelihoods(network, pictures, first, hidden=hidden).mean(1)
    assert min(abs(table["adversarial"] + float(w)) for w in worst) < 1e-9
    assert set(conditional_nll(network, pictures, paths[:1], "left")) == {"adversarial", "1 max context"}


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), r"expected \(B, 3, H, W\), got \(2, 1, 4, 4\)"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), r"got \(3, 4, 4\)"),
        (torch.zeros(2, 3, 4, 4), "got torch.float32; quantize"),
        (torch.full((2, 3, 4, 4), 8, dtype=torch.uint8), r"\[0, 8\), got 8; reduce their depth to 8"),
        (torch.full((2, 3, 4, 4), -1), "got -1"),
    ],
)
def test_pictures_of_other_channels_or_depth_are_refused(pictures: torch.Tensor, message: str) -> None:
    with pytest.raises(UserError, match=message):
        joint_log_likelihoods(network_of(COLOUR), pictures, [curve_order("raster", (4, 4))])


@pytest.mark.parametrize("hidden", [np.ones((4, 4), bool), np.zeros((4, 4), bool), np.ones((4, 5), bool)])
def test_hidden_regions_of_everything_or_nothing_are_refused(hidden: np.ndarray) -> None:
    with pytest.raises(UserError, match="hidden region"):
        pictures = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
        joint_log_likelihoods(network_of(TINY), pictures, [curve_order("raster", (4, 4))], hidden=hidden)
