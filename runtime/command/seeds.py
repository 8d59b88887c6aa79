"""Several seeds in one option."""

from runtime.command.ranges import option_name
from runtime.errors import UserError


def parse_seeds(text: str, most: int = 1000) -> list[int]:
    """Return the seeds in a text such as 0, 0-3 or 1,5,9.

    Args:
        text: as it was typed.
        most: how many there may be.

    Raises:
        UserError: it is none of these, or more than that.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or len(first + last) > 36:
            raise UserError(f"{option_name('seeds')}: expected a seed, a range or a list such as 0-3, got {text!r:.60}")
        span = range(int(first), int(last or first) + 1)
        if not 1 <= len(span) <= most - len(seeds):
            raise UserError(f"{option_name('seeds')}: expected 1 to {most} seeds, got {text!r:.60}")
        seeds += span
    return seeds
