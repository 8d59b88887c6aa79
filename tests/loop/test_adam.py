import subprocess
import sys

import torch

from runtime.loop.adam import Adam, Optimizer


def groups_of(parameters: list[torch.nn.Parameter]) -> list[dict]:
    return [{"params": parameters[:1], "lr": 0.1}, {"params": parameters[1:], "lr": 0.003}]


def descend(optimizer: Optimizer, parameters: list[torch.nn.Parameter], steps: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        for index, parameter in enumerate(parameters):
            # One without a gradient now and then: it must not be moved by its old moments.
            scale = 10.0 ** -float(torch.randint(6, (), generator=generator))
            gradient = scale * torch.randn(parameter.shape, generator=generator)
            parameter.grad = None if (step + index) % 4 == 3 else gradient
        optimizer.param_groups[0]["lr"] *= 0.9
        optimizer.step()


def test_the_bits_are_pytorchs() -> None:
    start = [torch.randn(3, 50, 2), torch.randn(7), torch.randn(2, 2)]
    ours, theirs = ([torch.nn.Parameter(tensor.clone()) for tensor in start] for _ in range(2))
    settings = {"betas": (0.9, 0.99), "eps": 1e-12}
    one, other = Adam(groups_of(ours), **settings), torch.optim.Adam(groups_of(theirs), **settings)
    assert isinstance(one, Optimizer) and isinstance(other, Optimizer)
    descend(one, ours, 20, seed=1)
    descend(other, theirs, 20, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    for a, b in zip(one.state_dict()["state"].values(), other.state_dict()["state"].values(), strict=True):
        assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_loaded_state_continues_to_the_same_bits() -> None:
    start = [torch.randn(5, 2), torch.randn(3)]
    whole, cut = ([torch.nn.Parameter(tensor.clone()) for tensor in start] for _ in range(2))
    first = Adam(groups_of(whole))
    descend(first, whole, 5, seed=2)
    before = Adam(groups_of(cut))
    descend(before, cut, 5, seed=2)
    after = Adam(groups_of(cut))
    after.load_state_dict(before.state_dict())
    descend(first, whole, 3, seed=3)
    descend(after, cut, 3, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(whole, cut, strict=True))
    assert all(a is not b for a, b in zip(before.state.values(), after.state.values(), strict=True))


def test_gradients_are_forgotten_or_zero() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = Adam([{"params": [parameter], "lr": 0.1}])
    parameter.grad = torch.ones(2)
    optimizer.zero_grad(set_to_none=False)
    assert parameter.grad.tolist() == [0, 0]
    optimizer.zero_grad()
    assert parameter.grad is None


def test_no_compiler_is_loaded() -> None:
    """As `torch.optim.Adam` would."""
    code = """
import sys, torch
from runtime.loop.adam import Adam
p = torch.nn.Parameter(torch.ones(2))
optimizer = Adam([{"params": [p], "lr": 0.1}])
p.grad = torch.ones(2)
optimizer.step()
optimizer.load_state_dict(optimizer.state_dict())
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
