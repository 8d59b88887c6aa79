"""How a command shows its progress: a bar on a terminal, now and then a line elsewhere; all on stderr."""

import math
import shutil
import sys
import time
from typing import TextIO

from runtime.errors import printable
from runtime.loop.events import Event, Note, Sampled, Stepped

BAR_S = 0.1
"""Seconds between two changes of the bar on a terminal."""

LINE_S = 5.0
"""Seconds between two lines where stderr is not a terminal."""


def duration(seconds: float) -> str:
    """Return a time as hours, minutes and seconds, such as 1:02:03 or 02:03; ? where it is not known."""
    if math.isnan(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes:02d}:{rest:02d}"


class ProgressBar:
    """Shows the events of a run: stage, loss and the time left. Use it as a context manager.

    Args:
        stream: where it is shown; by default stderr.
        quiet: whether only notes are shown.
    """

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._quiet = quiet
        self._bar = None
        self._shown_at = -LINE_S

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, Stepped):
            ends = event.done == event.total
            loss = f"loss {event.loss:.4g}, " if event.terms else ""
            text = f"{loss}{duration(event.eta_s)} left"
            self.show(f"{event.stage} {event.step}/{event.steps}", event.done, event.total, text, last=ends)
        elif isinstance(event, Sampled):
            self.show("sample", event.step, event.steps)
        elif isinstance(event, Note):
            # A line written into the bar would be overwritten by it.
            self.close()
            # It may quote a file, such as an element of an SVG.
            self._stream.write(f"{printable(event.text)}\n")
            self._stream.flush()

    def show(self, stage: str, done: int, total: int, text: str = "", *, last: bool = False) -> None:
        """Show that `done` of `total` steps are done.

        Args:
            stage: what is being done.
            done: steps, in [0, total].
            total: steps.
            text: what else there is to say.
            last: whether nothing follows.
        """
        if self._quiet:
            return
        now = time.monotonic()
        if last or now - self._shown_at >= (BAR_S if self._stream.isatty() else LINE_S):
            self._shown_at = now
            self._write(stage, done, total, text)

    def _write(self, stage: str, done: int, total: int, text: str) -> None:
        """Write a line, or bring the terminal's bar up to date."""
        if not self._stream.isatty():
            self._stream.write(f"{stage} ({done} of {total} steps) {text}".rstrip() + "\n")
            self._stream.flush()
            return
        if self._bar is None or self._bar.total != total:
            from tqdm import tqdm

            self.close()
            columns = shutil.get_terminal_size().columns
            style = "{desc} {percentage:3.0f}%|{bar:16}| {elapsed}{postfix}"  # fits 80 columns
            self._bar = tqdm(total=total, file=self._stream, bar_format=style, leave=False, delay=1e-9, ncols=columns)
        self._bar.n = done
        self._bar.set_description_str(stage, refresh=False)
        self._bar.set_postfix_str(text, refresh=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
