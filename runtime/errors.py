"""Errors that a user can mend, and how a command ends on one."""

import atexit
import contextlib
import errno
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

CLOSED_PIPE = 128 + 13
"""Exit code of a command whose reader has gone, as the shell gives it for SIGPIPE."""


NO_OUTPUT = 74
"""Exit code of a command whose output cannot be written, as sysexits.h has it for errors of input and output."""


NO_MEMORY = "expected enough memory for this, got too little; ask for less at once, such as a smaller picture"
"""What is said where the system gives no memory."""


class UserError(ValueError):
    """Input that cannot be used: the message names the thing, what was expected, what came, and the remedy."""


def run_main(main: Callable[[], int | None]) -> NoReturn:
    """Run a command's main function and exit: 0, its own code, or 2 with one line on stderr for a `UserError`.

    Where the reader of its output has gone, as in `... | head -1`, it ends quietly with 141. Where there is no room for
    its output, it says so and ends with 74. Characters that the output's encoding lacks are written as escapes. What
    the system refuses (a full disk, a folder without permission, memory), numbers that are not finite, and Ctrl-C end
    in a line, too: with 1, and with 130.
    """
    code: object
    for stream in (sys.stdout, sys.stderr):
        # Streams that tests and servers put in their place may be no files.
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    try:
        code = _code_of(main)
        sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_has_gone():
            raise  # another pipe: a process of our own has died
        _drop_output()
        code = CLOSED_PIPE
    except OSError as error:
        # Results are written elsewhere: what has no room there is not what stdout has to say.
        if error.errno is None:
            raise  # not the system's: some libraries raise it of their own
        if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EIO) or not _output_is_full():
            print(f"error: {printable(str(error))}", file=sys.stderr)
            raise SystemExit(1) from None
        _drop_output()
        with contextlib.suppress(OSError):
            print(f"error: output: expected room to write it, got '{error.strerror}'", file=sys.stderr)
        code = NO_OUTPUT
    if isinstance(code, int) and _ends_the_process(sys._getframe(1).f_globals):
        _end(code)
    raise SystemExit(code)


def _ends_the_process(caller: dict[str, object]) -> bool:
    """Return whether nothing comes after a command: its caller is the program, and nobody looks on.

    Debuggers, profilers and coverage run a program inside their own, and still have to write what they saw.
    """
    is_program = sys.modules["__main__"].__dict__ is caller
    is_watched = sys.gettrace() is not None or sys.getprofile() is not None
    return is_program and not is_watched and not sys.flags.inspect and not sys.flags.dev_mode


def _end(code: int) -> NoReturn:
    """End the process without taking apart what it has loaded.

    With PyTorch, ONNX Runtime and numba loaded that takes 0.6 s of the processor, and the destructors of CUDA's
    libraries read 120 MiB of them into memory; the system frees it all at once. Threads are waited for, and functions
    of `atexit` run: the children of `multiprocessing` end in this way, too.
    """
    threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.flush()
    os._exit(code)


def _code_of(main: Callable[[], int | None]) -> object:
    """Return the exit code of a main function; what a user can mend, or has done, is a line on stderr."""
    try:
        return main() or 0
    except UserError as error:
        code, message = 2, str(error)
    except SystemExit as end:  # the way in which --help and a wrong option end
        return end.code
    except KeyboardInterrupt as stop:
        # One that waited for the end of a step has a number, and says where the work stopped.
        print(printable(str(stop)) or "stopped", file=sys.stderr)
        return 128 + getattr(stop, "signal_number", signal.SIGINT)
    except (FloatingPointError, MemoryError) as error:
        code, message = 1, str(error) or NO_MEMORY
    except RuntimeError as error:  # PyTorch's for memory that it does not get, among many others
        if not any(sign in str(error) for sign in ("can't allocate memory", "out of memory")):
            raise
        code, message = 1, NO_MEMORY
    print(f"error: {printable(message)}", file=sys.stderr)
    return code


def printable(text: str) -> str:
    """Return a text whose control characters are escapes, so that no file's name or text can steer a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def _drop_output() -> None:
    """Send what is left in the buffer nowhere: it would fail once more at the end of the process, with a traceback."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _output_is_full() -> bool:
    """Return whether nothing more can be written to stdout."""
    # What failed may be gone from the buffer, so a line is tried; the output is broken off in either case.
    try:
        os.write(sys.stdout.fileno(), b"\n")
    except (OSError, ValueError):
        return True
    return False


def _reader_has_gone() -> bool:
    """Return whether stdout is a pipe that nobody reads."""
    if not hasattr(select, "poll"):
        return True
    watch = select.poll()
    watch.register(sys.stdout, 0)
    return any(event & select.POLLERR for _, event in watch.poll(0))
