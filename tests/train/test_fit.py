"""The training loop: closed forms of the rate, and a cut run that ends where an uncut one does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.tolerance import FLOAT32_ROUNDING
from train.fit import FitConfig, average_decay, factor_of, fit, generator_of_step, lr_at


def line(network: torch.nn.Module, generator: torch.Generator) -> torch.Tensor:
    x = torch.randn(64, 3, generator=generator)
    target = x @ torch.tensor([1.0, -2.0, 0.5]) + 3.0
    return (network(x)[:, 0] - target).square().mean()


def config(out: Path, steps: int, **changes) -> FitConfig:
    return FitConfig(out=out, steps=steps, lr=0.05, warmup=5, weight_decay=0.0, ema=0.9, bf16=False, **changes)


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Linear(3, 1)


def test_rate_warms_up_linearly_and_ends_at_two_percent(tmp_path: Path) -> None:
    c = FitConfig(out=tmp_path, steps=100, lr=1.0, warmup=10)
    assert lr_at(0, c) == pytest.approx(0.1)
    assert lr_at(9, c) == pytest.approx(1.0)
    assert lr_at(55, c) == pytest.approx(0.51)
    assert lr_at(100, c) == pytest.approx(0.02)


def test_rate_may_fall_exponentially(tmp_path: Path) -> None:
    c = FitConfig(out=tmp_path, steps=100, lr=1.0, warmup=0, decay=0.01)
    assert lr_at(0, c) == 1.0
    assert lr_at(50, c) == pytest.approx(0.99**50)


def test_the_tail_of_the_average_is_uniform(tmp_path: Path) -> None:
    c = FitConfig(out=tmp_path, steps=20, ema=0.5, tail=8)
    mean = 100.0
    for step in range(20):
        mean += (1 - average_decay(step, c)) * (step - mean)
    assert mean == pytest.approx(sum(range(12, 20)) / 8)


def test_fit_finds_the_line_that_made_the_data(tmp_path: Path) -> None:
    net = network()
    fit(net, line, config(tmp_path, 400), lambda _: None)
    assert torch.allclose(net.weight[0], torch.tensor([1.0, -2.0, 0.5]), atol=1e-2)
    assert float(net.bias.detach()) == pytest.approx(3.0, abs=1e-2)


class Cut(Exception):
    """Stands for a process that dies."""


def test_a_cut_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole = network()
    fit(whole, line, config(tmp_path / "whole", 30), lambda _: None)

    steps = 0

    def dies(net: torch.nn.Module, generator: torch.Generator) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps > 17:
            raise Cut
        return line(net, generator)

    with pytest.raises(Cut):
        fit(network(), dies, config(tmp_path / "cut", 30, minutes=0.0), lambda _: None)
    assert json.loads((tmp_path / "cut" / "checkpoint.json").read_text())["step"] == 17
    resumed = network()
    fit(resumed, line, config(tmp_path / "cut", 30), lambda _: None)
    assert torch.equal(resumed.weight, whole.weight)
    assert torch.equal(resumed.bias, whole.bias)


def test_statistics_of_batch_normalization_are_part_of_a_checkpoint(tmp_path: Path) -> None:
    def normalized() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.BatchNorm1d(3), network())

    whole, first, resumed = normalized(), normalized(), normalized()
    options = {"decay": 1e-3}  # a rate that does not depend on the length of the run
    fit(whole, line, config(tmp_path / "whole", 30, **options), lambda _: None)
    fit(first, line, config(tmp_path / "cut", 17, **options), lambda _: None)
    fit(resumed, line, config(tmp_path / "cut", 30, **options), lambda _: None)
    expected = whole.state_dict()
    assert int(expected["0.num_batches_tracked"]) == 30
    assert all(torch.equal(value, expected[name]) for name, value in resumed.state_dict().items())
    averages = load_file(tmp_path / "cut" / "ema.safetensors")
    assert all(torch.equal(value, averages.pop(name)) for name, value in expected.items()) and not averages


def test_the_average_follows_its_definition(tmp_path: Path) -> None:
    fit(network(), line, config(tmp_path, 1), lambda _: None)
    state = load_file(tmp_path / "checkpoint.safetensors")
    decay = 1 / 10
    expected = decay * network().weight.detach() + (1 - decay) * state["weight/weight"]
    assert torch.allclose(state["ema/weight"], expected, atol=1e-7)


def test_weights_may_learn_at_factors_of_the_rate(tmp_path: Path) -> None:
    changed = config(tmp_path, 1, factors=(("bias", 4.0), ("a", 0.0)))
    assert [factor_of(name, changed) for name in ("bias", "gain", "slope")] == [4.0, 0.0, 1.0]
    fit(network(), line, config(tmp_path, 1, factors=(("bias", 4.0),)), lambda _: None)
    state = load_file(tmp_path / "checkpoint.safetensors")
    first = 0.05 / 5  # Adam's first step is the rate, here that of the first of five steps of warm-up
    assert float((state["weight/bias"] - network().bias.detach()).abs()) == pytest.approx(4.0 * first, rel=1e-4)
    for step in (state["weight/weight"] - network().weight.detach()).flatten().tolist():
        assert abs(step) == pytest.approx(first, rel=1e-4)


def test_a_loss_that_is_not_finite_names_the_step(tmp_path: Path) -> None:
    def bad(net: torch.nn.Module, generator: torch.Generator) -> torch.Tensor:
        return net.weight.sum() * float("nan")

    with pytest.raises(FloatingPointError, match="at step 1"):
        fit(network(), bad, config(tmp_path, 5), lambda _: None)


def test_steps_draw_from_their_own_generators(tmp_path: Path) -> None:
    c = config(tmp_path, 5)
    draws = [torch.rand(3, generator=generator_of_step(c, s)) for s in (0, 1, 0)]
    assert torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[1])


def test_processes_draw_from_their_own_generators(tmp_path: Path) -> None:
    c = config(tmp_path, 5)
    draws = {tuple(torch.rand(3, generator=generator_of_step(c, 7, rank)).tolist()) for rank in range(8)}
    assert len(draws) == 8


PROGRAM = """
import sys, torch
from pathlib import Path
from tests.train.test_fit import config, line, network
from train.fit import fit
net = network()
fit(net, line, config(Path(sys.argv[1]), int(sys.argv[2]), exchange=int(sys.argv[3]), minutes=0.0), print)
"""


def run_two_processes(out: Path, steps: int, exchange: int) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    command += [sys.executable, "-c", PROGRAM, str(out), str(steps), str(exchange)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr


def test_two_processes_average_their_gradients(tmp_path: Path) -> None:
    run_two_processes(tmp_path / "two", 3, 1)
    alone = config(tmp_path / "one", 3)
    step = 0

    def both(net: torch.nn.Module, _: torch.Generator) -> torch.Tensor:
        nonlocal step
        losses = [line(net, generator_of_step(alone, step, rank)) for rank in range(2)]
        step += 1
        return sum(losses) / 2

    net = network()
    fit(net, both, alone, lambda _: None)
    found = load_file(tmp_path / "two" / "ema.safetensors")
    assert torch.allclose(found["weight"], net.weight.detach(), atol=FLOAT32_ROUNDING)


def test_processes_that_train_apart_average_their_weights(tmp_path: Path) -> None:
    run_two_processes(tmp_path / "two", 8, 8)
    apart = []
    for rank in range(2):
        net = network()
        alone = config(tmp_path / str(rank), 8)
        draws = iter([generator_of_step(alone, step, rank) for step in range(8)])
        fit(net, lambda n, _, draws=draws: line(n, next(draws)), alone, lambda _: None)
        apart.append(load_file(tmp_path / str(rank) / "checkpoint.safetensors"))
    found = load_file(tmp_path / "two" / "checkpoint.safetensors")
    assert not torch.allclose(apart[0]["exp_avg/weight"], apart[1]["exp_avg/weight"], atol=1e-2)
    for name, value in found.items():
        assert torch.allclose(value, (apart[0][name] + apart[1][name]) / 2, atol=FLOAT32_ROUNDING), name


def test_a_limit_of_time_ends_training_and_the_rate_follows_the_clock(tmp_path: Path) -> None:
    c = config(tmp_path, 10**9, limit=0.01)
    assert lr_at(5, c, 0.0) == pytest.approx(0.05)
    assert lr_at(5, c, 0.5) == pytest.approx(0.05 * 0.51)
    assert lr_at(5, c, 1.0) == pytest.approx(0.05 * 0.02)
    lines: list[str] = []
    fit(network(), line, c, lines.append)
    assert 1 < json.loads((tmp_path / "checkpoint.json").read_text())["step"] < 10**9
    assert lines[-1].endswith("0 min left")


def test_a_loss_that_is_not_finite_is_named_by_its_step(tmp_path: Path) -> None:
    def broken(network: torch.nn.Module, generator: torch.Generator) -> torch.Tensor:
        broken.calls += 1
        return line(network, generator) * (float("nan") if broken.calls == 3 else 1.0)

    broken.calls = 0
    with pytest.raises(FloatingPointError, match="loss is nan at step 3"):
        fit(network(), broken, config(tmp_path, 9), lambda text: None)
