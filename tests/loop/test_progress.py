import io
import math
from itertools import pairwise

import pytest

from runtime.loop import progress
from runtime.loop.events import Note, Sampled, Stepped
from runtime.loop.progress import ProgressBar, duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def step(done: int, total: int = 10, stage: str = "distil") -> Stepped:
    counts = {"step": done, "steps": total, "done": done, "total": total}
    return Stepped(stage=stage, loss=0.12345, terms={"a": 0.12345}, eta_s=float(total - done), scene=None, **counts)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(math.nan, "?"), (0.4, "00:00"), (61.0, "01:01"), (3599.0, "59:59"), (3723.0, "1:02:03"), (90_000.0, "25:00:00")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_file_gets_few_lines_and_always_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1, 100))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    out = io.StringIO()
    with ProgressBar(out) as bar:
        for done in range(1, 11):
            bar(step(done))
    lines = out.getvalue().splitlines()
    assert lines[0] == "distil 1/10 (1 of 10 steps) loss 0.1235, 00:09 left"
    assert [int(line.split("(")[1].split()[0]) for line in lines] == [1, 6, 10]
    assert "\r" not in out.getvalue()


def test_a_terminal_gets_a_bar_with_stage_loss_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "BAR_S", 0.0)
    out = Terminal()
    with ProgressBar(out) as bar:
        bar(Sampled(step=3, steps=25, preview=lambda: None))
        for done in range(1, 11):
            bar(step(done))
        bar(step(10))
    shown = out.getvalue()
    assert "sample" in shown and "distil 10/10" in shown and "loss 0.1235, 00:00 left" in shown
    percents = [int(part.split("%")[0][-3:]) for part in shown.split("distil")[1:] if "%" in part]
    assert percents[-1] == 100 and all(a <= b for a, b in pairwise(percents))


def test_quiet_shows_notes_only() -> None:
    out = io.StringIO()
    with ProgressBar(out, quiet=True) as bar:
        bar(step(1))
        bar(Note("'a.png' is scaled"))
        bar(step(10))
    assert out.getvalue() == "'a.png' is scaled\n"


def test_a_note_does_not_steer_the_terminal() -> None:
    stream = io.StringIO()
    ProgressBar(stream, quiet=True)(Note("'a.svg': fill '\x9b31m\x1b[2J' is left out"))
    assert stream.getvalue() == "'a.svg': fill '\\x9b31m\\x1b[2J' is left out\n"
