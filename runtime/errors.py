"""Errors that a user can mend, and how a command ends on one."""

import os
import select
import sys
from collections.abc import Callable
from typing import NoReturn

CLOSED_PIPE = 128 + 13
"""Exit code of a command whose reader has gone, as the shell gives it for SIGPIPE."""


class UserError(ValueError):
    """Input that cannot be used: the message names the thing, what was expected, what came, and the remedy."""


def run_main(main: Callable[[], int | None]) -> NoReturn:
    """Run a command's main function and exit: 0, its own code, or 2 with one line on stderr for a `UserError`.

    Where the reader of its output has gone, as in `... | head -1`, it ends quietly with 141.
    """
    code: object
    try:
        try:
            code = main() or 0
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            code = 2
        except SystemExit as end:  # the way in which --help and a wrong option end
            code = end.code
        sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_has_gone():
            raise  # another pipe: a process of our own has died
        # What is left in the buffer would fail once more at the end of the process, and be told in a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = CLOSED_PIPE
    raise SystemExit(code)


def _reader_has_gone() -> bool:
    """Return whether stdout is a pipe that nobody reads."""
    if not hasattr(select, "poll"):
        return True
    watch = select.poll()
    watch.register(sys.stdout, 0)
    return any(event & select.POLLERR for _, event in watch.poll(0))
