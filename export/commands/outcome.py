"""What subcommands print at their end when they write a whole bundle and verify it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import UserError

if TYPE_CHECKING:
    from export.verify.gates import Comparison


def check_limit(limit: float) -> None:
    """Refuse a greatest size of a bundle that is none, with a `UserError`."""
    if limit <= 0:
        raise UserError(f"--limit: expected MiB above 0, got {limit:g}")


def print_outcome(rows: "Sequence[Comparison]", folder: Path, limit: float) -> int:
    """Print what a bundle reaches and its sizes; return 0 where both are as they should be, else 1."""
    from export.verify.gates import format_table
    from export.write.sizes import bundle_sizes, format_sizes

    print(format_table(rows))
    print(format_sizes(folder))
    fits = sum(bundle_sizes(folder).values()) <= limit * 2**20
    if not fits:
        print(f"the bundle is larger than {limit:g} MiB")
    return 0 if fits and all(row.passed for row in rows) else 1
