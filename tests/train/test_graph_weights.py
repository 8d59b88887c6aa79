"""Weights out of an exported graph, without names: in the order in which the layers run, not in that of definition."""

import io

import pytest
import torch
from torch import nn

from train.graph_weights import fill_from_graph


class Swapped(nn.Module):
    """Layers that run in another order than they are defined in, two of them of the same shape."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.second = nn.Linear(4, 4)
        self.first = nn.Linear(4, 4, bias=False)
        self.convolution = nn.Conv2d(2, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(self.convolution(x).mean((2, 3)))))


def exported(network: nn.Module, x: torch.Tensor) -> bytes:
    file = io.BytesIO()
    torch.onnx.export(network.eval(), (x,), file, dynamo=True, verbose=False)
    return file.getvalue()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_weights_are_those_of_the_exported_network() -> None:
    network, other, x = Swapped(0), Swapped(1), torch.ones(1, 2, 5, 5)
    content = exported(network, x)
    fill_from_graph(other, content, lambda: other(x))
    for name, weight in network.named_parameters():
        assert torch.equal(other.get_parameter(name), weight)
    with pytest.raises(ValueError, match="shape"):
        wider = nn.Sequential(nn.Conv2d(2, 4, 1), nn.Flatten(), nn.Linear(100, 4, bias=False), nn.Linear(4, 4))
        fill_from_graph(wider, content, lambda: wider(x))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_layers_that_do_not_run_are_missed() -> None:
    network, x = Swapped(0), torch.ones(1, 2, 5, 5)
    content = exported(network, x)
    idle = Swapped(1)
    idle.idle = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"nothing for idle\.weight"):
        fill_from_graph(idle, content, lambda: idle(x))
