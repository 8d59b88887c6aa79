"""What pinning PyTorch's threads costs: pairs in turns, what each pair says, and a real command."""

import os

import pytest

from benchmarks import pinning
from benchmarks.pinning import Config, Seconds, measure, measure_once
from runtime.errors import UserError


def test_a_row_has_medians_and_what_pinning_costs_in_each_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def fake(words: list[str], threads: int, *, free: bool) -> Seconds:
        asked.append(free)
        return Seconds(10.0, 8.0) if free else Seconds(10.5 if len(asked) < 3 else 9.5, 7.0)

    monkeypatch.setattr(pinning, "measure_once", fake)
    (row,) = measure(Config(only="ddpm", pairs=2))
    assert asked == [False, True, True, False]
    assert (row["main_one"], row["main_all"], row["others_one"], row["others_all"]) == (10.0, 10.0, 7.0, 8.0)
    assert row["costs"] == [0.05, -0.05]


def test_no_command_of_a_name_is_refused() -> None:
    with pytest.raises(UserError, match=r"--only: expected a part of vectorfusion, .*, got 'x1'"):
        next(measure(Config(only="x1")))


@pytest.mark.slow
@pytest.mark.parametrize("free", [False, True])
def test_a_command_is_measured_with_either(free: bool) -> None:
    seconds = measure_once(["lmconv", "sample", "--count", "1"], 2, free=free)
    assert 0.1 < seconds.main < 300.0 and 0.0 <= seconds.others < 300.0
    with pytest.raises(UserError, match="lmconv sample --count 0 failed"):
        measure_once(["lmconv", "sample", "--count", "0"], 2, free=free)
    assert pinning.FREE not in os.environ
