"""Distillation by a recording: the same numbers as without one."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from runtime.engines.captured import CapturedLoss
from runtime.guidance.prompt import Prompt
from runtime.guidance.schedule import Schedule
from runtime.guidance.sds import distillation_loss


def distillation(device: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    schedule = Schedule.scaled_linear(beta_start=0.00085, beta_end=0.012, num_timesteps=1000).to(device)
    context = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    prompt = Prompt(("a",), context[:1], context[1:]).to(device)

    def loss(images: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        z = torch.nn.functional.avg_pool2d(images.square(), 4)
        return distillation_loss(
            z,
            t,
            noise,
            denoise=lambda z, t, context: 0.5 * z + context.mean(),
            schedule=schedule,
            prompt=prompt,
            omega=7.5,
        )

    return loss


def draws(count: int) -> tuple[Tensor, Tensor, Tensor]:
    return torch.rand(count, 3, 16, 16), torch.randint(1000, (count,)), torch.randn(count, 3, 4, 4)


def check(captured: CapturedLoss, device: str, exact: bool) -> None:
    plain = distillation(device)
    for count in (1, 1, 1, 2, 2):  # recorded, replayed, and recorded anew for other shapes
        images, t, noise = draws(count)
        results = []
        for loss, place in ((captured, "cpu"), (plain, device)):
            leaf = images.to(place).requires_grad_()
            value = loss(leaf, t.to(place), noise.to(place))
            results.append((value.detach().cpu(), torch.autograd.grad(4.0 * value, leaf)[0].cpu()))
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b, rtol=0.0 if exact else 1e-6, atol=0.0 if exact else 1e-9)


def test_a_recording_gives_value_and_gradient_of_the_loss() -> None:
    recorded = []

    def record(call: Callable[[], None]) -> Callable[[], None]:
        call()
        recorded.append(call)
        return call

    check(CapturedLoss(distillation("cpu"), "cpu", record), "cpu", exact=True)
    assert len(recorded) == 2


def test_results_outlive_the_next_call() -> None:
    captured = CapturedLoss(distillation("cpu"), "cpu", lambda call: (call(), call)[1])
    leaves = [draws(1)[0].requires_grad_() for _ in range(2)]
    first, second = (captured(leaf, *draws(1)[1:]) for leaf in leaves)
    before = first.item()
    second.backward()
    first.backward()
    assert first.item() == before and not torch.equal(*(leaf.grad for leaf in leaves))  # pyright: ignore


@pytest.mark.gpu
def test_a_cuda_graph_gives_value_and_gradient_of_the_loss() -> None:
    check(CapturedLoss(distillation("cuda"), "cuda"), "cuda", exact=False)
