from dataclasses import replace
from pathlib import Path

import pytest
import torch

from runtime.errors import UserError
from tests.train.pixelnerf.set_of_objects import write_set
from train.pixelnerf.__main__ import Config, train
from train.pixelnerf.loss import Batch, loss_of_batch, silhouette_error
from train.pixelnerf.network import Architecture, PixelNeRF
from train.pixelnerf.objects import load_objects
from train.pixelnerf.runs import load_run


def config(folder: Path, out: str, steps: int) -> Config:
    return Config(data=folder / "set", out=folder / out, cache=folder, side=32, objects=2, rays=8, steps=steps)


def test_a_run_that_is_interrupted_ends_in_the_same_bytes(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    lines: list[str] = []
    whole = train(config(tmp_path, "whole", 6), lines.append)
    # The learning rate falls by the step and not by the length of the run, so that a shorter run is a part of it.
    train(config(tmp_path, "parts", 3), lines.append)
    train(config(tmp_path, "parts", 6), lines.append)
    assert "resumed at step 3" in lines
    first, second = (tmp_path / name / "ema.safetensors" for name in ("whole", "parts"))
    assert first.read_bytes() == second.read_bytes()
    loaded = load_run(tmp_path / "whole")
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), whole.parameters(), strict=True))


def test_a_run_of_the_papers_encoder_is_loaded_with_its_statistics(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    trained = train(replace(config(tmp_path, "run", 2), encoder="resnet34"), lambda line: None).state_dict()
    loaded = load_run(tmp_path / "run").state_dict()
    assert all(torch.equal(value, trained[name]) for name, value in loaded.items())
    # Two steps, from a mean of 0.
    assert int(loaded["encoder.bn1.num_batches_tracked"]) == 2 and loaded["encoder.bn1.running_mean"].abs().max() > 0


def test_the_loss_falls(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    objects = load_objects(tmp_path / "set", tmp_path, 32)
    torch.manual_seed(0)
    network = PixelNeRF(Architecture(side=32, width=32))
    batch = Batch(objects=3, targets=1, rays=32, samples=16, single=1.0)

    def loss(seed: int) -> torch.Tensor:
        return loss_of_batch(network, objects, batch, torch.Generator().manual_seed(seed))

    with torch.no_grad():
        before = sum(float(loss(100 + i)) for i in range(4))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for step in range(30):
        optimizer.zero_grad()
        loss(step).backward()
        optimizer.step()
    with torch.no_grad():
        after = sum(float(loss(100 + i)) for i in range(4))
    assert after < 0.5 * before


def test_draws_are_those_of_the_generator(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    objects = load_objects(tmp_path / "set", tmp_path, 32)
    torch.manual_seed(0)
    network = PixelNeRF(Architecture(side=32, width=16))
    batch = Batch(objects=2, rays=8, single=0.0)
    losses = [loss_of_batch(network, objects, batch, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*losses)


def test_other_networks_and_sizes_are_refused(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    train(config(tmp_path, "run", 1), lambda line: None)
    with pytest.raises(UserError, match="choose another --out"):
        train(Config(data=tmp_path / "set", out=tmp_path / "run", encoder="resnet34", side=32), lambda line: None)
    with pytest.raises(UserError, match="--side"):
        train(Config(data=tmp_path / "set", out=tmp_path / "new", side=48), lambda line: None)
    with pytest.raises(UserError, match="--rays: expected at least 1, got 0"):
        train(replace(config(tmp_path, "new", 1), rays=0), lambda line: None)
    with pytest.raises(UserError, match=r"expected objects\.json"):
        train(replace(config(tmp_path, "new", 1), data=tmp_path), lambda line: None)
    assert not (tmp_path / "new").exists()
    with pytest.raises(UserError, match=r"no config\.json is here"):
        load_run(tmp_path)


def test_the_silhouettes_error_is_the_entropy_and_has_a_gradient_in_empty_space() -> None:
    aim = torch.tensor([0.0, 1.0, 0.25])
    at = torch.tensor([0.5, 0.5, 0.25])
    expected = torch.tensor([0.6931, 0.6931, 0.5623])
    assert torch.allclose(silhouette_error(at, aim), expected, atol=1e-4)
    density = torch.tensor([1e-4], requires_grad=True)
    (slope,) = torch.autograd.grad(silhouette_error(1 - torch.exp(-density), torch.ones(1)).sum(), density)
    assert abs(float(slope * density.detach())) > 0.9  # in logarithms of the density it is the same at any density
