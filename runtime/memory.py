"""Memory of the machine, for limits on what is read, and memory of the process that the system may have back."""

import ctypes
import os
from collections.abc import Callable
from functools import cache


def machine_memory() -> int | None:
    """Return the bytes of memory of the machine; None where the system does not say.

    Limits follow from it: a small file may unpack to any size.
    """
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None


def return_freed_memory() -> None:
    """Give the system back what was freed between pieces that are in use; nothing where libc is not glibc.

    glibc's `malloc` itself gives back only the end of a heap. Reading a network leaves more than its size behind: the
    file's bytes, weights before they are packed.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):  # macOS, Windows, musl
        return None
