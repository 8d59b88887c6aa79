"""How fast a run goes, and how long it will still take."""

import math
import time
from collections import deque
from collections.abc import Sequence
from statistics import median


class Pace:
    """Predicts by the median of a stage's last steps: one slow step, such as a compilation, does not move it.

    Args:
        steps: the steps of each stage.
    """

    def __init__(self, steps: Sequence[int]) -> None:
        self.steps, self.total = steps, sum(steps)
        self._ended_at: float | None = None
        self._stage: int | None = None
        self._durations: deque[float] = deque(maxlen=50)

    def after(self, stage: int, step: int) -> tuple[int, float]:
        """Return the steps of all stages so far, and the seconds left: NaN after a stage's first step.

        Args:
            stage: number of the stage.
            step: its steps so far.
        """
        now = time.monotonic()
        done = sum(self.steps[:stage]) + step
        if stage != self._stage:
            # Stages differ in speed: by the steps of one that traces, one that distils would seem to end at once. Nor
            # does a stage's first step count, as the time before it is also that of its beginning.
            self._durations.clear()
        elif self._ended_at is not None:
            self._durations.append(now - self._ended_at)
        self._stage, self._ended_at = stage, now
        left = self.total - done
        if not self._durations:
            return done, (math.nan if left else 0.0)
        return done, median(self._durations) * left
