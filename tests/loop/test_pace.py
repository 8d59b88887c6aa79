import math

import pytest

from runtime.loop.pace import Pace


def seconds_left(monkeypatch: pytest.MonkeyPatch, durations: list[float], steps: list[int]) -> list[float]:
    """Return what is predicted after each step of stages whose steps take so long."""
    ends = [10.0 + sum(durations[: count + 1]) for count in range(len(durations))]
    now = iter(ends)
    monkeypatch.setattr("runtime.loop.pace.time.monotonic", lambda: next(now))
    pace = Pace(steps)
    places = [(stage, step) for stage, count in enumerate(steps) for step in range(1, count + 1)]
    left = [pace.after(stage, step) for stage, step in places]
    assert [done for done, _ in left] == list(range(1, sum(steps) + 1))
    return [seconds for _, seconds in left]


def test_time_left_is_not_moved_by_one_slow_step(monkeypatch: pytest.MonkeyPatch) -> None:
    left = seconds_left(monkeypatch, [0.5, 10.0] + [0.5] * 10, [12, 0])
    assert math.isnan(left[0])
    assert left[3:] == [4.0, 3.5, 3.0, 2.5, 2.0, 1.5, 1.0, 0.5, 0.0]


def test_a_stage_has_its_own_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    # Forty quick steps, then slow ones, the first of them with a second of preparation.
    left = seconds_left(monkeypatch, [0.01] * 40 + [3.0] + [2.0] * 9, [40, 0, 10])
    assert left[38] == pytest.approx(0.11)
    assert math.isnan(left[40])
    assert left[41:] == pytest.approx([16.0, 14.0, 12.0, 10.0, 8.0, 6.0, 4.0, 2.0, 0.0])


def test_the_end_is_known_though_nothing_was_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seconds_left(monkeypatch, [1.0, 1.0], [1, 1])[1] == 0.0
