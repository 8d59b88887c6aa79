import pytest

from runtime.loop.pace import Pace


def test_time_left_is_not_moved_by_one_slow_step(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = iter([10.0, 20.0, 20.5, 21.0, 21.5, 22.0, 22.5, 23.0, 23.5, 24.0, 24.5, 25.0])
    pace = Pace([7, 0, 5])
    monkeypatch.setattr("runtime.loop.pace.time.monotonic", lambda: next(ends))
    left = [pace.after(0, step) for step in range(1, 8)] + [pace.after(2, step) for step in range(1, 6)]
    assert [done for done, _ in left] == list(range(1, 13))
    assert [seconds for _, seconds in left][3:] == [4.0, 3.5, 3.0, 2.5, 2.0, 1.5, 1.0, 0.5, 0.0]
