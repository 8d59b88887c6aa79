"""A line of the table, and the spread of what was timed."""

import statistics
from collections.abc import Sequence
from typing import Any


def row(case: str, **figures: float | str) -> dict[str, Any]:
    """Return a line of the table."""
    return {"case": case, **{name: round(v, 3) if isinstance(v, float) else v for name, v in figures.items()}}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values lies."""
    return sorted(values)[int(share * (len(values) - 1))]


def describe(times: Sequence[float]) -> dict[str, float]:
    """Return the median of times in milliseconds, and their quartiles."""
    median = statistics.median(times)
    return {"ms": median, "quarter_ms": percentile(times, 0.25), "three_quarters_ms": percentile(times, 0.75)}
