"""The captions that drawings are judged by: the 64 of the benchmarks or those of a file."""

from pathlib import Path

from runtime.errors import UserError

CAPTIONS = tuple(Path(__file__).parents[1].joinpath("captions.txt").read_text("utf-8").split("\n")[:64])
"""The 64 captions."""


def read_captions(path: Path | None) -> list[str]:
    """Return the captions in a file, a caption a line, or the 64 of the benchmarks.

    Raises:
        UserError: the file cannot be read, or holds fewer than two captions or one twice.
    """
    if path is None:
        return list(CAPTIONS)
    try:
        captions = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--captions '{path}': expected a text file, a caption a line ({error})") from error
    if len(captions) < 2 or len(set(captions)) < len(captions):
        twice = next((caption for caption in captions if captions.count(caption) > 1), None)
        got = f"{len(captions)}" if twice is None else f"{twice!r:.60} twice"
        raise UserError(f"--captions '{path}': expected at least two different captions, got {got}")
    return captions


def chosen_rows(lines: str, count: int) -> list[int]:
    """Return the rows, from 0, of captions that are named by their lines, from 1, such as 1-4,9.

    Args:
        lines: as typed; each line at most once.
        count: captions that there are.

    Raises:
        UserError: it is none of these, or a line that is not there.
    """
    rows: list[int] = []
    for part in lines.split(","):
        first, dash, last = part.strip().partition("-")
        numbers = first.isdecimal() and (not dash or last.isdecimal()) and len(first + last) <= 12
        span = range(int(first), int(last or first) + 1) if numbers else range(0)
        if not span or not 1 <= span[0] <= span[-1] <= count or {line - 1 for line in span} & set(rows):
            got = f"{part.strip()!r:.60} in {lines!r:.60}"
            raise UserError(f"--lines: expected lines of 1 to {count}, each once, such as 1-4,9, got {got}")
        rows += [line - 1 for line in span]
    return rows
