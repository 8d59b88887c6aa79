"""Errors that a user can mend, and how a command ends on one."""

import sys
from collections.abc import Callable
from typing import NoReturn


class UserError(ValueError):
    """Input that cannot be used: the message names the thing, what was expected, what came, and the remedy."""


def run_main(main: Callable[[], int | None]) -> NoReturn:
    """Run a command's main function and exit: 0, its own code, or 2 with one line on stderr for a `UserError`."""
    try:
        code = main() or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    raise SystemExit(code)
