"""How compiled kernels are compiled, and how threads share their work.

`entry` kernels are called from Python and cached on disk; `inner` ones only from other kernels. Both leave arithmetic
as written (no fast-math), so that a result has the same bits on every run.
"""

import hashlib
import logging
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from numba import config, njit, types
from numba.extending import intrinsic

_LOG = logging.getLogger(__name__)  # without a handler a warning is a line on stderr

_compile: Any = njit  # its annotations lack the options for wrappers
_intrinsic: Any = intrinsic  # it has a signature of its own
# NumPy's error model: a division by zero gives an infinity or NaN and raises nothing, so divisions need no branch.
OPTIONS = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
"""What all kernels are compiled with. Without the interpreter's lock, threads run them side by side."""


def entry(function: Callable) -> Any:
    """Return a kernel that Python calls, cached on disk; a decorator.

    Numba looks for changes in the kernel's own file alone: see `stamp_of`. Where it can write neither beside the file
    nor in the user's cache, the cache is a private temporary folder, or there is none.
    """
    try:
        return _forgiving(_compile(**OPTIONS, cache=True)(function))
    except RuntimeError:  # Numba's word for a cache that has no place
        folder = temporary_cache()
    if folder is None:
        return _compile(**OPTIONS)(function)
    # Numba looks here first. Other code in the process is not to be moved along, so it is set for this kernel alone.
    before, config.CACHE_DIR = config.CACHE_DIR, str(folder)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        return _forgiving(_compile(**OPTIONS, cache=True)(function))
    except RuntimeError:
        return _compile(**OPTIONS)(function)
    finally:
        config.CACHE_DIR = before  # pyright: ignore[reportAttributeAccessIssue]


def _forgiving(kernel: Any) -> Any:
    """Return a compiled function that runs whatever its cache is like: a full disk, damaged files."""
    load, save = kernel._cache.load_overload, kernel._cache.save_overload

    def read(*arguments: Any) -> Any:
        try:
            return load(*arguments)
        except Exception:  # a pickle that was cut off may raise anything
            # Or it was written by another NumPy, whose pickles this one does not read: tritonserver's own is older.
            # Without its index the file is not looked at again; compiled anew, the kernel takes its place.
            with suppress(OSError):
                kernel._cache.flush()
            return None

    def attempt(*arguments: Any) -> None:
        with suppress(Exception):  # it reads the index once more
            save(*arguments)

    kernel._cache.load_overload, kernel._cache.save_overload = read, attempt
    return kernel


@cache
def temporary_cache() -> Path | None:
    """Return a temporary folder that nobody else can write to, and say so once; None where there is none.

    Numba unpickles what it finds in its cache. A folder of a name that others can guess is therefore used only if it
    is this user's own.
    """
    owner = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir(), f"tgm-kernels-{owner}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        private = stat.S_ISDIR(status.st_mode) and status.st_uid == owner and not status.st_mode & 0o077
    except OSError:
        private = False
    where = f"in {folder}" if private else "in no folder: every start compiles them again"
    _LOG.warning("compiled kernels can be kept neither beside the package nor in the user's cache, so %s", where)
    return folder if private else None


inner = _compile(**OPTIONS, no_cpython_wrapper=True)
"""Decorator of a kernel that only kernels call."""

inlined = _compile(**OPTIONS, no_cpython_wrapper=True, inline="always")
"""Like `inner`, but written into its callers before they are compiled. LLVM optimizes an inner kernel once by itself
and once more in each caller, and each caller in its own: for the outermost and for the smallest that takes more time
than it gains."""

summing = _compile(**OPTIONS, no_cpython_wrapper=True, fastmath={"reassoc"})
"""Like `inner`, but sums may be split among the lanes of a vector, in an order fixed when compiled."""

TAKEN, DONE = 0, 1
"""Places in a work counter, (2,) int64 zeros: how many jobs threads have taken, and how many are done."""


@_intrinsic
def fetch_add(_typing, numbers, place, amount):
    """The value of numbers[place] (int64), to which the amount is added in the same instant, whatever threads do.

    It orders memory as well ("acq_rel"): what a thread wrote before adding to a counter is visible to a thread that
    has read the sum from it.
    """

    def build(context, builder, signature, args):
        array = context.make_array(signature.args[0])(context, builder, args[0])
        return builder.atomic_rmw("add", builder.gep(array.data, [args[1]]), args[2], "acq_rel")

    return types.int64(numbers, types.int64, types.int64), build


@inlined
def take_job(work):
    """The next job that no thread has taken; the number of jobs or more when none is left.

    Fetch and add are one step, so no two threads get the same job and none is skipped. Which thread gets which job
    differs from run to run. It doesn't matter to results: a job reads what all share and writes to its own part of
    each array alone.
    """
    # The count goes beyond the number of jobs: each thread takes one more to learn that none is left.
    return fetch_add(work, TAKEN, 1)


@inlined
def finish_job(work):
    """Count a job as done, after all that it wrote: `wait_for` relies on that order."""
    fetch_add(work, DONE, 1)


@entry
def wait_for(work, jobs, polls):
    """Whether all jobs are done within so many polls: waking a thread takes longer than a short wait.

    True means that every job's results are visible to the caller, see `fetch_add`. Helper threads may still be on
    their way out of the kernel then, but none of them has a job, so none writes any more. The reading adds 0 because a
    plain load could be moved out of the loop.
    """
    for _ in range(polls):  # noqa: SIM110
        if fetch_add(work, DONE, 0) >= jobs:
            return True
    return False


def stamp_of(*sources: Path) -> str:
    """Return a field name that changes with any kernel's source in some folders and in this one.

    Numba serves an entry kernel from its cache while the kernel's own file is unchanged, even if a kernel that it calls
    has changed in another file. The name of a field of a dtype is part of a signature, and the signature is part of the
    cache's key: so an array of such a dtype among the arguments of every entry kernel that calls into another file is
    all that is needed. A directory of that name in NUMBA_CACHE_DIR would do the same, but that variable belongs to the
    user: it holds for all code in the process that uses Numba, has to be set before Numba is imported, and would move
    the cache away from where the user wants it.
    """
    digest = hashlib.sha256()
    for folder in (Path(__file__).parent, *sources):
        for path in sorted(folder.glob("*.py")):
            digest.update(path.read_bytes())
    return f"stamp_{digest.hexdigest()[:12]}"
