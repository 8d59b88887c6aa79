"""The clock around the loop that ships: what it counts where, and that it counts every step."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.step.clock import Clock, Reading, draw_timed, timed_stage
from runtime.loop.optimize import Stage
from tests.command.toy import METHOD, Config

PARTS = ("render", "render_backward", "encode", "encode_backward", "denoise", "update", "backward")


def test_what_is_timed_inside_is_not_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(time, "process_time", lambda: 2 * now[0])

    def pass_time(seconds: float) -> None:
        now[0] += seconds

    clock = Clock(PARTS)
    inner = clock.around("encode", lambda: pass_time(2.0))

    def outer() -> None:
        pass_time(1.0)
        inner()
        pass_time(4.0)

    clock.begin()
    clock.around("denoise", outer)()
    pass_time(8.0)
    clock.end()
    seconds = {**dict.fromkeys(PARTS, 0.0), "encode": 2.0, "denoise": 5.0, "other": 8.0, "step": 15.0}
    assert clock.steps == [{part: Reading(wall_s, 2 * wall_s) for part, wall_s in seconds.items()}]


class Slow(torch.autograd.Function):
    """Twice its input, with a slow way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        time.sleep(0.05)
        return upstream * 2


@pytest.mark.parametrize("part", ["render", "encode"])
def test_a_way_back_is_a_part_of_its_own(part: str) -> None:
    clock, x = Clock(PARTS), torch.ones(3, requires_grad=True)
    timed = (
        clock.rendering(Slow.apply) if part == "render" else clock.encoding(lambda pictures: Slow.apply(2 * pictures))
    )
    clock.begin()
    image = timed(x)
    clock.around("backward", image.sum().backward)()
    clock.end()
    (parts,) = clock.steps
    assert parts[f"{part}_backward"].wall_s >= 0.05
    assert parts["backward"].wall_s < 0.05
    assert x.grad is not None
    assert x.grad.tolist() == ([2.0] * 3 if part == "render" else [4.0] * 3)


def test_pictures_without_a_gradient_have_no_way_back() -> None:
    clock = Clock(PARTS)
    assert torch.equal(clock.encoding(torch.sin)(torch.ones(2)), torch.sin(torch.ones(2)))
    assert set(clock.now) == {"encode"}


def test_the_loop_that_ships_is_timed_step_by_step(tiny_folder: Path) -> None:
    from runtime.engines.bundle import DiffusionBundle

    clock = Clock(PARTS)

    def build(*arguments: Any, **options: Any) -> list[Stage]:
        return [timed_stage(stage, clock) for stage in METHOD.build(*arguments, **options)]

    bundle = DiffusionBundle.load(tiny_folder)
    draw_timed(replace(METHOD, build=build), Config(steps=5), bundle, clock)
    assert len(clock.steps) == 5
    for parts in clock.steps:
        assert parts["update"].wall_s > 0
        assert parts["backward"].wall_s > 0
        assert sum(time.wall_s for part, time in parts.items() if part != "step") == pytest.approx(parts["step"].wall_s)
