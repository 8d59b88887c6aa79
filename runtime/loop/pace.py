"""How fast a run goes, and how long it will still take."""

import math
import time
from collections import deque
from collections.abc import Sequence
from statistics import median


class Pace:
    """Predicts by the median of the last steps: one slow step, such as a compilation, does not move it.

    Args:
        steps: the steps of each stage.
    """

    def __init__(self, steps: Sequence[int]) -> None:
        self.steps, self.total = steps, sum(steps)
        self._ended_at: float | None = None
        # Stages differ in speed: an average of all steps would be wrong for long after each change.
        self._durations: deque[float] = deque(maxlen=50)

    def after(self, stage: int, step: int) -> tuple[int, float]:
        """Return the steps of all stages so far, and the seconds left: NaN after the first step.

        Args:
            stage: number of the stage.
            step: its steps so far.
        """
        now = time.monotonic()
        done = sum(self.steps[:stage]) + step
        if self._ended_at is not None:
            self._durations.append(now - self._ended_at)
        self._ended_at = now
        return done, (median(self._durations) * (self.total - done) if self._durations else math.nan)
