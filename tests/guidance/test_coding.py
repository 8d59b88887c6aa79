"""The codec's steps: draws from the right distribution, bits that come back, and how many there are."""

import math

import pytest
import torch

from runtime.errors import UserError
from runtime.guidance.coding import Header, Step, decode_step, encode_step, read_code, relative_entropy, write_code
from runtime.guidance.diffusion import Transition
from tests.guidance.linear import SCHEDULE

HEADER = Header(network=0xDEADBEEF, seed=7, steps=40, sent=3)
TRANSITION = Transition.of(SCHEDULE, 300, 200)


def pair(distance: float, size: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.zeros((1, 3, size, size))
    return x + distance, x


def test_relative_entropy_is_the_formula() -> None:
    x, x_hat = pair(0.05)
    weight, variance = TRANSITION.weights[0].item(), TRANSITION.posterior_variance.item()
    expected = x.numel() * (weight * 0.05) ** 2 / variance / 2 / math.log(2)
    assert relative_entropy(TRANSITION, x, x_hat) == pytest.approx(expected, rel=1e-6)


def test_what_is_sent_has_the_mean_and_deviation_of_the_senders_distribution() -> None:
    # Under q the noise is normal about the shift; over 100 seeds and 192 dimensions its mean is near to it.
    x, x_hat = pair(0.4)
    shift = (TRANSITION.weights[0] / TRANSITION.posterior_variance.sqrt()).item() * 0.4
    drawn = torch.cat([encode_step(TRANSITION, x, x_hat, seed, 3)[1] for seed in range(100)])
    assert relative_entropy(TRANSITION, x, x_hat) > 20
    # Some of it is lost: the candidates are finitely many.
    assert 0.8 * shift < drawn.mean().item() < 1.02 * shift
    assert drawn.std().item() == pytest.approx(1.0, abs=0.02)


def test_a_candidate_is_drawn_in_proportion_and_not_the_likeliest() -> None:
    # One dimension and 16 candidates: the likeliest is always the greatest of them, of deviation 0.5 about 1.8.
    x_hat = torch.zeros((1, 1, 1, 1))
    x = x_hat + 1.8 / (TRANSITION.weights[0] / TRANSITION.posterior_variance.sqrt()).item()
    drawn = [encode_step(TRANSITION, x, x_hat, seed, 3) for seed in range(600)]
    values = torch.cat([noise for _, noise in drawn])
    assert {step.bits for step, _ in drawn} == {4} and values.mean().item() < 1.65
    assert 0.7 < values.std().item() < 1.05


def test_the_receiver_has_the_same_noise() -> None:
    x, x_hat = pair(0.5)
    step, noise = encode_step(TRANSITION, x, x_hat, 5, 11)
    assert step.bits > 0 and len(step.chosen) == round(relative_entropy(TRANSITION, x, x_hat) / 8)
    assert torch.equal(decode_step(step, x.shape, 5, 11), noise)
    assert not torch.equal(decode_step(step, x.shape, 6, 11), noise)


def test_a_number_takes_little_more_than_the_relative_entropy() -> None:
    x, x_hat = pair(0.2, 16)
    step, _ = encode_step(TRANSITION, x, x_hat, 0, 0)
    entropy = relative_entropy(TRANSITION, x, x_hat)
    assert entropy < step.size < 1.4 * entropy + 16


def test_nothing_is_sent_where_there_is_nothing_to_tell() -> None:
    step, noise = encode_step(TRANSITION, *pair(1e-4), 0, 0)
    assert step == Step(0) and step.size == 4
    assert noise.mean().abs() < 0.25 and noise.std().item() == pytest.approx(1.0, abs=0.15)


def test_candidates_are_standard_normal() -> None:
    noise = torch.cat([decode_step(Step(0), (1, 3, 32, 32), seed, 0) for seed in range(20)]).double()
    assert noise.mean().abs() < 0.02 and noise.var().item() == pytest.approx(1.0, abs=0.02)
    assert (noise**4).mean().item() == pytest.approx(3.0, abs=0.1)
    assert (noise.abs() < 0.6745).double().mean().item() == pytest.approx(0.5, abs=0.01)


def test_files_come_back_and_have_the_size_that_is_counted() -> None:
    steps = [Step(0), Step(3, (7, 0, 5)), Step(15, tuple(range(0, 32_000, 1000)))]
    data = write_code(HEADER, steps)
    assert read_code(data, "x") == (HEADER, steps)
    assert len(data) == 16 + -(-sum(step.size for step in steps) // 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], "cut short"),
        (lambda data: data + b"\0", "bytes behind the header"),
        (lambda data: b"PNG" + data, "got something else"),
        (lambda data: data[:4] + b"\2" + data[5:], "got version 2"),
        (lambda data: data[:10], "got something else"),
    ],
)
def test_a_damaged_file_is_refused(change, message: str) -> None:
    data = write_code(HEADER, [Step(0), Step(3, (7, 0, 5)), Step(4, (1, 2))])
    with pytest.raises(UserError, match=message):
        read_code(change(data), "x")
